"""Which certificate the relay's Postfix serves: the newest one that works.

Guarantees: Postfix gets only a pair that was tried (:mod:`smtpfleet.relay.certificate`); the last good one stays until
a better one is there, also over a restart of the container; a file that Postfix may still open stays, however many
follow it before Postfix reloads. Keys are in the pod's memory only, mode 0600.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from smtpfleet.api.agent_status import CertificateProblem, CertificateStatus
from smtpfleet.api.routing import SubmissionTls
from smtpfleet.api.submission import TlsMode
from smtpfleet.relay.certificate import (
    CERTIFICATE_KEY,
    PRIVATE_KEY_KEY,
    Certificate,
    CertificateError,
    chain_text,
    examine,
    inspect,
)
from smtpfleet.relay.leftovers import Leftovers

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 10.0
"""How long the first Secret may take before the relay starts without a certificate."""
RETRY_S: Final = 60.0
"""A pair that was refused is tried again after this time: one that is not valid yet will be."""
_SUFFIX: Final = ".pem"


class Secrets(Protocol):
    """Where Secrets come from; :class:`smtpfleet.feed.secretset.SecretSet` is the one of production."""

    def get(self, name: str) -> Mapping[str, bytes] | None:
        """The content of a Secret; None: never seen, or missing."""

    def missing(self, name: str) -> bool:
        """Whether there is no such Secret."""

    def error(self, name: str) -> str:
        """Why the newest content is not known."""


class Keystore:
    """Use :meth:`update` now and then; it costs nothing while nothing changed.

    Args:
        directory: in memory; outlives the container.
        secrets: where pairs come from.
        clock: seconds that only ever grow.
        now: the time of day.
    """

    def __init__(
        self,
        directory: Path,
        secrets: Secrets,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory, self._secrets, self._clock, self._now = directory, secrets, clock, now
        self._leftovers = Leftovers(clock)
        self.current: Certificate | None = None
        self._secret = ""
        self._problem, self._error = CertificateProblem.NONE, ""
        self._tried: Mapping[str, bytes] | None = None
        self._tried_s = 0.0
        self._waiting_since_s: float | None = None
        self._enabled = False

    @property
    def settled(self) -> bool:
        """Whether it is known what to serve, or there was enough time to know it."""
        if not self._enabled or self.current is not None or self._problem is not CertificateProblem.UNKNOWN:
            return True
        return self._waiting_since_s is not None and self._clock() - self._waiting_since_s > PATIENCE_S

    def update(self, wanted: SubmissionTls) -> Path | None:
        """The chain file to serve now; None: there is none, or the mode is None.

        Raises:
            OSError: a file that was not in use for long cannot be removed.
        """
        if wanted.mode is TlsMode.NONE:
            self._disable()
            return None
        if not self._enabled:
            self._enabled, self._waiting_since_s = True, self._clock()
            self._leftovers = Leftovers(self._clock)  # what is there may have been in use all the time
            self.current = self._last_good()
        if wanted.secret_name != self._secret:
            self._secret, self._tried = wanted.secret_name, None
        self._look()
        used = self.current.file if self.current else None
        self._leftovers.sweep([used] if used else [], lambda: self._directory.glob("*"))
        return used

    def status(self) -> CertificateStatus | None:
        """What ``/status`` says of it; None: the mode is None."""
        if not self._enabled:
            return None
        served, problem, error = self.current, self._problem, self._error
        if served and problem is CertificateProblem.NONE and served.expired(self._now()):
            problem, error = CertificateProblem.EXPIRED, "the certificate has expired"
        return CertificateStatus(
            secret=self._secret,
            fingerprint=served.fingerprint if served else "",
            not_before=served.not_before if served else None,
            not_after=served.not_after if served else None,
            problem=problem,
            error=error,
        )

    def _look(self) -> None:
        """Take what the Secret has, if it is new."""
        pair = self._secrets.get(self._secret)
        if pair is None:
            if self._secrets.missing(self._secret):
                self._refuse(CertificateProblem.MISSING, self._secrets.error(self._secret))
            elif self.current is None:
                self._problem, self._error = CertificateProblem.UNKNOWN, self._secrets.error(self._secret)
            self._tried = None
            return
        retry = self._problem is not CertificateProblem.NONE and self._clock() - self._tried_s >= RETRY_S
        if pair is self._tried and not retry:
            return
        self._tried, self._tried_s = pair, self._clock()
        try:
            self._take(pair)
        except CertificateError as error:
            self._refuse(error.problem, str(error))
        except OSError as error:
            self._refuse(CertificateProblem.INVALID, f"the pair cannot be stored: {error.strerror}")

    def _take(self, pair: Mapping[str, bytes]) -> None:
        lacking = [key for key in (CERTIFICATE_KEY, PRIVATE_KEY_KEY) if not pair.get(key)]
        if lacking:
            raise CertificateError(
                CertificateProblem.INVALID,
                f"{' and '.join(lacking)} missing: the Secret must be of the type kubernetes.io/tls",
            )
        file, new = self._written(chain_text(pair[CERTIFICATE_KEY], pair[PRIVATE_KEY_KEY]))
        try:
            examine(new, now=self._now())
            new.replace(file)
        except CertificateError:
            new.unlink()
            raise
        self._problem, self._error = CertificateProblem.NONE, ""
        if self.current is None or file != self.current.file:
            self.current = inspect(file)
            logger.info(
                "a certificate is served",
                extra={
                    "secret": self._secret,
                    "fingerprint": self.current.fingerprint,
                    "not_after": f"{self.current.not_after:%Y-%m-%dT%H:%M:%SZ}",
                },
            )

    def _written(self, text: bytes) -> tuple[Path, Path]:
        """Where the chain is to be, and where it is now. Another chain has another name, so main.cf changes."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._directory / f"{hashlib.sha256(text).hexdigest()[:16]}{_SUFFIX}"
        new = file.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text)
        return file, new

    def _last_good(self) -> Certificate | None:
        """What an earlier life of this container served."""
        if not self._directory.exists():
            return None
        files = sorted(
            self._directory.glob(f"*{_SUFFIX}"), key=lambda file: file.stat().st_mtime, reverse=True
        )
        for file in files:
            try:
                return inspect(file)
            except (CertificateError, OSError) as error:
                logger.warning("an earlier certificate cannot be used", extra={"reason": str(error)})
        return None

    def _disable(self) -> None:
        self._enabled, self.current, self._tried = False, None, None
        self._problem, self._error = CertificateProblem.NONE, ""

    def _refuse(self, problem: CertificateProblem, error: str) -> None:
        if (problem, error) != (self._problem, self._error):
            logger.error(
                "the Secret's certificate cannot be used",
                extra={"secret": self._secret, "reason": error, "last_good_stays": self.current is not None},
            )
        self._problem, self._error = problem, error
