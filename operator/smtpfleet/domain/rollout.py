"""Which relays may get a new pod template now: the algorithm of a rolling change.

A relay that is not ready serves nobody, so its change never waits: it may be what makes it ready. A relay
that is ready is changed only if every other relay is ready and has settled, and then one at a time, by
number. So a change that breaks relays stops at the first one, and the spec can always be corrected.
Relays that are leaving are changed only if they are not ready, for they serve nobody. A relay that is ejected counts
as not ready, although its pod may be.

Where one relay is all there is, nobody would serve while it is restarted. So another one is made first, of the new
template, and once that serves the outdated one leaves as any surplus relay does.
"""

from collections.abc import Collection, Sequence

from smtpfleet.domain.facts import Relay, Wish


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
    outdated = [relay for relay in relays if _is_outdated(relay) and not relay.paused]
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


def surge(relays: Sequence[Relay], *, desired: int, away: Collection[str] = ()) -> int:
    """How many relays more than ``desired`` there are to be for a while.

    Args:
        relays: all relays that exist.
        desired: how many there are to be.
        away: names of those that get no mail, or count no more.
    """
    serving = [
        relay
        for relay in relays
        if relay.ready and relay.name not in away and not relay.doomed and relay.wish is not Wish.DRAIN
    ]
    alone = desired == 1 and bool(serving) and all(map(_is_outdated, serving))
    return int(alone and not all(relay.paused for relay in serving))


def _is_outdated(relay: Relay) -> bool:
    return relay.deployment is not None and relay.deployment.outdated


def _settled(relay: Relay) -> bool:
    return relay.ready and relay.deployment is not None and relay.deployment.settled
