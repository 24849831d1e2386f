"""How a request ended, and which outcome an exception or an HTTP status stands for.

Used by native.c when a `with` block ends by an exception, and by the adapters. To teach it an
exception of your own, at start-up: `ballast.outcomes.by_exception[MyTimeout] = Outcome.TIMEOUT`.
"""
from __future__ import annotations

import enum
import errno
import math
import socket
import ssl
from typing import Any, Mapping, Optional

from ballast._native import lib


class Outcome(enum.IntEnum):
    """How a request ended. docs/protection.md says what each one says about the instance."""

    SUCCESS = lib.BALLAST_SUCCESS
    #: refused, unreachable, no route
    CONNECT_FAILURE = lib.BALLAST_CONNECT_FAILURE
    #: to connect or to answer
    TIMEOUT = lib.BALLAST_TIMEOUT
    #: the connection broke
    RESET = lib.BALLAST_RESET
    #: an answer that means failure, such as HTTP 500
    SERVER_ERROR = lib.BALLAST_SERVER_ERROR
    #: an answer that means "not now", such as HTTP 429 or 503
    OVERLOAD = lib.BALLAST_OVERLOAD
    #: by the client, before it was known how it would end
    CANCELLED = lib.BALLAST_CANCELLED
    #: nobody knows
    ABANDONED = lib.BALLAST_ABANDONED


#: What each class of exception stands for; the nearest base class decides. Add yours at start-up.
by_exception: dict[type[BaseException], Outcome] = {
    ConnectionRefusedError: Outcome.CONNECT_FAILURE,
    socket.gaierror: Outcome.CONNECT_FAILURE,
    ssl.SSLCertVerificationError: Outcome.CONNECT_FAILURE,
    TimeoutError: Outcome.TIMEOUT,
    ConnectionError: Outcome.RESET,  # reset, aborted, broken pipe
    EOFError: Outcome.RESET,         # asyncio.IncompleteReadError, too
    ssl.SSLError: Outcome.RESET,
    KeyboardInterrupt: Outcome.CANCELLED,
    SystemExit: Outcome.CANCELLED,
    GeneratorExit: Outcome.CANCELLED,
    BaseException: Outcome.ABANDONED,
}

# The same for classes of modules that are not imported for their sake.
_BY_NAME = {
    "asyncio.exceptions.CancelledError": Outcome.CANCELLED,
    "asyncio.exceptions.TimeoutError": Outcome.TIMEOUT,
    "concurrent.futures._base.CancelledError": Outcome.CANCELLED,
    "concurrent.futures._base.TimeoutError": Outcome.TIMEOUT,
    "http.client.IncompleteRead": Outcome.RESET,
    "http.client.BadStatusLine": Outcome.RESET,
    "urllib3.exceptions.NewConnectionError": Outcome.CONNECT_FAILURE,
    "urllib3.exceptions.TimeoutError": Outcome.TIMEOUT,
    "urllib3.exceptions.ProtocolError": Outcome.RESET,
    "urllib3.exceptions.SSLError": Outcome.CONNECT_FAILURE,
    "urllib3.util.ssl_match_hostname.CertificateError": Outcome.CONNECT_FAILURE,
    "requests.exceptions.Timeout": Outcome.TIMEOUT,
    "requests.exceptions.SSLError": Outcome.CONNECT_FAILURE,
    "requests.exceptions.ConnectionError": Outcome.RESET,
    "requests.exceptions.ChunkedEncodingError": Outcome.RESET,
    "httpx.TimeoutException": Outcome.TIMEOUT,
    "httpx.PoolTimeout": Outcome.CANCELLED,  # waited for a connection of its own pool
    "httpx.ConnectError": Outcome.CONNECT_FAILURE,
    "httpx.NetworkError": Outcome.RESET,
    "httpx.RemoteProtocolError": Outcome.RESET,
}

_UNREACHABLE = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN,
                errno.ENETDOWN}


def outcome_of(exception: BaseException) -> Outcome:
    """The outcome of a request that ended by this exception.

    The nearest class of its bases that `by_exception` has decides, but an answer's status (that of
    urllib.error.HTTPError and of the HTTP errors of requests and httpx) goes by outcome_of_status,
    and an OSError also by its errno. An exception that says nothing about the instance, such as a
    ValueError of the caller's own, is ABANDONED: nobody knows how the request ended. So is a group
    of exceptions that do not all stand for the same.
    """
    status = _status_of(exception)
    if status is not None:
        return outcome_of_status(status)
    if isinstance(exception, BaseExceptionGroup):  # of asyncio.TaskGroup, say
        outcomes = {outcome_of(one) for one in exception.exceptions}
        return outcomes.pop() if len(outcomes) == 1 else Outcome.ABANDONED
    if type(exception).__module__.partition(".")[0] in ("requests", "urllib", "urllib3"):
        cause = cause_of(exception)
        if cause is not None:
            return outcome_of(cause)
    if isinstance(exception, OSError) and exception.errno in _UNREACHABLE:
        return Outcome.CONNECT_FAILURE
    for kind in type(exception).__mro__:
        outcome = by_exception.get(kind)
        if outcome is None or kind is BaseException:
            outcome = _BY_NAME.get(f"{kind.__module__}.{kind.__qualname__}", outcome)
        if outcome is not None:
            return outcome
    return Outcome.ABANDONED


def outcome_of_status(status: int) -> Outcome:
    """429 and 503 are an overload, other statuses from 500 a server error, all others a success:
    a client's mistake says that the instance answers."""
    if status in (429, 503):
        return Outcome.OVERLOAD
    return Outcome.SERVER_ERROR if status >= 500 else Outcome.SUCCESS


def retry_after_of(headers: Mapping[str, str]) -> Optional[float]:
    """The seconds of an answer's Retry-After; None without one, or with a date."""
    try:
        seconds = float(headers.get("retry-after", "nan"))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _status_of(exception: BaseException) -> Optional[int]:
    kind = type(exception)
    module = kind.__module__.partition(".")[0]
    status: Any = None
    if module in ("requests", "httpx"):
        # Errors without an answer have no `response`, or None.
        status = getattr(getattr(exception, "response", None), "status_code", None)
    elif module == "urllib":
        status = getattr(exception, "code", None)
    return status if isinstance(status, int) else None


def cause_of(exception: BaseException) -> Optional[BaseException]:
    """What an error of urllib, requests or urllib3 wraps: as an argument or as `reason`."""
    for inner in (getattr(exception, "reason", None), *exception.args):
        if isinstance(inner, BaseException) and inner is not exception:
            return inner
    return None
