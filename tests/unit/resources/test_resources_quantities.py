"""Quantities: equal amounts are equal, however they are written."""

import pytest

from smtpfleet.resources.quantities import amount, larger, same


@pytest.mark.parametrize(
    ("one", "other"),
    [("1Gi", "1024Mi"), ("1", "1000m"), ("0.5", "500m"), ("2k", "2000"), (2, "2"), ("1.5Gi", "1536Mi")],
)
def test_equal_amounts_are_the_same(one: object, other: object) -> None:
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("1Gi", "1G"), ("1", "1m"), ("1e3", "1000"), ("x", "1"), (None, "0")]
)
def test_other_amounts_and_forms_that_are_not_known_are_not(one: object, other: object) -> None:
    assert not same(one, other)


def test_a_form_that_is_not_known_is_only_the_same_as_itself() -> None:
    assert amount("1e3") is None
    assert same("1e3", "1e3")


def test_the_larger_one_is_chosen_and_the_first_if_there_is_none() -> None:
    assert larger("1Gi", "2G") == "2G"
    assert larger("3Gi", "2Gi") == "3Gi"
    assert larger("1Gi", "1024Mi") == "1Gi"
    assert larger("1Gi", "1e12") == "1Gi"
