"""Running other programs with errors that say which program failed and what it printed last.

Output goes to the caller or, with `log`, to a file: the terminal belongs to the progress lines.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from testbed.errors import CommandError


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | IO[bytes] = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 600,
) -> str:
    """Run a program and return its standard output.

    `stdin` is the input itself or an open file; `env` replaces the environment.
    Raises CommandError when the program is absent, fails or takes longer than `timeout_s`.
    """
    source: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    try:
        done = subprocess.run(
            argv, capture_output=True, env=env, cwd=cwd, timeout=timeout_s, check=False, **source
        )
    except FileNotFoundError as error:
        raise CommandError(argv, 127, str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(argv, 124, f"did not end within {timeout_s:.0f} s") from error
    if done.returncode != 0:
        raise CommandError(argv, done.returncode, (done.stdout + done.stderr).decode(errors="replace"))
    output: str = done.stdout.decode(errors="replace")
    return output


def run_logged(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 3600,
) -> None:
    """Run a long program with all of its output appended to `log`; a failure shows the log's last lines."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        start = sink.tell()
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=env,
                cwd=cwd,
                timeout=timeout_s,
                check=False,
            )
        except FileNotFoundError as error:
            raise CommandError(argv, 127, str(error)) from error
        except subprocess.TimeoutExpired as error:
            raise CommandError(argv, 124, f"did not end within {timeout_s:.0f} s; see {log}") from error
    if done.returncode != 0:
        with log.open("rb") as source:
            source.seek(start)
            raise CommandError(argv, done.returncode, source.read().decode(errors="replace"))
