"""An adapter for requests (and so for urllib3): sends what a session asks for to instances of a
service, and what failed to another one.

    session = requests.Session()
    session.mount("http://web/", ballast.requests.Adapter(balancer.service("web")))
    session.get("http://web/users/42")

A session may be used by several threads as far as requests allows that; the adapter adds no limit.
After fork() a session must not share its connections with the parent, so make it in each worker.
"""
from __future__ import annotations

import socket
import ssl
import threading
from typing import Any, Callable, Collection, Iterator, Optional, Union
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.exceptions
import urllib3.exceptions

from ballast import Service, Unavailable
from ballast._retries import RETRIED_STATUSES, Exchange, Retries, Tries, Upload
from ballast.outcomes import cause_of

# Each instance has a pool of connections; beyond so many, the one used longest ago is closed.
# requests' own 10 would throw a larger service's connections away again and again.
_POOLS = 1024


def request_target(request: requests.PreparedRequest) -> str:
    """The key that is used unless you give another: path and query, so that consistent hashing
    sends the same page to the same instance."""
    target: str = request.path_url
    return target


class Adapter(requests.adapters.HTTPAdapter):
    """Mount it for a prefix of URLs; the host in the URL is what instances see as Host, and for
    https the name that their certificates must have.

    tries: how many instances a request may go to. One that could not connect is always tried
    elsewhere; a broken connection, a timeout and the statuses of retry_statuses only for GET, HEAD,
    PUT, DELETE, OPTIONS and TRACE with a body that can be sent again (none, bytes or str), and
    while the service's retry budget allows; each try has the whole `timeout`. key: what is hashed.
    Other arguments are HTTPAdapter's; its max_retries stays 0, for it would try the same instance,
    and pool_connections, to how many instances connections are kept, is 1024.

    Without an instance it raises requests.exceptions.ConnectionError, from ballast.Unavailable. An
    answer is in flight until its body has been read or closed.
    """

    def __init__(self, service: Service, *, tries: int = 2,
                 key: Callable[[requests.PreparedRequest], Union[str, bytes, None]]
                 = request_target,
                 retry_statuses: Collection[int] = RETRIED_STATUSES, **arguments: Any) -> None:
        arguments.setdefault("pool_connections", _POOLS)
        super().__init__(**arguments)
        self._retries = Retries(service, tries, retry_statuses)
        self._key = key
        self._now = threading.local()  # which address this thread's request goes to

    def send(self, request: requests.PreparedRequest, stream: bool = False, timeout: Any = None,
             verify: Any = True, cert: Any = None, proxies: Any = None) -> requests.Response:
        """Called by the session."""
        request.headers.setdefault("Host", urlsplit(request.url or "").netloc.rpartition("@")[2])
        try:
            tries = self._retries.begin(self._key(request), request.method, request.body is None
                                        or isinstance(request.body, (str, bytes)))
        except Unavailable as nowhere:
            raise requests.exceptions.ConnectionError(nowhere, request=request) from nowhere
        if not _is_upload(request.body):
            return self._exchange(tries, request, stream, timeout, verify, cert)
        body: Any = request.body
        request.body = _Upload(body, tries.upload)  # type: ignore[assignment]
        try:
            return self._exchange(tries, request, stream, timeout, verify, cert)
        finally:
            request.body = body

    def _exchange(self, tries: Tries, request: requests.PreparedRequest, stream: bool, timeout: Any,
                  verify: Any, cert: Any) -> requests.Response:
        while True:
            exchange = tries.exchange
            try:
                self._now.address = tries.pick.host, tries.pick.port
                response = super().send(request, stream=True, timeout=timeout, verify=verify,
                                        cert=cert)
                exchange.answered(response.status_code, response.headers)
                if not stream:
                    response.content  # noqa: B018, read now: its failure is this instance's
                    exchange.ended()
            except BaseException as failure:
                if not tries.again_after_failure(failure, _was_sent(failure)):
                    raise
                continue
            if not tries.again_after_answer(response.status_code):
                if stream:
                    response.raw = _Body(response.raw, exchange)
                return response
            response.close()

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        """The pool for the picked address, instead of that for the URL's."""
        return self._pool(url, {})

    def get_connection_with_tls_context(self, request: requests.PreparedRequest, verify: Any,
                                        proxies: Any = None, cert: Any = None) -> Any:
        """What requests asks for from 2.32 on."""
        build: Any = getattr(self, "build_connection_pool_key_attributes")
        return self._pool(request.url, build(request, verify, cert)[1])

    def _pool(self, url: Any, arguments: dict[str, Any]) -> Any:
        parts = urlsplit(url)
        if parts.scheme == "https":
            arguments = {**arguments, "assert_hostname": parts.hostname,
                         "server_hostname": parts.hostname}
        host, port = self._now.address
        return self.poolmanager.connection_from_host(host, port, parts.scheme,
                                                     pool_kwargs=arguments)


# Whatever else failed may have failed on the way: a host that cannot be reached any more, say.
_BEFORE_SENDING = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError,
                   socket.gaierror, ssl.SSLCertVerificationError)


def _was_sent(failure: BaseException) -> bool:
    """Whether any of the request may have reached the instance."""
    cause: Optional[BaseException] = failure
    while cause is not None:
        if isinstance(cause, _BEFORE_SENDING):
            return False
        cause = cause_of(cause)
    return True


def _is_upload(body: Any) -> bool:
    """A file or a generator, which can be sent once; not what is in memory."""
    if body is None or isinstance(body, str):
        return False
    if not hasattr(body, "read"):
        try:
            memoryview(body)
            return False
        except TypeError:
            pass
    return True


class _Upload:
    """A body that can be sent once, which tells how that went."""

    def __init__(self, body: Any, upload: Upload) -> None:
        self._body = body
        self._upload = upload

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._body, name)
        return self._read if name == "read" else value

    def _read(self, *arguments: Any) -> Any:
        with self._upload.reading():
            return self._body.read(*arguments)

    def __iter__(self) -> Iterator[Any]:
        with self._upload.reading():
            yield from self._body


class _Body:
    """A streamed answer's body, which tells how it ended."""

    def __init__(self, raw: Any, exchange: Exchange) -> None:
        self._raw = raw
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, *arguments: Any, **named: Any) -> Iterator[bytes]:
        """As urllib3's."""
        with self._exchange.reading():
            yield from self._raw.stream(*arguments, **named)

    def __iter__(self) -> Iterator[bytes]:
        """As urllib3's: by lines."""
        with self._exchange.reading():
            yield from self._raw

    def read(self, amount: Optional[int] = None, *arguments: Any, **named: Any) -> bytes:
        """As urllib3's."""
        try:
            data: bytes = self._raw.read(amount, *arguments, **named)
        except BaseException as failure:
            self._exchange.failed(failure)
            raise
        if amount is None or (amount != 0 and not data):
            self._exchange.ended()
        return data

    def close(self) -> None:
        """As urllib3's."""
        self._exchange.closed()
        self._raw.close()
