"""The exceptions of the package, one for each status of ballast.h that is not BALLAST_OK.

All are ballast.Error; those that mean "answer 503, or wait" are ballast.Unavailable besides. Raised
by native.c, which finds the class in BY_STATUS, and by Balancer.
"""
from __future__ import annotations

from typing import ClassVar, Optional

from ballast._native import lib


class Error(Exception):
    """Whatever Ballast could not do. `status` is the number that ballast.h has for it."""

    status: ClassVar[int] = -1


class Unavailable(Error):
    """There is no instance for this request now: answer 503, or wait. Nothing is in flight."""


class NoInstance(Unavailable):
    """Every instance is down, kept away by its circuit breaker, or was tried."""

    status = lib.BALLAST_NO_INSTANCE


class ServiceUnknown(Unavailable):
    """No service of that name is published now; it is found by itself once it is."""

    status = lib.BALLAST_SERVICE_UNKNOWN


class Limited(Unavailable):
    """The service, or each instance that could be used, has as many in flight as it may."""

    status = lib.BALLAST_LIMITED


class RetryBudget(Unavailable):
    """As many retries as the service allows are in flight: answer with what the last try gave."""

    status = lib.BALLAST_RETRY_BUDGET


class Stale(Unavailable):
    """The table was replaced 64 times during one pick. Pick again; not seen outside of tests."""

    status = lib.BALLAST_STALE


class NotAttached(Error):
    """The balancer is closed."""

    status = lib.BALLAST_NOT_ATTACHED


class InvalidArgument(Error, ValueError):
    """An argument that cannot be: the text says which."""

    status = lib.BALLAST_INVALID_ARGUMENT


class WrongHandle(Error):
    """The pick was made before fork(), so it is the parent's. Nothing was counted."""

    status = lib.BALLAST_WRONG_HANDLE


class AlreadyReported(Error):
    """The pick has been reported before. Nothing was counted."""

    status = lib.BALLAST_ALREADY_REPORTED


class SystemRefused(Error):
    """The system refused something; the text says what and where."""

    status = lib.BALLAST_SYSTEM_ERROR


class NotFound(Error):
    """Nothing is published there: usually no checker has run yet. Start ballastd."""

    status = lib.BALLAST_NOT_FOUND


class Corrupt(Error):
    """The shared files hold what no Ballast could have written."""

    status = lib.BALLAST_CORRUPT


class Incompatible(Error):
    """The shared files, or the library, are of another version, byte order or boot."""

    status = lib.BALLAST_INCOMPATIBLE


class NoStickyKey(Error):
    """The service has no sticky key: set sticky_key_file in the checker's configuration."""

    status = lib.BALLAST_NO_STICKY_KEY


_CLASSES: tuple[type[Error], ...] = (
    NoInstance, ServiceUnknown, Stale, NotAttached, InvalidArgument, WrongHandle, AlreadyReported,
    SystemRefused, NotFound, Corrupt, Incompatible, RetryBudget, Limited, NoStickyKey)

# By number; None where there is no such status, or it is no error.
BY_STATUS: tuple[Optional[type[Error]], ...] = tuple(
    next((one for one in _CLASSES if one.status == number), None)
    for number in range(max(one.status for one in _CLASSES) + 1))
