"""Queues on a real cluster: what a relay cannot deliver its siblings take over, and nothing is lost or repeated."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from mailcheck.checker import check
from mailcheck.model import Arrival, Attempt
from scenario.cluster import Local
from scenario.conversation import Conversation, Step, hold, line
from scenario.kube import Object, wait_until
from scenario.load import Load, Shape, run
from scenario.stage import ONE_BALANCER, Stage
from tests.cluster.edge import hand_off
from tests.cluster.operators import Space

WAITING_S = 15
"""So many seconds' messages the receiver does not take from the relay that leaves: 1,500 at the full rate."""
SECONDS = 15
"""Of mail at least, while it leaves."""
MOST_S = 300


@pytest.fixture(scope="module")
def stage(local: Local) -> Iterator[Stage]:
    """A sink, and a pool of one relay, whose queue gets long before the others come."""
    namespace = f"handoff-{uuid4().hex[:6]}"
    with Stage(
        kube=local.kube, namespace=namespace, sink_image=local.images["sink"], shape=ONE_BALANCER
    ) as stage:
        stage.pool(replicas=1)
        yield stage


def _space(stage: Stage) -> Space:
    return Space(stage.kube, stage.namespace)


def _relays(stage: Stage) -> list[str]:
    return _space(stage).names("persistentvolumeclaims")


def _entry(stage: Stage, relay: str) -> Object:
    return _space(stage).entries().get(relay, {})


def _queue(stage: Stage, relay: str) -> Object:
    pod = next(pod for pod in stage.pods("relay") if pod.relay == relay)
    found: Object = stage.relay_status(pod.name)["queue"]
    return found


def _gone(stage: Stage, relay: str) -> str:
    return "" if relay not in _relays(stage) else f"{_entry(stage, relay)}"


def _drain(stage: Stage, relay: str, value: str = "=true") -> None:
    what = f"smtpfleet.io/drain{value}"
    stage.kube.run("annotate", "--overwrite", "deployment", relay, "-n", stage.namespace, what)


def test_a_relay_whose_mail_nobody_takes_hands_it_over_and_goes(stage: Stage, rate: int) -> None:
    """Under load, with one message on hold, which only a person may touch."""
    leaving = "outbound-relay-0"
    pod = stage.pods("relay")[0]
    stage.sink_mode(mode="tempfail", client=pod.address)
    count = WAITING_S * rate
    waiting, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=150, count=count))
    wait_until(lambda: _deferred(stage, leaving, count), timeout_s=60)
    held = _queue_ids(stage, leaving)[0]
    _exec(stage, leaving, "postsuper", "-h", held)
    stage.apply_pool(replicas=3)
    stage.wait_ready()
    _drain(stage, leaving)  # so that this one is chosen
    shape = Shape(target=f"{stage.address()}:25", rate=rate, count=rate * MOST_S)
    load = Load.start(stage.kube, shape)
    try:
        stage.apply_pool(replicas=2)
        wait_until(lambda: _only_held(stage, leaving), timeout_s=120)
        _strangers_may_not_hand_over(stage, "outbound-relay-1")
        load.last(SECONDS)
    finally:
        attempts = load.enough()
    assert {attempt.reason for attempt in attempts if not attempt.acknowledged} == set()
    assert leaving in _relays(stage)
    _exec(stage, leaving, "postsuper", "-H", held)
    wait_until(lambda: _gone(stage, leaving), timeout_s=120)
    stage.wait_ready()
    verdict = check([*waiting, *attempts], stage.wait_drained([*waiting, *attempts]))
    assert verdict.ok, verdict
    assert not verdict.duplicated
    events = stage.kube.items("events.events.k8s.io", "-n", stage.namespace)
    assert {"HandingOff", "Removed"} <= {event["reason"] for event in events}


def _deferred(stage: Stage, relay: str, count: int) -> str:
    queue = _queue(stage, relay)
    return "" if queue["deferred"] == count else f"{queue}"


def _only_held(stage: Stage, relay: str) -> str:
    queue, entry = _queue(stage, relay), _entry(stage, relay)
    rest = sum(queue[name] for name in ("maildrop", "incoming", "active", "deferred"))
    return "" if (rest, queue["hold"]) == (0, 1) and "on hold" in entry["message"] else f"{queue} {entry}"


def _strangers_may_not_hand_over(stage: Stage, relay: str) -> None:
    """Node and network let them through here: Postfix itself refuses them."""
    address = stage.address(relay)
    conversations = [attempt.to(address) for attempt in hand_off.ATTEMPTS]
    answers = hold(stage.kube, conversations, source="n1")
    found = {attempt.title: answers[attempt.title].codes for attempt in hand_off.ATTEMPTS}
    assert found == {attempt.title: attempt.codes for attempt in hand_off.ATTEMPTS}


CHECKS = {
    "header_checks": "regexp:{{/^Subject: .*/ PREPEND X-Checked: by cleanup}}",
    "smtp_line_length_limit": "0",  # else the last delivery, to the receiver, folds what is longer than 998 octets
}
MARKED: Object = {
    "relay": {"postfix": CHECKS},
    "dkim": [{"domain": "example.com", "selector": "s1"}],
}
"""What is done to mail when it comes in."""
STRICT: Object = MARKED | {
    "submission": {
        "trustedNetworks": ["127.0.0.1/32"],
        "allowedSenderDomains": ["nobody.example"],
        "messageSizeLimit": "1Mi",
    },
}
"""And what a client may no more, after its message was acknowledged."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message with an envelope of its own. ``mail`` and ``rcpt`` must reach the receiver as they are."""

    id: str
    mail: str
    rcpt: str
    body: bytes = b"Hello"

    def conversation(self, address: str) -> Conversation:
        """A session that hands it in."""
        text = (
            f"Message-ID: <{self.id}>\r\nFrom: s@example.com\r\nSubject: {self.id}\r\n\r\n".encode()
            + self.body
            + b"\r\n.\r\n"
        )
        commands = ("EHLO client.example", f"MAIL {self.mail}", f"RCPT {self.rcpt}", "DATA")
        steps = (Step(), *map(line, commands), Step(send=text))
        return Conversation(name=self.id, host=address, port=25, steps=steps)


MESSAGES = (
    Message(
        id="utf8@h", mail="FROM:<søren@example.com> BODY=8BITMIME SMTPUTF8", rcpt="TO:<jürgen@bücher.example>"
    ),
    Message(
        id="dsn@h",
        mail="FROM:<s@example.com> RET=HDRS ENVID=Q-314",
        rcpt="TO:<r@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first@example.net",
    ),
    Message(id="bounce@h", mail="FROM:<>", rcpt="TO:<r@example.net> NOTIFY=NEVER"),
    Message(
        id="eight@h",
        mail="FROM:<s@example.com> BODY=8BITMIME",
        rcpt="TO:<r@example.net>",
        body=b"\xc3\xbc " * 700,
    ),
)


def test_what_was_acknowledged_is_handed_over_as_it_is(stage: Stage) -> None:
    """Whatever clients may not do any more, and whatever is done to mail that comes in from them."""
    stage.apply_pool(replicas=2, **MARKED)
    stage.wait_ready()
    staying, leaving = _relays(stage)
    _drain(stage, staying)
    wait_until(lambda: _signs_alone(stage, leaving), timeout_s=60)
    stage.sink_mode(mode="tempfail")
    answers = hold(stage.kube, [message.conversation(stage.address()) for message in MESSAGES])
    assert {answer.codes[-1] for answer in answers.values()} == {"250"}
    large, _ = run(stage.kube, Shape(target=f"{stage.address()}:25", rate=1, count=2, size_bytes=1_500_000))
    count = len(MESSAGES) + len(large)
    wait_until(lambda: _deferred(stage, leaving, count), timeout_s=60)
    first = set(_queue_ids(stage, leaving))

    _drain(stage, leaving)
    _drain(stage, staying, "-")
    stage.apply_pool(replicas=1, **STRICT)
    wait_until(lambda: _gone(stage, leaving), timeout_s=120)
    wait_until(lambda: _deferred(stage, staying, count), timeout_s=60)
    assert _first_ids(stage, staying) == first
    assert [stage.relay_status(pod.name)["tableError"] for pod in stage.pods("relay")] == [""]

    stage.sink_mode(mode="accept")
    _exec(stage, staying, "postqueue", "-f")
    wait_until(lambda: f"{left} left" if (left := stage.queued()) else "", timeout_s=120)
    kept = {message.id: message for message in stage.kept()}
    for message in MESSAGES:
        arrived = kept[message.id]
        # Postfix adds SIZE and, where there was none, ORCPT.
        assert set(message.mail.split()) <= set(arrived.mail.split()), arrived.mail
        assert [set(message.rcpt.split()) <= set(rcpt.split()) for rcpt in arrived.rcpt] == [True], (
            arrived.rcpt
        )
        headers, _, body = kept[message.id].content.partition(b"\r\n\r\n")
        assert body == message.body + b"\r\n"
        assert [headers.count(name) for name in (b"X-Checked:", b"DKIM-Signature:")] == [1, 1], headers
    verdict = check(large, of(stage, large))
    assert verdict.ok, verdict
    assert not verdict.duplicated


def of(stage: Stage, attempts: list[Attempt]) -> list[Arrival]:
    """What arrived of these."""
    ids = {attempt.id for attempt in attempts}
    return [arrival for arrival in stage.arrivals() if arrival.id in ids]


def _signs_alone(stage: Stage, relay: str) -> str:
    entries = _space(stage).entries()
    others = [name for name, entry in entries.items() if name != relay and entry["weight"]]
    condition = _space(stage).condition("SigningReady")
    return f"{others} {condition}" if others or condition.get("status") != "True" else ""


def _exec(stage: Stage, relay: str, *command: str) -> str:
    return stage.kube.run("exec", "-n", stage.namespace, f"deployment/{relay}", "--", *command)


def _queue_ids(stage: Stage, relay: str) -> list[str]:
    listed = _exec(stage, relay, "postqueue", "-j").splitlines()
    return [json.loads(entry)["queue_id"] for entry in listed]


def _first_ids(stage: Stage, relay: str) -> set[str]:
    """The ids that a relay's messages had where clients handed them in: by them they are given up in time."""
    texts = [_exec(stage, relay, "postcat", "-qe", queue_id) for queue_id in _queue_ids(stage, relay)]
    found = (re.search(r"^named_attribute: log_ident=(\w+)$", text, re.MULTILINE) for text in texts)
    return {match[1] for match in found if match}
