"""A command with short turns: it runs as the process that was started, also where nobody can give it short turns."""

import subprocess

import pytest

from smtpfleet.api.turns import SLICE_NS, with_short_turns


@pytest.mark.parametrize("path", ["/usr/bin:/bin", "/nowhere"], ids=["with chrt", "without"])
def test_a_command_takes_the_place_of_the_shell_that_asks_for_short_turns(path: str) -> None:
    command = with_short_turns("/bin/sh", "-c", 'echo $$ "$@"', "x", "a b", "$c")
    with subprocess.Popen(
        ["/usr/bin/env", f"PATH={path}", "/bin/sh", *command[1:]], stdout=subprocess.PIPE, text=True
    ) as process:
        said, _ = process.communicate(timeout=10)
    assert (process.returncode, said) == (0, f"{process.pid} a b $c\n")


def test_turns_are_as_short_as_linux_takes_them_without_a_word() -> None:
    assert 100_000 <= SLICE_NS <= 1_000_000
