"""What the adapters for HTTP clients share: which instance a request goes to, whether it may go to
another one, and what an answer says of its instance. Used by ballast.requests and ballast.httpx,
which know how their client sends and what its errors mean."""
from __future__ import annotations

import contextlib
import time
from typing import Callable, Collection, Iterator, Mapping, Optional

from ballast import Pick, Service, Unavailable
from ballast.outcomes import Outcome, outcome_of, outcome_of_status, retry_after_of

# Sending one of these twice does what sending it once does (RFC 9110, 9.2.2).
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
# What another instance may do better.
_RETRIED_OUTCOMES = frozenset((Outcome.CONNECT_FAILURE, Outcome.TIMEOUT, Outcome.RESET))
#: Answers that somebody else may do better.
RETRIED_STATUSES = frozenset((502, 503, 504))


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

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """A block that reads the answer's body to its end, or fails on the way. A generator that is
        left before does neither: closed() comes."""
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as failure:
            self.failed(failure)
            raise
        self.ended()


class Upload:
    """What is known of a request's body: whether any of it was asked for, and whether it was the
    caller's own code that failed."""

    def __init__(self) -> None:
        self.begun = False
        self.broken = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """A block that runs the caller's code for the body."""
        self.begun = True
        try:
            yield
        except Exception:
            self.broken = True
            raise


class Tries:
    """One request: `exchange` is the try that is being made. Each goes to another instance."""

    def __init__(self, policy: Retries, key: str | bytes | None, repeatable: bool) -> None:
        self._policy = policy
        self._key = key
        self._repeatable = repeatable
        self._tried: list[Pick] = []
        self.upload = Upload()
        self.exchange = self._next()

    @property
    def pick(self) -> Pick:
        """Where this try goes."""
        return self.exchange.pick

    def again_after_answer(self, status: int) -> bool:
        """False: the answer stands, and how its body ends is still to be told. Else the exchange is
        the next, and the answer is to be thrown away."""
        last = self.exchange
        if status not in self._policy.statuses or not self._repeatable or not self._again():
            return False
        last.closed()
        return True

    def again_after_failure(self, failure: BaseException, sent: bool) -> bool:
        """Reports it. False: it is the caller's to know. What has not been sent is tried again
        whatever it is; else only what may be done twice."""
        if self.upload.broken:
            self.exchange.closed()  # the caller's own doing, not the instance's
            return False
        outcome = self.exchange.failed(failure)
        if outcome not in _RETRIED_OUTCOMES:
            return False
        return (self._repeatable or not (sent or self.upload.begun)) and self._again()

    def _again(self) -> bool:
        if len(self._tried) >= self._policy.tries:
            return False
        try:
            self.exchange = self._next()
        except Unavailable:  # no other instance, or no retry is left in the budget
            return False
        return True

    def _next(self) -> Exchange:
        pick = self._policy.service.pick(self._key, tried=self._tried)
        self._tried.append(pick)
        return Exchange(pick)


class Retries:
    """What an adapter is made with: where requests go, and which of them how often."""

    def __init__(self, service: Service, tries: int, statuses: Collection[int]) -> None:
        self.service = service
        self.tries = tries
        self.statuses = statuses

    def begin(self, key: str | bytes | None, method: Optional[str], replayable: bool) -> Tries:
        """A request's first try; `replayable`: its body can be sent again. Raises Unavailable."""
        return Tries(self, key, replayable and (method or "").upper() in _IDEMPOTENT)
