"""Transports for HTTPX: send what a client asks for to instances of a service, and what failed to
another one.

    transport = ballast.httpx.Transport(balancer.service("web"))
    client = httpx.Client(mounts={"http://web": transport})
    client.get("http://web/users/42")

AsyncTransport is the same for httpx.AsyncClient; a pick never waits, so the event loop does not
either. After fork() a client must not share its connections with the parent, so make it in each
worker.
"""
from __future__ import annotations

from typing import Any, AsyncIterator, Callable, Collection, Iterator, Optional, Union

import httpx

from ballast import Pick, Service, Unavailable
from ballast._http import RETRIED_STATUSES, Attempts, Exchange

_Key = Callable[[httpx.Request], Union[str, bytes, None]]


def request_target(request: httpx.Request) -> bytes:
    """The key that is used unless you give another: path and query, so that consistent hashing
    sends the same page to the same instance."""
    return request.url.raw_path


class _Balanced:
    """What both transports are made with."""

    def __init__(self, service: Service, tries: int, key: _Key,
                 retry_statuses: Collection[int]) -> None:
        self._service = service
        self._tries = tries
        self._key = key
        self._retry_statuses = retry_statuses

    def attempts(self, request: httpx.Request) -> tuple[Attempts, Pick]:
        """The first of a request's picks, and where more come from."""
        attempts = Attempts(self._service, self._key(request), self._tries, self._retry_statuses,
                            request.method, isinstance(request.stream, httpx.ByteStream))
        try:
            return attempts, attempts.first()
        except Unavailable as nowhere:
            raise httpx.ConnectError(str(nowhere), request=request) from nowhere


class _Upload(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A request's body: tells whether any of it was asked for, and whether it was the caller's own
    code that failed."""

    def __init__(self, inner: Union[httpx.SyncByteStream, httpx.AsyncByteStream]) -> None:
        self._inner = inner
        self.begun = False
        self.broken = False

    def __iter__(self) -> Iterator[bytes]:
        self.begun = True
        assert isinstance(self._inner, httpx.SyncByteStream)
        try:
            yield from self._inner
        except Exception:
            self.broken = True
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.begun = True
        assert isinstance(self._inner, httpx.AsyncByteStream)
        try:
            async for part in self._inner:
                yield part
        except Exception:
            self.broken = True
            raise


def _aimed(request: httpx.Request, pick: Pick, upload: _Upload) -> httpx.Request:
    """The request, to the instance. Host stays what the caller wrote, and so does what the
    certificate is compared with, if httpcore knows this extension; else that is the address."""
    extensions = dict(request.extensions)
    if request.url.scheme == "https":
        extensions.setdefault("sni_hostname", request.url.host)
    return httpx.Request(request.method, request.url.copy_with(host=pick.host, port=pick.port),
                         headers=request.headers, stream=upload, extensions=extensions)


def _after(attempts: Attempts, exchange: Exchange, failure: BaseException,
           upload: _Upload) -> Optional[Pick]:
    if upload.broken:
        exchange.closed()  # the caller's own doing, not the instance's
        return None
    outcome = exchange.failed(failure)
    connecting = isinstance(failure, (httpx.ConnectError, httpx.ConnectTimeout))
    return attempts.after_failure(outcome, upload.begun or not connecting)


class Transport(httpx.BaseTransport):
    """Mount it for a prefix of URLs; the host in the URL is what instances see as Host, and for
    https the name that their certificates must have; with an httpcore older than the extension
    `sni_hostname` (Debian 12's) they must have the address.

    tries: how many instances a request may go to. One that could not connect is always tried
    elsewhere; a broken connection, a timeout and the statuses of retry_statuses only for GET, HEAD,
    PUT, DELETE, OPTIONS and TRACE with a body that can be sent again, and while the service's retry
    budget allows. key: what is hashed. Other arguments are httpx.HTTPTransport's.

    Without an instance it raises httpx.ConnectError, from ballast.Unavailable. An answer is in
    flight until its body has been read or closed; a body that breaks off is not tried again.
    """

    def __init__(self, service: Service, *, tries: int = 2, key: _Key = request_target,
                 retry_statuses: Collection[int] = RETRIED_STATUSES, **arguments: Any) -> None:
        self._balanced = _Balanced(service, tries, key, retry_statuses)
        self._inner = httpx.HTTPTransport(**arguments)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Called by the client."""
        attempts, pick = self._balanced.attempts(request)
        while True:
            exchange, upload = Exchange(pick), _Upload(request.stream)
            try:
                response = self._inner.handle_request(_aimed(request, pick, upload))
            except BaseException as failure:
                another = _after(attempts, exchange, failure, upload)
                if another is None:
                    raise
            else:
                exchange.answered(response.status_code, response.headers)
                another = attempts.after_status(response.status_code)
                if another is None:
                    assert isinstance(response.stream, httpx.SyncByteStream)
                    response.stream = _Stream(response.stream, exchange)
                    return response
                exchange.closed()
                response.close()
            pick = another

    def close(self) -> None:
        """Closes its connections."""
        self._inner.close()


class AsyncTransport(httpx.AsyncBaseTransport):
    """As Transport, for httpx.AsyncClient. Other arguments are httpx.AsyncHTTPTransport's."""

    def __init__(self, service: Service, *, tries: int = 2, key: _Key = request_target,
                 retry_statuses: Collection[int] = RETRIED_STATUSES, **arguments: Any) -> None:
        self._balanced = _Balanced(service, tries, key, retry_statuses)
        self._inner = httpx.AsyncHTTPTransport(**arguments)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Called by the client."""
        attempts, pick = self._balanced.attempts(request)
        while True:
            exchange, upload = Exchange(pick), _Upload(request.stream)
            try:
                response = await self._inner.handle_async_request(_aimed(request, pick, upload))
            except BaseException as failure:
                another = _after(attempts, exchange, failure, upload)
                if another is None:
                    raise
            else:
                exchange.answered(response.status_code, response.headers)
                another = attempts.after_status(response.status_code)
                if another is None:
                    assert isinstance(response.stream, httpx.AsyncByteStream)
                    response.stream = _AsyncStream(response.stream, exchange)
                    return response
                exchange.closed()
                await response.aclose()
            pick = another

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._inner.aclose()


class _Stream(httpx.SyncByteStream):
    """An answer's body, which tells how it ended."""

    def __init__(self, inner: httpx.SyncByteStream, exchange: Exchange) -> None:
        self._inner = inner
        self._exchange = exchange

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._inner
        except GeneratorExit:
            raise  # not read to its end: close() comes
        except BaseException as failure:
            self._exchange.failed(failure)
            raise
        self._exchange.ended()

    def close(self) -> None:
        self._exchange.closed()
        self._inner.close()


class _AsyncStream(httpx.AsyncByteStream):
    """An answer's body, which tells how it ended."""

    def __init__(self, inner: httpx.AsyncByteStream, exchange: Exchange) -> None:
        self._inner = inner
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._inner:
                yield part
        except GeneratorExit:
            raise  # not read to its end: aclose() comes
        except BaseException as failure:
            self._exchange.failed(failure)
            raise
        self._exchange.ended()

    async def aclose(self) -> None:
        self._exchange.closed()
        await self._inner.aclose()
