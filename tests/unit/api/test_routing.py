"""The routing table: one text for equal content, read back as written, refused when it is not safe to act on."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpfleet.api.balancing import BalancingMethod
from smtpfleet.api.delivery import Smarthost
from smtpfleet.api.routing import (
    DeliveryTable,
    RelayRoute,
    RouteState,
    RoutingTable,
    SmarthostRoute,
    SubmissionTable,
    TableError,
    parse_table,
)

Change = Callable[[dict[str, Any]], object]


def _table(**fields: Any) -> RoutingTable:
    return RoutingTable.model_validate(
        {
            "pool": "outbound",
            "namespace": "mail",
            "hostname": "relay.example.com",
            "method": BalancingMethod.LEAST_CONNECTIONS,
            "submission": SubmissionTable(trusted_networks=("10.0.0.0/8",), message_size_limit_bytes=1000),
            "delivery": DeliveryTable(queue_lifetime_s=60),
            "relays": (
                RelayRoute(name="outbound-relay-0", address="10.96.0.7", weight=100),
                RelayRoute(name="outbound-relay-1", address="10.96.0.8", weight=0, state=RouteState.DRAINING),
            ),
            **fields,
        }
    )


def _changed(change: Change) -> str:
    content = json.loads(_table().text)
    change(content)
    return json.dumps(content)


labels = st.text("abz019", min_size=1, max_size=8)
one_line = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=20)
ports = st.integers(1, 65535).filter(lambda port: port != 465)  # which wants TLS
smarthosts: st.SearchStrategy[dict[str, Any]] = st.builds(dict, host=labels, port=ports)
relays: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    name=labels,
    address=st.ip_addresses().map(str),
    weight=st.integers(0, 100),
    state=st.sampled_from(RouteState),
)
tables = st.builds(
    _table,
    hostname=labels,
    method=st.sampled_from(BalancingMethod),
    submission=st.builds(
        dict,
        trusted_networks=st.lists(st.ip_addresses(v=4).map(lambda address: f"{address}/32"), max_size=3),
        message_size_limit_bytes=st.integers(1, 2**40),
    ),
    delivery=st.builds(dict, smarthost=st.none() | smarthosts, queue_lifetime_s=st.integers(1, 2**31 - 1)),
    postfix=st.dictionaries(st.sampled_from(["smtp_tls_loglevel", "header_checks", "a"]), one_line),
    relays=st.lists(relays, max_size=4, unique_by=lambda relay: relay["name"]),
)


@given(tables)
def test_a_table_reads_back_what_it_writes(table: RoutingTable) -> None:
    again = parse_table(table.text)
    assert again == table
    assert again.revision == table.revision


@given(tables, tables)
def test_revisions_are_equal_exactly_if_the_contents_are(one: RoutingTable, other: RoutingTable) -> None:
    assert (one.revision == other.revision) == (one == other)


def test_the_order_in_which_parameters_were_written_does_not_matter() -> None:
    assert _table(postfix={"a": "1", "b": "2"}).revision == _table(postfix={"b": "2", "a": "1"}).revision


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table["relays"][0].update(weight=50),
        lambda table: table["relays"][0].update(state="Draining"),
        lambda table: table["relays"][0].update(address="10.96.0.9"),
        lambda table: table["relays"].pop(),
        lambda table: table["relays"].reverse(),
        lambda table: table.update(method="Random"),
        lambda table: table["submission"]["trustedNetworks"].append("192.168.0.0/16"),
        lambda table: table["delivery"].update(smarthost={"host": "smtp.example.com"}),
        lambda table: table.update(postfix={"smtp_tls_loglevel": "1"}),
    ],
)
def test_every_change_changes_the_revision(change: Change) -> None:
    assert parse_table(_changed(change)).revision != _table().revision


@pytest.mark.parametrize(
    "place",
    [
        lambda table: table,
        lambda table: table["relays"][0],
        lambda table: table["submission"],
        lambda table: table["delivery"],
        lambda table: table["delivery"].setdefault("smarthost", {"host": "smtp.example.com"}),
    ],
)
def test_an_agent_ignores_what_a_later_operator_adds(
    place: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    before = parse_table(_changed(place))
    assert parse_table(_changed(lambda table: place(table).update(later={"any": ["thing"]}))) == before


class _LaterTable(RoutingTable):
    """Of a release that says more."""

    later: str = "thing"


@given(tables)
def test_an_older_agent_reports_the_revision_that_a_later_operator_wrote(table: RoutingTable) -> None:
    written = _LaterTable.model_validate(table.model_dump())
    read = parse_table(written.text)
    assert (read.revision, read.text) == (written.revision, written.text)
    assert read.revision != table.revision


def test_a_table_that_a_person_wrote_in_another_form_has_one_revision_for_all_who_read_it() -> None:
    by_hand = _changed(lambda _: None)
    assert by_hand != _table().text
    read = parse_table(by_hand)
    assert (read, read.text) == (_table(), by_hand)
    assert read.revision != _table().revision


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.update(format=2), "format"),
        (lambda table: table.pop("pool"), "pool: Field required"),
        (lambda table: table.pop("submission"), "submission: Field required"),
        (lambda table: table.update(hostname="a\nmynetworks = 0.0.0.0/0"), "not a host name"),
        (lambda table: table.update(hostname=""), "hostname"),
        (lambda table: table.update(method="Best"), "method"),
        (lambda table: table["submission"].update(trustedNetworks=["0.0.0.0/0"]), "open relay"),
        (lambda table: table["submission"].update(messageSizeLimitBytes=0), "greater than 0"),
        (lambda table: table["delivery"].update(queueLifetimeS=0), "greater than 0"),
        (lambda table: table["delivery"].update(smarthost={"host": "a\nb"}), "not a host name"),
        (lambda table: table.update(postfix={"mynetworks": "x"}), "set by the operator itself: mynetworks"),
        (lambda table: table.update(postfix={"a": "b\nc"}), "one line"),
        (lambda table: table.update(postfix={"a\nb": "c"}), "no main.cf parameters"),
        (lambda table: table["relays"][0].update(name="a\nserver b"), "pattern"),
        (lambda table: table["relays"][0].update(name="outbound-relay-1"), "two relays of one name"),
        (lambda table: table["relays"][0].update(address="relay.example.com"), "address"),
        (lambda table: table["relays"][0].update(weight=101), "less than or equal to 100"),
        (lambda table: table["relays"][0].update(weight=-1), "greater than or equal to 0"),
        (lambda table: table["relays"][0].update(state="Gone"), "state"),
    ],
)
def test_a_table_that_is_not_safe_to_act_on_is_refused(change: Change, words: str) -> None:
    with pytest.raises(TableError, match=words):
        parse_table(_changed(change))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '"table"', "\0"])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(TableError):
        parse_table(text)


@given(tables, st.data())
def test_a_table_that_was_cut_off_is_refused(table: RoutingTable, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(table.text.rstrip()) - 1))
    with pytest.raises(TableError):
        parse_table(table.text[:end])


def test_a_relay_is_found_by_its_name() -> None:
    found = _table().relay("outbound-relay-1")
    assert found is not None
    assert found.state is RouteState.DRAINING
    assert _table().relay("outbound-relay-2") is None


def test_the_smarthost_of_a_spec_fits_into_a_table() -> None:
    delivery = DeliveryTable.model_validate(
        {"smarthost": Smarthost(host="smtp.example.com"), "queueLifetimeS": 1}
    )
    assert delivery.smarthost == SmarthostRoute(host="smtp.example.com", port=587)


def test_addresses_have_one_form() -> None:
    assert RelayRoute(name="a", address="2001:DB8:0::1", weight=1).address == "2001:db8::1"
