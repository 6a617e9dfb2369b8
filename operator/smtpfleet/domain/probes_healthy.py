"""The condition ProbesHealthy: whether the operator's probes can be believed, and so are acted on.

False means that more relays look bad than may be out at once: traffic is left as it is. A relay that is out does not
make it False, for then the probes do what they are for.
"""

from typing import Final

from smtpfleet.api.reasons import ConditionType, Reason
from smtpfleet.domain.assessment import Assessment, stale_s
from smtpfleet.domain.conditions import Verdict, said_before
from smtpfleet.domain.facts import Pool
from smtpfleet.domain.figures import listing

_PENDING: Final = Verdict("Unknown", Reason.PROBES_PENDING, "no probe has told anything yet")


def probes_healthy(pool: Pool, health: Assessment) -> Verdict:
    """The verdict on the probes of a pool."""
    if health.held:
        return _too_many(pool, health)
    blind = sorted(name for name, silent_s in health.unprobed.items() if silent_s > stale_s(pool))
    if blind:
        return Verdict("Unknown", Reason.PROBES_MISSING, f"no probe of {listing(blind)} ends with a result")
    if health.unprobed or not health.probed:
        return _as_before(pool) or _PENDING
    if health.needed:
        return _needed(health)
    if health.ejected:
        out = listing(sorted(health.ejected))
        return Verdict("True", Reason.RELAYS_EJECTED, f"{out}: out until they are well again")
    return Verdict("True", Reason.PROBES_PASSED, "")


def _too_many(pool: Pool, health: Assessment) -> Verdict:
    first = health.standings[health.held[0]]
    return Verdict(
        "False",
        Reason.TOO_MANY_UNHEALTHY,
        f"{len(health.bad)} of {len(health.members)} relays look bad at once, more than maxEjectedPercent"
        f" ({pool.spec.health.max_ejected_percent}) lets eject, so none is ejected any more: {listing(health.held)}:"
        f" {first.reason}: {first.message}",
    )


def _needed(health: Assessment) -> Verdict:
    first = health.standings[health.needed[0]]
    return Verdict(
        "True",
        Reason.NEEDED_BY_LOAD,
        f"{listing(health.needed)}: not ejected, for the others cannot carry the load:"
        f" {first.reason}: {first.message}",
    )


def _as_before(pool: Pool) -> Verdict | None:
    """What was said last: an operator that has just started has no probes, and that is no news."""
    return said_before(pool.previous, ConditionType.PROBES_HEALTHY) if pool.previous.relays else None
