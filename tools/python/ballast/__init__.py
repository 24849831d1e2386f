"""Ballast: pick an instance of a service, in servers made of many processes.

    balancer = ballast.Balancer()
    web = balancer.service("web")
    with web.pick(user_id) as pick:
        send_request(pick.host, pick.port)

A pick is a few reads of shared memory; how the block ends is reported, with how long it took, and
counts for all workers of the host. Threads may share a Balancer and everything of it: what uses it
holds the interpreter's lock. A Balancer made before fork() is good in the child, whose picks are
then its own. docs/python.md has the whole of it.
"""
from __future__ import annotations

import enum
import os
from types import TracebackType
from typing import NamedTuple, Optional, Union

from ballast import _core, errors, outcomes
from ballast._native import lib
from ballast.errors import (AlreadyReported, Corrupt, Error, Incompatible, InvalidArgument, Limited,
                            NoInstance, NoStickyKey, NotAttached, NotFound, RetryBudget,
                            ServiceUnknown, Stale, SystemRefused, Unavailable, WrongHandle)
from ballast.outcomes import Outcome

__all__ = [
    "AlreadyReported", "Balancer", "Corrupt", "Error", "Incompatible", "Info", "InvalidArgument",
    "Limited", "MAX_TRIED", "NoInstance", "NoStickyKey", "NotAttached", "NotFound", "Outcome",
    "Pick", "Reason", "RetryBudget", "Service", "ServiceUnknown", "Stale", "SystemRefused",
    "Unavailable", "WrongHandle", "errors", "key_hash", "outcomes"]

#: As many picks may be named as tried before.
MAX_TRIED: int = lib.BALLAST_MAX_TRIED


class Reason(enum.IntEnum):
    """Why a pick fell on its instance."""

    FIRST_CHOICE = lib.BALLAST_FIRST_CHOICE
    #: the first choice is down or not to be used
    MOVED_UNUSABLE = lib.BALLAST_MOVED_UNUSABLE
    #: the first choice was tried before
    MOVED_EXCLUDED = lib.BALLAST_MOVED_EXCLUDED
    #: the first choice's circuit breaker is open
    MOVED_BREAKER = lib.BALLAST_MOVED_BREAKER
    #: the first choice has as much to do as it may
    MOVED_LOAD = lib.BALLAST_MOVED_LOAD
    #: the sticky token named this instance
    STICKY = lib.BALLAST_STICKY
    #: the sticky token could not be honoured; picked by the key
    STICKY_LOST = lib.BALLAST_STICKY_LOST
    #: too few instances are healthy: picked whatever its health
    PANIC = lib.BALLAST_PANIC
    #: the one request that tries an instance whose breaker was open
    TRIAL = lib.BALLAST_TRIAL


_core.finish(Reason)
Pick = _core.Pick
Service = _core.Service


class Info(NamedTuple):
    """What a balancer is attached to, for logs and tests."""

    #: id of the mapped table
    segment: int
    #: which row counts this process's picks; None while they are not counted
    row: Optional[int]
    #: the table has been replaced, and the new one cannot be opened yet
    superseded: bool
    #: grows while the checker lives: compare two looks
    heartbeat: int
    #: time.time_ns() at the last beat, for people
    heartbeat_ns: int
    checker_pid: int
    #: how many checkers there have been
    checker_term: int


class Balancer:
    """Attached to a namespace, where a checker (ballastd) publishes. One a process is enough: it
    takes one row of the namespace's `max_workers`, whatever the number of threads.

    Threads may share it. A fork() keeps it good in the child, which takes a row of its own with its
    first pick; what the parent had in flight stays the parent's.
    """

    def __init__(self, namespace: str = "default",
                 directory: Union[str, "os.PathLike[str]", None] = None) -> None:
        """Attaches to /dev/shm/ballast/<namespace>, or to `directory` if that is given.

        Waits for the file system only. When all rows are taken it attaches all the same; picks are
        then not counted, and warning() says so. Raises NotFound (no checker has run there yet),
        Incompatible, Corrupt, InvalidArgument or SystemRefused, whose text says what to do.
        """
        self._services: dict[str, Service] = {}
        self._handle = _core.attach(namespace.encode(),
                                    os.fsencode(directory) if directory is not None else None)

    def service(self, name: str) -> Service:
        """The service of a name (1..63 bytes), the same object each time. One that is not published
        yet is found by later picks. At most 4096 names. Raises InvalidArgument or NotAttached."""
        service = self._services.get(name)
        if service is None:
            service = self._services.setdefault(name, self._handle.service(name))
        return service

    def info(self) -> Info:
        """What it is attached to. Raises NotAttached after close()."""
        info = Info(*self._handle.info())
        return info._replace(row=None) if info.row == lib.BALLAST_NO_ROW else info

    def warning(self) -> Optional[str]:
        """What is not as it should be, although picks work, in one line; None if nothing."""
        return self._handle.warning()

    def close(self) -> None:
        """Gives everything back. Picks not reported count as abandoned; later calls raise
        NotAttached. Closing twice is no mistake. In a forked child it gives back what is the
        child's, and nothing of the parent's."""
        self._handle.detach()

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], exception: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()


def key_hash(key: Union[str, bytes, bytearray, memoryview]) -> int:
    """The hash that consistent hashing starts from: XXH3_64bits, seed 0; fixed for ever."""
    return _core.key_hash(key)
