"""The snippets of docs/python.md, in their order, against a real ballastd and real backends; what
it says of exceptions against what the package does. usage: page_test.py, with BALLASTD, BALLAST,
BALLAST_SOURCE and PYTHONPATH set."""
import contextlib
import io
import os
import re
import subprocess
import sys
import unittest
import urllib.request
from unittest import mock

import ballast
from support import Checker, backends, unchecked

SOURCE = os.environ["BALLAST_SOURCE"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page():
    """The text of docs/python.md."""
    with open(os.path.join(SOURCE, "docs/python.md"), encoding="utf-8") as file:
        return file.read()


def ask(host, port):
    """What the snippets bring along for talking with an instance."""
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=60) as answer:
        return answer.read()


class Snippets(unittest.TestCase):
    def test_python(self):
        snippets = [code for kind, code in FENCE.findall(page()) if kind == "python"]
        self.assertGreaterEqual(len(snippets), 9)
        ports = self.enterContext(backends(3))
        checker = self.enterContext(Checker(unchecked(ports)))
        key_file = checker.config + ".key"
        with open(key_file, "w", encoding="ascii") as file:
            file.write("0123456789abcdef" * 4 + "\n")
        os.chmod(key_file, 0o600)
        checker = self.enterContext(Checker(unchecked(ports), f'sticky_key_file = "{key_file}"'))
        self.enterContext(mock.patch.dict(os.environ, {"no_proxy": "*"}))
        balancers = []

        class HereByDefault(ballast.Balancer):
            """The default namespace may be somebody's."""

            def __init__(self, namespace="default", directory=None):
                super().__init__(namespace, directory or checker.directory)
                balancers.append(self)

        names = {"ask": ask, "cookies": {}}
        said = io.StringIO()
        with mock.patch.object(ballast, "Balancer", HereByDefault), \
                contextlib.redirect_stdout(said):
            for code in snippets:
                exec(compile(code, "docs/python.md:\n" + code, "exec"), names)
        self.check_application(names["application"], balancers[-1])
        self.assertRegex(names["token"], r"\A[\w-]{32}\Z")
        busy = ballast.outcomes.by_exception.pop(names["BackendBusy"])
        self.assertIs(busy, ballast.Outcome.OVERLOAD)
        self.assertIn("FIRST_CHOICE", said.getvalue())
        names["session"].close()
        names["http"].clear()
        sums = checker.sums()
        self.assertEqual((sums["in_flight"], sums["abandoned"]), (0, 0))
        self.assertEqual(sums["started"], sums["success"])
        for balancer in balancers:
            balancer.close()

    def check_application(self, application, balancer):
        statuses = []

        def start_response(status, _):
            statuses.append(status)

        self.assertIn(b"127.0.0.1", application({}, start_response)[0])
        self.assertEqual(balancer.service("web").name, "web")
        self.assertEqual(statuses, ["200 OK"])

    def test_shell(self):
        snippets = [code for kind, code in FENCE.findall(page()) if kind == "sh"]
        # The first is what install_test.py does.
        self.assertEqual(len(snippets), 2)
        with open(os.path.join(os.path.dirname(__file__), "install_test.py"),
                  encoding="utf-8") as file:
            words = re.findall(r'"(--[\w-]+)"', file.read())
        for option in re.findall(r"--[\w-]+", snippets[0]):
            self.assertIn(option, words)
        folder = os.path.join(SOURCE, "tools/python")
        self.assertTrue(os.path.exists(os.path.join(folder, "pyproject.toml")))
        package = os.path.dirname(os.path.dirname(ballast.__file__))
        command = snippets[1].replace("build/tools/python", package).replace(
            "python3", sys.executable)
        subprocess.run(["/bin/sh", "-c", command], check=True, cwd="/",
                       env={"PATH": os.environ["PATH"]})

    def test_every_exception_has_its_row(self):
        rows = "\n".join(line for line in page().splitlines() if line.startswith("| `"))
        for name in ballast.__all__:
            one = getattr(ballast, name)
            if isinstance(one, type) and ballast.Error in one.__mro__[1:]:
                self.assertIn(f"`{name}`", rows)


if __name__ == "__main__":
    unittest.main()
