"""What the adapters for HTTP clients share: which instance a request goes to, whether it may go to
another one, and what an answer says of its instance. Used by ballast.requests and ballast.httpx."""
from __future__ import annotations

import time
from typing import Callable, Collection, Mapping, Optional

from ballast import Pick, Service, Unavailable
from ballast.outcomes import Outcome, outcome_of, outcome_of_status, retry_after_of

# Sending one of these twice does what sending it once does (RFC 9110, 9.2.2).
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
#: Answers that somebody else may do better.
RETRIED_STATUSES = frozenset((502, 503, 504))


class Attempts:
    """The picks of one request, each of another instance."""

    def __init__(self, service: Service, key: str | bytes | None, tries: int,
                 statuses: Collection[int], method: Optional[str], replayable: bool) -> None:
        self._service = service
        self._key = key
        self._tries = tries
        self._statuses = statuses
        self._repeatable = replayable and (method or "").upper() in _IDEMPOTENT
        self._tried: list[Pick] = []

    def first(self) -> Pick:
        """Raises Unavailable."""
        return self._pick()

    def after_status(self, status: int) -> Optional[Pick]:
        """Where to try again after an answer; None: the answer stands."""
        return self._another() if status in self._statuses and self._repeatable else None

    def after_failure(self, outcome: Outcome, sent: bool) -> Optional[Pick]:
        """Where to try again after a failure that was reported; None: give up. What has not been
        sent is tried again whatever it is; else only what may be done twice."""
        if outcome not in (Outcome.CONNECT_FAILURE, Outcome.TIMEOUT, Outcome.RESET):
            return None
        return None if sent and not self._repeatable else self._another()

    def _another(self) -> Optional[Pick]:
        if len(self._tried) >= self._tries:
            return None
        try:
            return self._pick()
        except Unavailable:  # no other instance, or no retry is left in the budget
            return None

    def _pick(self) -> Pick:
        pick = self._service.pick(self._key, tried=self._tried)
        self._tried.append(pick)
        return pick


class Exchange:
    """One pick and what comes of it. An answer's latency is the time to its headers: how long the
    caller takes over the body is not the instance's doing."""

    def __init__(self, pick: Pick) -> None:
        self.pick = pick
        self._begun = time.monotonic()
        self._report: Callable[[Outcome], None] = self.pick.report
        self._outcome = Outcome.ABANDONED

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The headers are there."""
        latency = time.monotonic() - self._begun
        retry_after = retry_after_of(headers)
        load = headers.get("endpoint-load-metrics")
        self._outcome = outcome_of_status(status)
        self._report = lambda outcome: self.pick.report(outcome, latency, retry_after, load)

    def ended(self) -> None:
        """The body has been read to its end."""
        if not self.pick.reported:
            self._report(self._outcome)

    def failed(self, exception: BaseException) -> Outcome:
        """It did not get so far. Gives the outcome that was reported."""
        outcome = outcome_of(exception)
        if not self.pick.reported:
            self._report(outcome)
        return outcome

    def closed(self) -> None:
        """The caller wants no more of the body. A failure that the status told stays one."""
        if not self.pick.reported:
            self._report(Outcome.CANCELLED if self._outcome == Outcome.SUCCESS else self._outcome)
