"""The environment of a relay's container."""

import pytest

from smtpfleet.relay.settings import Paths, Settings, SettingsError

COMPLETE = {
    "POOL_NAME": "outbound",
    "POD_NAMESPACE": "mail",
    "RELAY_NAME": "outbound-relay-0",
    "POD_IP": "10.244.1.7",
}


def test_what_the_operator_sets_is_enough() -> None:
    settings = Settings.from_environment(COMPLETE | {"PATH": "/bin"})
    assert (settings.relay, settings.pod_address.version) == ("outbound-relay-0", 4)


def test_addresses_are_masked_unless_told_otherwise() -> None:
    assert Settings.from_environment(COMPLETE).mask_addresses
    assert not Settings.from_environment(COMPLETE | {"LOG_ADDRESSES": "plain"}).mask_addresses


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"POD_IP": "10.244.1.300", "LOG_ADDRESSES": "off"})
    for name in set(COMPLETE) | {"LOG_ADDRESSES"}:
        assert name in str(caught.value)


def test_the_queue_leaves_room_beside_it_on_the_volume() -> None:
    paths = Paths()
    assert paths.queue != paths.volume
    assert {paths.queue.parent, paths.incarnation.parent, paths.last_good.parent} == {paths.volume}
