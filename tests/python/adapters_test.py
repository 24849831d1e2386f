"""The adapters for requests and HTTPX, and urllib3 by hand, against real HTTP backends of which
some die, close, hang or say 503. Every request that may be tried elsewhere must succeed, and what
was reported must be exact. usage: adapters_test.py, with BALLASTD, BALLAST and PYTHONPATH set."""
import asyncio
import errno
import os
import ssl
import subprocess
import tempfile
import threading
import unittest
import unittest.mock

import httpx
import requests
import urllib3

import ballast
import ballast.httpx
import ballast.requests
from support import Checker, backends, end, free_port, unchecked

PATIENT = 60
SHORT_S = 0.3  # for what never answers


class Client:
    """What the tests ask of either library."""

    def get(self, path, **options):
        """GET, and the answer."""
        return self.request("GET", path, **options)

    def streamed(self, body):
        """A body that comes in parts, from a generator function."""
        return body()


class ByRequests(Client):
    failures = requests.exceptions.ConnectionError
    timeouts = requests.exceptions.Timeout

    def __init__(self, service, scheme="http", verify=True, **options):
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = verify
        self.session.mount(f"{scheme}://web.test/", ballast.requests.Adapter(service, **options))
        self.base = f"{scheme}://web.test"

    def request(self, method, path, data=None, timeout=PATIENT):
        """The status and the body."""
        answer = self.session.request(method, self.base + path, data=data, timeout=timeout)
        return answer.status_code, answer.text

    def stream(self, path, read):
        """Takes so many bytes of the body, then closes; None: all."""
        with self.session.get(self.base + path, stream=True, timeout=PATIENT) as answer:
            if read is None:
                self.between()
                return answer.content
            return answer.raw.read(read)

    def between(self):
        """Runs between an answer's headers and its body."""

    def close(self):
        """Gives its connections back."""
        self.session.close()


class ByHttpx(Client):
    failures = httpx.NetworkError, httpx.RemoteProtocolError
    timeouts = httpx.TimeoutException

    def __init__(self, service, scheme="http", verify=True, **options):
        context = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
        transport = ballast.httpx.Transport(service, verify=context, **options)
        self.client = httpx.Client(transport=transport, base_url=f"{scheme}://web.test")

    def request(self, method, path, data=None, timeout=PATIENT):
        """The status and the body."""
        answer = self.client.request(method, path, content=data, timeout=timeout)
        return answer.status_code, answer.text

    def stream(self, path, read):
        """Takes so many bytes of the body, then closes; None: all."""
        with self.client.stream("GET", path, timeout=PATIENT) as answer:
            if read is None:
                self.between()
                return answer.read()
            return next(answer.iter_bytes(read))

    def between(self):
        """Runs between an answer's headers and its body."""

    def close(self):
        """Gives its connections back."""
        self.client.close()


class ByHttpxAsync(Client):
    """One event loop for all of a test, since connections belong to one."""
    failures = ByHttpx.failures
    timeouts = ByHttpx.timeouts

    def __init__(self, service, scheme="http", verify=True, **options):
        context = ssl.create_default_context(cafile=verify) if isinstance(verify, str) else verify
        transport = ballast.httpx.AsyncTransport(service, verify=context, **options)
        self.loop = asyncio.new_event_loop()
        self.client = httpx.AsyncClient(transport=transport, base_url=f"{scheme}://web.test")

    def request(self, method, path, data=None, timeout=PATIENT):
        """The status and the body."""
        answer = self.loop.run_until_complete(
            self.client.request(method, path, content=data, timeout=timeout))
        return answer.status_code, answer.text

    def stream(self, path, read):
        """Takes so many bytes of the body, then closes; None: all."""
        async def run():
            async with self.client.stream("GET", path, timeout=PATIENT) as answer:
                if read is None:
                    self.between()
                    return await answer.aread()
                parts = answer.aiter_bytes(read)
                first = await parts.__anext__()
                await parts.aclose()
                return first
        return self.loop.run_until_complete(run())

    def streamed(self, body):
        """A body that comes in parts, from a generator function."""
        async def parts():
            for part in body():
                yield part
        return parts()

    def between(self):
        """Runs between an answer's headers and its body."""

    def close(self):
        """Gives its connections back."""
        if self.loop.is_closed():
            return
        self.loop.run_until_complete(self.client.aclose())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()


class Adapters:
    """The same for each client."""
    client_class = None
    # HTTPX goes by the name in the URL with an httpcore that is newer than Debian 12's.
    named = "DNS:web.test,IP:127.0.0.1"
    breaker = 'breaker = { consecutive = 1000, failure_rate = "100%", requests = 4000 }'

    def begin(self, count=3, options=(), **arguments):
        """Backends, a checker, and a client."""
        self.processes = self.enterContext(backends(count, *options))
        self.ports = list(self.processes)
        self.checker = Checker(unchecked(self.ports, more=self.breaker))
        self.addCleanup(self.checker.close)
        balancer = ballast.Balancer(directory=self.checker.directory)
        self.addCleanup(balancer.close)
        self.be_client(balancer.service("web"), **arguments)
        return balancer.service("web")

    def be_client(self, service, **arguments):
        """Another client."""
        self.client = self.client_class(service, **arguments)
        self.addCleanup(self.client.close)

    def counted(self):
        """What has been counted of the service."""
        return self.checker.counted()

    def test_everybody_gets_some(self):
        self.begin()
        ports = set()
        for i in range(60):
            status, text = self.client.get(f"/page/{i}")
            self.assertEqual(status, 200)
            port, host, _ = text.split()
            self.assertEqual(host, "web.test")
            ports.add(int(port))
        self.assertEqual(ports, set(self.ports))
        self.assertEqual(self.counted(), {"started": 60, "success": 60})
        self.assertEqual(self.checker.sums()["latency_count"], 60)

    def test_one_of_them_is_killed(self):
        self.begin()
        for i in range(30):
            self.client.get(f"/page/{i}")
        dead = self.processes[self.ports[0]]
        dead.kill()
        dead.wait()
        for i in range(200):
            status, text = self.client.get(f"/page/{i}")
            self.assertEqual(status, 200)
            self.assertNotEqual(int(text.split()[0]), self.ports[0])
        # A body is sent elsewhere, too, if it could not be sent at all.
        for i in range(30):
            self.assertEqual(self.client.request("POST", f"/page/{i}", b"abc")[1].split()[2], "3")
        counted = self.counted()
        self.assertEqual(counted["success"], 260)
        failures = counted["connect_failure"] + counted.get("reset", 0)  # kept connections
        self.assertGreater(counted["connect_failure"], 0)
        self.assertEqual(counted["started"], 260 + failures)
        self.assertNotIn("in_flight", counted)

    def test_an_answer_that_another_may_give_better(self):
        self.begin()
        bad = self.ports[1]
        for i in range(60):
            self.assertEqual(self.client.get(f"/status/503/{bad}?{i}")[0], 200)
        counted = self.counted()
        self.assertEqual(counted["success"], 60)
        self.assertGreater(counted["overload"], 0)
        self.assertEqual(set(counted), {"started", "success", "overload"})

    def test_an_answer_that_stands(self):
        self.begin()
        self.assertEqual(self.client.get("/status/500")[0], 500)
        self.assertEqual(self.client.get("/status/404")[0], 404)
        self.assertEqual(self.client.request("POST", "/status/502")[0], 502)
        self.assertEqual(self.counted(), {"started": 3, "server_error": 2, "success": 1})
        # All say 502: the last answer is the answer.
        self.assertEqual(self.client.get("/status/502")[0], 502)
        self.assertEqual(self.counted(), {"started": 5, "server_error": 4, "success": 1})

    def test_a_broken_connection(self):
        self.begin()
        with self.assertRaises(self.client.failures):
            self.client.get("/close")
        self.assertEqual(self.counted(), {"started": 2, "reset": 2})
        with self.assertRaises(self.client.failures):  # it may have been carried out
            self.client.request("POST", "/close", b"abc")
        self.assertEqual(self.counted(), {"started": 3, "reset": 3})
        for i in range(30):
            self.assertEqual(self.client.get(f"/close/x/{self.ports[0]}?{i}")[0], 200)

    def test_a_body_that_fails_is_the_callers_doing(self):
        self.begin()
        for failure in (ConnectionRefusedError("the caller's own"), self.failing_connect()):
            def body(error=failure):
                yield b"abc"
                raise error
            with self.assertRaises(Exception):
                self.client.request("PUT", "/page", self.client.streamed(body))
        # Once each: the rest of a body that was begun would be taken for the whole.
        self.assertEqual(self.counted(), {"started": 2, "abandoned": 2})

    def failing_connect(self):
        """What looks like a connection that could not be made."""
        raise NotImplementedError

    def test_a_body_that_can_be_sent_once(self):
        self.begin()
        end(self.processes[self.ports[0]])
        for i in range(30):  # what was not begun goes elsewhere, whole
            text = self.client.request("POST", f"/page/{i}", self.client.streamed(
                lambda: iter([b"abc", b"de"])))[1]
            self.assertEqual(text.split()[2], "5")
        counted = self.counted()
        self.assertGreater(counted["connect_failure"], 0)
        self.assertEqual(counted["success"], 30)
        with self.assertRaises(self.client.failures):
            self.client.request("PUT", "/close", self.client.streamed(lambda: iter([b"abc"])))
        self.assertEqual(self.counted()["reset"], counted.get("reset", 0) + 1)

    def test_what_never_answers(self):
        self.begin()
        with self.assertRaises(self.client.timeouts):
            self.client.request("POST", "/hang", b"abc", timeout=SHORT_S)
        self.assertEqual(self.counted(), {"started": 1, "timeout": 1})
        # A time limit is one for each try.
        with self.assertRaises(self.client.timeouts):
            self.client.request("GET", "/hang", timeout=SHORT_S)
        self.assertEqual(self.counted(), {"started": 3, "timeout": 3})

    def test_bodies_that_are_streamed(self):
        self.begin()
        seen = []
        self.client.between = lambda: seen.append(self.checker.sums()["in_flight"])
        self.assertIn(b"web.test", self.client.stream("/page", None))
        self.assertEqual(seen, [1])
        self.assertEqual(self.counted(), {"started": 1, "success": 1})
        self.assertEqual(len(self.client.stream("/page", 3)), 3)
        self.assertEqual(self.counted(), {"started": 2, "success": 1, "cancelled": 1})

    def test_nobody_there(self):
        self.begin(1)
        end(self.processes[self.ports[0]])
        with self.assertRaises(self.client.failures):
            self.client.get("/")
        self.assertEqual(self.counted(), {"started": 1, "connect_failure": 1})
        self.client.close()
        with ballast.Balancer(directory=self.checker.directory) as balancer:
            self.be_client(balancer.service("nowhere"))
            with self.assertRaises(self.client.failures) as caught:
                self.client.get("/")
            self.assertIsInstance(caught.exception.__cause__, ballast.ServiceUnknown)

    def test_certificates(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        key, certificate = os.path.join(folder, "key"), os.path.join(folder, "certificate")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=web.test",
                        "-addext", "subjectAltName=" + self.named, "-keyout", key, "-out",
                        certificate], check=True, capture_output=True)
        service = self.begin(2, (certificate, key), scheme="https", verify=certificate)
        for i in range(10):
            self.assertEqual(self.client.get(f"/page/{i}")[1].split()[1], "web.test")
        self.client.close()
        self.be_client(service, scheme="https")  # who trusts nobody of ours
        with self.assertRaises(Exception):
            self.client.get("/")
        self.assertEqual(self.counted(), {"started": 12, "success": 10, "connect_failure": 2})


class Requests(Adapters, unittest.TestCase):
    client_class = ByRequests
    named = "DNS:web.test"

    def failing_connect(self):
        return requests.exceptions.ConnectionError(
            urllib3.exceptions.NewConnectionError(None, "the caller's own"))

    def test_unreachable_on_the_way(self):
        """An error that connecting gives, too, once the request is out: not sent twice."""
        self.begin()
        lost = urllib3.exceptions.ProtocolError("Connection aborted.",
                                                OSError(errno.EHOSTUNREACH, "No route to host"))
        with unittest.mock.patch.object(urllib3.connectionpool.HTTPConnectionPool, "urlopen",
                                        side_effect=lost), \
                self.assertRaises(requests.exceptions.ConnectionError):
            self.client.request("POST", "/page", b"abc")
        self.assertEqual(self.counted(), {"started": 1, "connect_failure": 1})

    def test_lines_of_a_stream(self):
        self.begin()
        with self.client.session.get(self.client.base + "/page", stream=True) as answer:
            self.assertIn(b"web.test", b"".join(answer.raw))
        self.assertEqual(self.counted(), {"started": 1, "success": 1})

    def test_connections_are_kept_to_many_instances(self):
        self.assertGreaterEqual(
            ballast.requests.Adapter(None).poolmanager.pools._maxsize, 1000)

    def test_threads_share_a_session(self):
        self.begin()
        failed = []

        def run(number):
            for i in range(50):
                if self.client.get(f"/page/{number}/{i}")[0] != 200:
                    failed.append(i)

        threads = [threading.Thread(target=run, args=[n]) for n in range(4)]
        for thread in threads:
            thread.start()
        self.processes[self.ports[0]].kill()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        counted = self.counted()
        self.assertEqual(counted["success"], 200)
        self.assertNotIn("in_flight", counted)


class Httpx(Adapters, unittest.TestCase):
    client_class = ByHttpx

    def failing_connect(self):
        return httpx.ConnectError("the caller's own")

    def test_half_an_answer(self):
        self.begin()
        with self.assertRaises(self.client.failures):
            self.client.get("/cut")
        self.assertEqual(self.counted(), {"started": 1, "reset": 1})


class HttpxAsync(Adapters, unittest.TestCase):
    client_class = ByHttpxAsync

    def failing_connect(self):
        return httpx.ConnectError("the caller's own")


class Urllib3(unittest.TestCase):
    """Without an adapter: a block round the request, whose end is understood."""

    def test_blocks(self):
        with backends(1) as started, urllib3.PoolManager() as http:
            port, = started
            with Checker(unchecked([port, free_port()])) as checker, \
                    ballast.Balancer(directory=checker.directory) as balancer:
                web = balancer.service("web")
                refused = 0
                for i in range(20):
                    try:
                        with web.pick(f"/page/{i}") as pick:
                            http.request("GET", f"http://{pick.address}/page/{i}", retries=False)
                    except urllib3.exceptions.HTTPError:
                        refused += 1
                sums = checker.sums()
                self.assertEqual(sums["success"], 20 - refused)
                self.assertEqual(sums["connect_failure"], refused)
                self.assertGreater(refused, 0)


if __name__ == "__main__":
    unittest.main()
