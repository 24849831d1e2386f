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

from typing import Any, AsyncIterator, Callable, Collection, Iterator, Union

import httpx

from ballast import Service, Unavailable
from ballast._retries import RETRIED_STATUSES, Exchange, Retries, Tries, Upload

_Key = Callable[[httpx.Request], Union[str, bytes, None]]


def request_target(request: httpx.Request) -> bytes:
    """The key that is used unless you give another: path and query, so that consistent hashing
    sends the same page to the same instance."""
    return request.url.raw_path


class _Balanced:
    """What both transports are made with, and what they do but wait."""

    def __init__(self, service: Service, tries: int, key: _Key,
                 retry_statuses: Collection[int]) -> None:
        self._retries = Retries(service, tries, retry_statuses)
        self._key = key

    def begin(self, request: httpx.Request) -> Tries:
        """A request's first try."""
        try:
            return self._retries.begin(self._key(request), request.method,
                                       isinstance(request.stream, httpx.ByteStream))
        except Unavailable as nowhere:
            raise httpx.ConnectError(str(nowhere), request=request) from nowhere

    def aimed(self, request: httpx.Request, tries: Tries) -> httpx.Request:
        """The request, to the instance. Host stays what the caller wrote, and so does what the
        certificate is compared with, if httpcore knows this extension; else that is the address."""
        extensions = dict(request.extensions)
        if request.url.scheme == "https":
            extensions.setdefault("sni_hostname", request.url.host)
        url = request.url.copy_with(host=tries.pick.host, port=tries.pick.port)
        return httpx.Request(request.method, url, headers=request.headers,
                             stream=_Body(request.stream, tries.upload), extensions=extensions)

    def again_after_failure(self, tries: Tries, failure: BaseException) -> bool:
        """Whether it goes on to another instance."""
        connecting = isinstance(failure, (httpx.ConnectError, httpx.ConnectTimeout))
        return tries.again_after_failure(failure, not connecting)

    def again_after_answer(self, tries: Tries, response: httpx.Response) -> bool:
        """Whether it goes on to another instance. Else the answer is good for the caller."""
        tries.exchange.answered(response.status_code, response.headers)
        if tries.again_after_answer(response.status_code):
            return True
        response.stream = _Download(response.stream, tries.exchange)
        return False


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body, of which `watcher` learns how reading it went."""

    def __init__(self, inner: Union[httpx.SyncByteStream, httpx.AsyncByteStream],
                 watcher: Union[Upload, Exchange]) -> None:
        self._inner = inner
        self._watcher = watcher

    def __iter__(self) -> Iterator[bytes]:
        assert isinstance(self._inner, httpx.SyncByteStream)
        with self._watcher.reading():
            yield from self._inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assert isinstance(self._inner, httpx.AsyncByteStream)
        with self._watcher.reading():
            async for part in self._inner:
                yield part


class _Download(_Body):
    """An answer's body: closed before its end, it is over all the same."""

    def __init__(self, inner: Union[httpx.SyncByteStream, httpx.AsyncByteStream],
                 exchange: Exchange) -> None:
        super().__init__(inner, exchange)
        self._exchange = exchange

    def close(self) -> None:
        self._exchange.closed()
        assert isinstance(self._inner, httpx.SyncByteStream)
        self._inner.close()

    async def aclose(self) -> None:
        self._exchange.closed()
        assert isinstance(self._inner, httpx.AsyncByteStream)
        await self._inner.aclose()


class Transport(httpx.BaseTransport):
    """Mount it for a prefix of URLs; the host in the URL is what instances see as Host, and for
    https the name that their certificates must have; with an httpcore older than the extension
    `sni_hostname` (Debian 12's) they must have the address.

    tries: how many instances a request may go to. One that could not connect is always tried
    elsewhere; a broken connection, a timeout and the statuses of retry_statuses only for GET, HEAD,
    PUT, DELETE, OPTIONS and TRACE with a body that can be sent again, and while the service's retry
    budget allows; each try has the whole of the client's time limits. key: what is hashed. Other
    arguments are httpx.HTTPTransport's.

    Without an instance it raises httpx.ConnectError, from ballast.Unavailable. An answer is in
    flight until its body has been read or closed; a body that breaks off is not tried again.
    """

    def __init__(self, service: Service, *, tries: int = 2, key: _Key = request_target,
                 retry_statuses: Collection[int] = RETRIED_STATUSES, **arguments: Any) -> None:
        self._balanced = _Balanced(service, tries, key, retry_statuses)
        self._inner = httpx.HTTPTransport(**arguments)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Called by the client."""
        tries = self._balanced.begin(request)
        while True:
            try:
                response = self._inner.handle_request(self._balanced.aimed(request, tries))
            except BaseException as failure:
                if not self._balanced.again_after_failure(tries, failure):
                    raise
                continue
            if not self._balanced.again_after_answer(tries, response):
                return response
            response.close()

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
        tries = self._balanced.begin(request)
        while True:
            aimed = self._balanced.aimed(request, tries)
            try:
                response = await self._inner.handle_async_request(aimed)
            except BaseException as failure:
                if not self._balanced.again_after_failure(tries, failure):
                    raise
                continue
            if not self._balanced.again_after_answer(tries, response):
                return response
            await response.aclose()

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._inner.aclose()
