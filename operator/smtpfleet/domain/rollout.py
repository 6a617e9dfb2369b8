"""Which relays may get a new pod template now: the algorithm of a rolling change.

A relay that is not ready serves nobody, so its change need not wait: it may be what makes it ready. It waits only for a
template that was tried and has made nobody ready yet. A relay that is ready is changed only if every other relay is
ready and has settled, and then one at a time, by number. So a change that breaks relays stops at the first one, also
when another one is not ready for a moment, and the spec can always be corrected.
Relays that are leaving serve nobody, and are changed only if their agents are silent: one that answers delivers and
hands over by itself. A relay that is ejected counts as not ready, although its pod may be.

Where one relay is all there is, nobody would serve while it is restarted. So another one is made first, of the new
template, and once that serves the outdated one leaves as any surplus relay does.
"""

from collections.abc import Collection, Sequence

from smtpfleet.domain.facts import Relay, Wish
from smtpfleet.domain.findings import silent


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
    staying = [relay for relay in outdated if relay.name not in leaving]
    stuck = {relay.name for relay in outdated if relay.name in leaving and _is_stuck(relay)}
    broken = {relay.name for relay in staying if not relay.ready or relay.name in ejected}
    if stuck or broken:
        unproven = _is_unproven([relay for relay in relays if relay.name not in leaving])
        return frozenset(stuck if unproven else stuck | broken)
    for relay in staying:
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
    members = [
        relay
        for relay in relays
        if relay.name not in away and not relay.doomed and relay.wish is not Wish.DRAIN
    ]
    serving = [relay for relay in members if relay.ready]
    outdated = [relay for relay in members if _is_outdated(relay) and not relay.paused]
    # One that is made already stays when the old one is away for a moment: else that one would be the surplus.
    alone = bool(serving) or len(outdated) < len(members)
    return int(desired == 1 and bool(outdated) and alone and all(map(_is_outdated, serving)))


def _is_outdated(relay: Relay) -> bool:
    return relay.deployment is not None and relay.deployment.outdated


def _is_stuck(relay: Relay) -> bool:
    """Whether a relay that leaves cannot go on without being changed; what an ephemeral one holds ends with its pod."""
    return not relay.ready and not relay.ephemeral and silent(relay)


def _is_unproven(relays: Collection[Relay]) -> bool:
    """Whether the present template was given a node, and nobody who has it is ready."""
    tried = [relay for relay in relays if relay.pod and relay.pod.node and not _is_outdated(relay)]
    return bool(tried) and not any(relay.ready for relay in tried)


def _settled(relay: Relay) -> bool:
    return relay.ready and relay.deployment is not None and relay.deployment.settled
