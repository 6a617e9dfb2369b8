"""Which relays may get a new pod template now: the algorithm of a rolling change.

A relay that is not ready serves nobody, so its change never waits: it may be what makes it ready. A relay
that is ready is changed only if every other relay is ready and has settled, and then one at a time, by
number. So a change that breaks relays stops at the first one, and the spec can always be corrected.
Relays that are leaving are changed only if they are not ready, for they serve nobody. A relay that is ejected counts
as not ready, although its pod may be.
"""

from collections.abc import Collection, Sequence

from smtpfleet.domain.facts import Relay


def may_restart(
    relays: Sequence[Relay], *, leaving: Collection[str], starting: bool, ejected: Collection[str] = ()
) -> frozenset[str]:
    """Names of the outdated relays whose Deployment may be changed in this cycle.

    Args:
        relays: all relays that exist.
        leaving: names of those that have to go.
        starting: relays are wanted that do not exist yet.
        ejected: names of those that get no mail because their probes fail.
    """
    outdated = [
        relay for relay in relays if relay.deployment and relay.deployment.outdated and not relay.paused
    ]
    broken = {relay.name for relay in outdated if not relay.ready or relay.name in ejected}
    if broken:
        return frozenset(broken)
    for relay in outdated:
        if relay.name in leaving:
            continue
        others = (other for other in relays if other.name not in leaving and other.name != relay.name)
        if starting or not frozenset(ejected) <= frozenset(leaving):
            break
        if _settled(relay) and all(map(_settled, others)):
            return frozenset({relay.name})
    return frozenset()


def _settled(relay: Relay) -> bool:
    return relay.ready and relay.deployment is not None and relay.deployment.settled
