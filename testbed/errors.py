"""What can go wrong, in words for the person at the terminal.

Every error that the command reports is one of these; anything else is a defect and keeps its traceback.
"""

from collections.abc import Sequence


class TestbedError(Exception):
    """Something the user can act on; its text is one sentence or a few lines, ready to be printed."""

    __test__ = False  # pytest takes every class named Test… for a test case


class MissingPrerequisitesError(TestbedError):
    """The machine lacks what the cluster needs; nothing has been started."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(self.sentences))


class CommandError(TestbedError):
    """A program that the test bed ran ended with a failure."""

    def __init__(self, argv: Sequence[str], returncode: int, output: str) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        tail = "\n".join(output.strip().splitlines()[-15:])
        super().__init__(f"{' '.join(argv)[:300]}: exit status {returncode}\n{tail}")


class NotReadyError(TestbedError):
    """Something that was started did not become ready in time."""


class UnsupportedError(TestbedError):
    """The kind of cluster in use cannot do what was asked."""
