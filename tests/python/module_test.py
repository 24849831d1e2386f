"""What of the package needs no ballastd: which outcome stands for what, how it is imported, and that all of
ballast.h is there. usage: module_test.py, with PYTHONPATH."""
import asyncio
import concurrent.futures
import errno
import http.client
import io
import re
import socket
import ssl
import subprocess
import sys
import unittest
import urllib.error

import ballast
from ballast import Outcome, Reason
from ballast._native import lib


class Outcomes(unittest.TestCase):
    def test_exceptions(self):
        def http_error(code):
            return urllib.error.HTTPError("http://a/", code, "", {}, io.BytesIO())

        expected = [
            (ConnectionRefusedError(), Outcome.CONNECT_FAILURE),
            (OSError(errno.EHOSTUNREACH, ""), Outcome.CONNECT_FAILURE),
            (OSError(errno.ENETUNREACH, ""), Outcome.CONNECT_FAILURE),
            (socket.gaierror(), Outcome.CONNECT_FAILURE),
            (ssl.SSLCertVerificationError(), Outcome.CONNECT_FAILURE),
            (TimeoutError(), Outcome.TIMEOUT),
            (OSError(errno.ETIMEDOUT, ""), Outcome.TIMEOUT),
            (socket.timeout(), Outcome.TIMEOUT),
            (asyncio.TimeoutError(), Outcome.TIMEOUT),
            (concurrent.futures.TimeoutError(), Outcome.TIMEOUT),
            (ConnectionResetError(), Outcome.RESET),
            (BrokenPipeError(), Outcome.RESET),
            (EOFError(), Outcome.RESET),
            (asyncio.IncompleteReadError(b"", 3), Outcome.RESET),
            (http.client.RemoteDisconnected(), Outcome.RESET),
            (http.client.IncompleteRead(b""), Outcome.RESET),
            (http.client.BadStatusLine("?"), Outcome.RESET),
            (ssl.SSLEOFError(), Outcome.RESET),
            (KeyboardInterrupt(), Outcome.CANCELLED),
            (GeneratorExit(), Outcome.CANCELLED),
            (SystemExit(), Outcome.CANCELLED),
            (asyncio.CancelledError(), Outcome.CANCELLED),
            (concurrent.futures.CancelledError(), Outcome.CANCELLED),
            (http_error(500), Outcome.SERVER_ERROR),
            (http_error(503), Outcome.OVERLOAD),
            (http_error(404), Outcome.SUCCESS),
            (ValueError(), Outcome.ABANDONED),
            (urllib.error.URLError(ConnectionRefusedError()), Outcome.CONNECT_FAILURE),
            (urllib.error.URLError(TimeoutError()), Outcome.TIMEOUT),
            (urllib.error.URLError("unknown url type"), Outcome.ABANDONED),
            (ExceptionGroup("", [EOFError(), ConnectionResetError()]), Outcome.RESET),
            (ExceptionGroup("", [EOFError(), ValueError()]), Outcome.ABANDONED),
            (OSError(errno.EMFILE, ""), Outcome.ABANDONED),
            (MemoryError(), Outcome.ABANDONED),
        ]
        for exception, outcome in expected:
            self.assertIs(ballast.outcomes.outcome_of(exception), outcome, repr(exception))

    def test_one_of_our_own(self):
        class Busy(Exception):
            """An application's."""

        class VeryBusy(Busy):
            """Another."""

        ballast.outcomes.by_exception[Busy] = Outcome.OVERLOAD
        self.addCleanup(ballast.outcomes.by_exception.pop, Busy)
        self.assertIs(ballast.outcomes.outcome_of(VeryBusy()), Outcome.OVERLOAD)

    def test_statuses(self):
        self.assertEqual([ballast.outcomes.outcome_of_status(status).name
                          for status in (200, 302, 404, 429, 500, 502, 503, 504)],
                         ["SUCCESS"] * 3 + ["OVERLOAD"] + ["SERVER_ERROR"] * 2
                         + ["OVERLOAD", "SERVER_ERROR"])
        for text, seconds in (("3", 3.0), ("0", None), ("-1", None), ("nan", None), ("inf", None),
                              ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("", None)):
            self.assertEqual(ballast.outcomes.retry_after_of({"retry-after": text}), seconds)
        self.assertIsNone(ballast.outcomes.retry_after_of({}))


class Interpreters(unittest.TestCase):
    """Each in a process of its own, since imports leave traces."""

    def run_python(self, code):
        """It must end well."""
        run = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True,
                             text=True, check=False)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, "", ""))

    def test_imported_again(self):
        self.run_python(
            "import sys, ballast\n"
            "first = ballast.Pick\n"
            "for name in [n for n in sys.modules if n.startswith('ballast')]:\n"
            "    del sys.modules[name]\n"
            "import ballast\n"
            "assert ballast.Pick is first")

    def test_only_one_interpreter(self):
        self.run_python(
            "import ballast, _xxsubinterpreters as inner\n"
            "one = inner.create()\n"
            "try: inner.run_string(one, 'import ballast')\n"
            "except inner.RunFailedError as error:\n"
            "    assert 'another interpreter' in str(error), error\n"
            "else: raise AssertionError('it was imported')\n"
            "inner.destroy(one)\n"
            "try: ballast.Balancer(directory='/nowhere')\n"
            "except ballast.NotFound: pass")

    def test_what_it_imports(self):
        self.run_python(
            "import sys, ballast\n"
            "for name in ('asyncio', 'requests', 'httpx', 'urllib3', 'cffi'):\n"
            "    assert name not in sys.modules, name")


class Header(unittest.TestCase):
    """What ballast.h enumerates is all there."""

    def test_outcomes_and_reasons(self):
        known = {name for name in dir(lib) if re.fullmatch(r"BALLAST_(?!PYTHON_)[A-Z_]+", name)}
        for kind, text in ((Outcome, lib.ballast_outcome_text), (Reason, lib.ballast_reason_text)):
            for member in kind:
                self.assertEqual(getattr(lib, "BALLAST_" + member.name), member)
                self.assertEqual(ballast._core._text(text(int(member))), member.name.lower())
                known.discard("BALLAST_" + member.name)
            self.assertEqual(ballast._core._text(text(max(kind) + 1)), "unknown")
        for error in ballast.errors.BY_STATUS:
            if error is not None:
                known = {name for name in known if getattr(lib, name) != error.status
                         or not name.startswith("BALLAST_")}
        self.assertEqual(known - {"BALLAST_ABI", "BALLAST_MAX_TRIED", "BALLAST_NO_ROW",
                                  "BALLAST_NO_LATENCY", "BALLAST_ADDRESS_TEXT",
                                  "BALLAST_STICKY_TEXT", "BALLAST_OK"}, set())

    def test_every_status_has_its_exception(self):
        number = 1
        while ballast._core._text(lib.ballast_status_text(number)) != "unknown":
            self.assertEqual(ballast.errors.BY_STATUS[number].status, number)
            number += 1
        self.assertEqual(number, len(ballast.errors.BY_STATUS))

    def test_key_hash(self):
        self.assertEqual(ballast.key_hash(""), 0x2D06800538D394C2)  # docs/hash-vectors.md
        self.assertEqual(ballast.key_hash("abc"), ballast.key_hash(b"abc"))


if __name__ == "__main__":
    unittest.main()
