"""A cycle's plan: what is created, held back, removed; and that an idle pool plans nothing new."""

from dataclasses import replace
from typing import Any

from smtpfleet.api.agent_status import Intake
from smtpfleet.domain.facts import Claim, Pool, Relay
from smtpfleet.domain.plan import Plan, RelayStep, plan
from tests.unit.domain.samples import SETTLED, pod, pool, relay, report, table


def _step(planned: Plan, number: int) -> RelayStep:
    return next(step for step in planned.steps if step.name == f"outbound-relay-{number}")


def _emptied(seen: Pool, number: int) -> Pool:
    """The pool after its table drains the relay and its agent says that it is closed and empty."""
    name = f"outbound-relay-{number}"
    drained = table(seen, name)
    said = report(name, intake=Intake.CLOSED, table_revision=drained.revision)
    relays = tuple(replace(item, agent=said) if item.name == name else item for item in seen.relays)
    return replace(seen, relays=relays, table=drained)


def _numbered(*numbers: int, **fields: Any) -> list[Relay]:
    return [relay(number, **fields) for number in numbers]


def test_a_new_relay_first_gets_its_service_and_claim_and_no_deployment() -> None:
    planned = plan(pool(replicas=1, balancer=None))
    step = RelayStep("outbound-relay-0", ephemeral=False, claim=True, deployment=False, template=True)
    assert planned.steps == (step,)
    assert not planned.balancer


def test_the_deployment_follows_when_the_relay_has_an_address_in_the_table() -> None:
    fresh = relay(0, deployment=None, pods=(), agent=None)
    planned = plan(pool([fresh], balancer=None))
    assert _step(planned, 0).deployment
    assert [route.name for route in planned.table.relays] == ["outbound-relay-0"]
    assert planned.balancer


def test_a_deleted_deployment_comes_back_although_other_relays_are_not_ready() -> None:
    lost = relay(0, deployment=None, pods=(), agent=None)
    broken = relay(1, pods=(pod("outbound-relay-1", ready=False),))
    step = _step(plan(pool([lost, broken])), 0)
    assert (step.deployment, step.template) == (True, True)


def test_a_template_is_held_back_until_it_is_the_relays_turn() -> None:
    old = replace(SETTLED, outdated=True)
    planned = plan(pool(_numbered(0, 1, deployment=old)))
    assert [step.template for step in planned.steps] == [True, False]
    assert all(step.deployment for step in planned.steps)


def test_a_pool_of_one_relay_is_changed_by_another_one_and_stays_as_it_is_while_that_is_not_well() -> None:
    outdated = relay(0, deployment=replace(SETTLED, outdated=True))
    coming = plan(pool([outdated]))
    assert (coming.scale.new, coming.scale.leaving, coming.desired) == ((1,), frozenset(), 1)
    assert not _step(coming, 0).template
    broken = relay(1, pods=(pod("outbound-relay-1", ready=False),))
    waits = plan(pool([outdated, broken], replicas=1))
    assert (waits.scale.new, waits.scale.leaving, _step(waits, 0).template) == ((), frozenset(), False)
    serves = plan(pool([outdated, relay(1)], replicas=1))
    assert (serves.scale.leaving, _step(serves, 0).template) == (frozenset({"outbound-relay-0"}), False)
    # Corrected meanwhile: what never became well goes.
    corrected = plan(pool([relay(0), broken], replicas=1))
    assert corrected.scale.leaving == {"outbound-relay-1"}


def test_an_existing_relay_keeps_its_kind_of_storage_when_the_spec_changes() -> None:
    seen = pool([relay(0)], replicas=2, spec_fields={"relay": {"storage": {"ephemeral": True}}})
    planned = plan(seen)
    assert [(step.name, step.ephemeral) for step in planned.steps] == [
        ("outbound-relay-0", False),
        ("outbound-relay-1", True),
    ]


def test_an_ephemeral_relay_has_no_claim() -> None:
    seen = pool([relay(0, claim=None, ephemeral=True)])
    assert not _step(plan(seen), 0).claim


def test_a_surplus_relay_is_drained_first_and_keeps_its_objects() -> None:
    planned = plan(pool(_numbered(0, 1), replicas=1))
    assert planned.scale.surplus == {"outbound-relay-1"}
    assert planned.removal is None
    assert _step(planned, 1).deployment


def test_a_surplus_relay_is_removed_claim_and_all_when_it_is_known_to_be_empty() -> None:
    planned = plan(_emptied(pool(_numbered(0, 1), replicas=1), 1))
    assert planned.removal is not None
    removal = planned.removal
    assert (removal.name, removal.claim, removal.deployment) == ("outbound-relay-1", True, True)
    assert [step.name for step in planned.steps] == ["outbound-relay-0"]


def test_only_one_relay_is_removed_in_a_cycle() -> None:
    seen = pool(_numbered(0, 1, 2), replicas=1)
    drained = table(seen, "outbound-relay-1", "outbound-relay-2")
    relays = [
        relay(0),
        *(
            relay(
                n, agent=report(f"outbound-relay-{n}", intake=Intake.CLOSED, table_revision=drained.revision)
            )
            for n in (1, 2)
        ),
    ]
    planned = plan(replace(seen, relays=tuple(relays), table=drained))
    assert planned.removal is not None
    assert planned.removal.name == "outbound-relay-2"
    assert [step.name for step in planned.steps] == ["outbound-relay-0", "outbound-relay-1"]


def test_a_paused_relay_is_neither_changed_nor_removed() -> None:
    seen = _emptied(pool([relay(0), relay(1, paused=True)], replicas=1), 1)
    planned = plan(seen)
    assert planned.removal is None
    assert "outbound-relay-1" not in [step.name for step in planned.steps]


def test_a_crash_between_deleting_claim_and_deployment_is_made_good() -> None:
    halfway = _emptied(pool([relay(0), relay(1, claim=Claim(leaving=True))], replicas=1), 1)
    planned = plan(halfway)
    assert planned.removal is not None
    assert (planned.removal.claim, planned.removal.deployment) == (False, True)


def test_a_relay_that_is_going_is_not_needed_again_even_if_the_number_rises_meanwhile() -> None:
    planned = plan(pool([relay(0), relay(1, claim=Claim(leaving=True))], replicas=2))
    assert planned.scale.new == (2,)
    assert planned.scale.doomed == {"outbound-relay-1"}


def test_a_claim_that_somebody_deleted_is_not_applied_again_while_it_goes() -> None:
    planned = plan(pool([relay(0, claim=Claim(leaving=True))], replicas=1))
    step = _step(planned, 0)
    assert (step.claim, step.deployment) == (False, True)


def test_a_left_over_service_is_deleted_when_no_pod_is_behind_it() -> None:
    last = relay(1, deployment=None, claim=None, agent=None)
    assert plan(pool([relay(0), last], replicas=1)).remnants == ()
    assert plan(pool([relay(0), replace(last, pods=())], replicas=1)).remnants == ("outbound-relay-1",)


def test_a_left_over_service_stays_while_the_claim_is_still_going() -> None:
    last = relay(1, deployment=None, claim=Claim(leaving=True), pods=(), agent=None)
    assert plan(pool([relay(0), last], replicas=1)).remnants == ()


def test_a_deleted_ephemeral_deployment_comes_back_under_the_same_name() -> None:
    lost = relay(0, deployment=None, claim=None, pods=(), agent=None)
    seen = pool([lost], replicas=1, spec_fields={"relay": {"storage": {"ephemeral": True}}})
    planned = plan(seen)
    assert planned.remnants == ()
    assert planned.steps == (
        RelayStep("outbound-relay-0", ephemeral=True, claim=False, deployment=True, template=True),
    )


def test_planning_again_after_the_table_was_applied_changes_nothing() -> None:
    seen = pool(_numbered(0, 1, 2))
    first = plan(seen)
    again = plan(replace(seen, table=first.table))
    assert again == first
