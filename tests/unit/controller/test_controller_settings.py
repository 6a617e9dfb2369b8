"""The operator's settings: what is missing or wrong is named, all at once."""

import pytest

from smtpfleet.controller.settings import Settings, SettingsError, from_environment

GIVEN = {
    "POD_NAME": "operator-1",
    "POD_NAMESPACE": "smtpfleet-system",
    "RELAY_IMAGE": "example.net/relay:1",
    "BALANCER_IMAGE": "example.net/balancer:1",
}


def test_what_is_not_given_has_its_default() -> None:
    assert from_environment(GIVEN) == Settings(
        pod_name="operator-1",
        pod_namespace="smtpfleet-system",
        relay_image="example.net/relay:1",
        balancer_image="example.net/balancer:1",
        watch_namespace="",
        lease_name="smtpfleet-operator",
        http_port=8080,
        workers=4,
        resync_s=120,
    )


def test_every_setting_can_be_given() -> None:
    more = {
        "WATCH_NAMESPACE": "mail",
        "LEASE_NAME": "other",
        "HTTP_PORT": "9090",
        "WORKERS": "8",
        "RESYNC_SECONDS": "30",
    }
    settings = from_environment(GIVEN | more)
    assert (settings.watch_namespace, settings.lease_name) == ("mail", "other")
    assert (settings.http_port, settings.workers, settings.resync_s) == (9090, 8, 30)


def test_everything_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({})
    assert all(variable in str(caught.value) for variable in GIVEN)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WATCH_NAMESPACE", "Mail"),
        ("WATCH_NAMESPACE", "a,b"),
        ("LEASE_NAME", "under_score"),
        ("POD_NAMESPACE", "-"),
        ("HTTP_PORT", "0"),
        ("HTTP_PORT", "http"),
        ("WORKERS", "-1"),
        ("RESYNC_SECONDS", "3600"),
        ("RESYNC_SECONDS", "²"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_value(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=variable) as caught:
        from_environment(GIVEN | {variable: value})
    assert repr(value) in str(caught.value)
