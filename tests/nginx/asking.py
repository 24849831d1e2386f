"""Asking an nginx under test: one request, many on one connection, or threads that go on and on; and
how a test says that something is not as it should be. Part of tests/nginx/harness.py.
"""
import http.client
import re
import socket
import threading
import time

PATIENCE_S = 60  # a deadline for what takes milliseconds: it ends as soon as it happens


class Failed(Exception):
    """What a test says when something is not as it should be."""


class Skipped(Exception):
    """What a test says when it cannot run here."""


def check(truth, text):
    if not truth:
        raise Failed(text)


def equal(seen, expected, what):
    if seen != expected:
        raise Failed(f"{what}: {seen!r}, expected {expected!r}")


def wait_for(condition, what, seconds=PATIENCE_S):
    """What `condition` says once that is true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s for {what() if callable(what) else what}")
        time.sleep(0.01)


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:200]!r}"


def ask(connection, path="/", headers=None, method="GET", body=None):
    connection.request(method, path, headers=headers or {}, body=body)
    answer = connection.getresponse()
    text = answer.read().decode("latin-1")
    return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)


def get(port, path="/", headers=None, method="GET", body=None):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        return ask(connection, path, headers, method, body)
    finally:
        connection.close()


class Client:
    """Many requests on one connection."""

    def __init__(self, port, host="127.0.0.1"):
        self.connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)

    def get(self, path="/", headers=None):
        return ask(self.connection, path, headers)

    def close(self):
        self.connection.close()


def bodies(port, paths, batch=100):
    """The bodies of the answers to many GETs, sent in batches on one connection."""
    out, buffer = [], b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as stream:
        for begin in range(0, len(paths), batch):
            part = paths[begin:begin + batch]
            stream.sendall("".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n" for path in part).encode())
            done = len(out) + len(part)
            while len(out) < done:
                head, found, rest = buffer.partition(b"\r\n\r\n")
                length = re.search(rb"\r\n[Cc]ontent-[Ll]ength: (\d+)", head) if found else None
                if length is None or len(rest) < int(length[1]):
                    check(not found or length, f"an answer without a length: {head!r}")
                    more = stream.recv(1 << 16)
                    check(more, "nginx closed the connection")
                    buffer += more
                    continue
                check(head.startswith(b"HTTP/1.1 200 "), f"not a success: {head!r}")
                out.append(rest[:int(length[1])].decode())
                buffer = rest[int(length[1]):]
    return out


class Load:
    """Threads that ask on and on, and what became of it: {status or name of an error: how often}."""

    def __init__(self, port, threads=4, path=lambda n: f"/?user={n}", keep_alive=True):
        self.results, self.lock, self.ends = {}, threading.Lock(), False
        self.threads = [threading.Thread(target=self._run, args=(port, path, keep_alive, i), daemon=True)
                        for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, port, path, keep_alive, seed):
        client, n = None, seed * 1_000_003
        while not self.ends:
            n += 1
            try:
                client = client or Client(port)
                key = client.get(path(n)).status
            except (OSError, http.client.HTTPException) as error:
                key = type(error).__name__
                client = None
                time.sleep(0.01)  # nobody listens for a moment, perhaps
            if not keep_alive and client is not None:
                client.close()
                client = None
            with self.lock:
                self.results[key] = self.results.get(key, 0) + 1

    @property
    def count(self):
        with self.lock:
            return sum(self.results.values())

    def wait_for_more(self, count):
        goal = self.count + count
        wait_for(lambda: self.count >= goal, f"{count} requests more: {self.results}")

    def stop(self):
        self.ends = True
        for thread in self.threads:
            thread.join()
        return dict(self.results)
