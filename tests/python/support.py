"""What the tests of the Python package share: a real ballastd in a directory of its own, backends
that are real processes, and what `ballast dump` says. The programs are named by BALLASTD and
BALLAST in the environment, which meson sets. What a test starts, it ends by the process itself."""
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PATIENCE_S = 60
BALLASTD = os.environ.get("BALLASTD", "ballastd")
BALLAST = os.environ.get("BALLAST", "ballast")
HERE = os.path.dirname(os.path.abspath(__file__))

# Not by the pid: tests that begin together would get the same ports.
_next_port = [random.randrange(17000, 29000)]


def free_port():
    """Below the ephemeral ones, which connections take."""
    for _ in range(12000):
        _next_port[0] = 17000 + (_next_port[0] - 17000 + 1) % 12000
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", _next_port[0]))
                return _next_port[0]
            except OSError:
                continue
    raise RuntimeError("no free port")


def wait_for(condition, what):
    """What the condition gives as soon as that is true."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.01)


def end(process):
    """Ends a process that a test started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Checker:
    """ballastd, once it has published, in a directory that goes with it."""

    def __init__(self, services, top=""):
        self._folder = tempfile.TemporaryDirectory(prefix="ballast-python.")
        self.directory = os.path.join(self._folder.name, "files")
        self.config = os.path.join(self._folder.name, "ballast.toml")
        self.write(services, top)
        self.process = None
        self.start()

    def write(self, services, top=""):
        """The configuration: TOML text of the services."""
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f'[ballast]\ndirectory = "{self.directory}"\n{top}\n{services}')

    def start(self):
        """Starts it and waits until it says that it is ready."""
        self.process = subprocess.Popen([BALLASTD, "--config", self.config], text=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = []
        for line in self.process.stderr:
            said.append(line)
            if " ready" in line:
                break
        else:
            self.close()
            raise AssertionError("ballastd did not start:\n" + "".join(said))
        # Nobody may wait for a full pipe.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def reload(self, services, top=""):
        """Takes another configuration, without waiting for what comes of it."""
        self.write(services, top)
        self.process.send_signal(1)

    def dump(self):
        """What `ballast dump --json` says."""
        run = subprocess.run([BALLAST, "dump", "--json", "--dir", self.directory],
                             capture_output=True, text=True, check=True)
        return json.loads(run.stdout)

    def instances(self, service="web"):
        """Of a service, by address."""
        found = next(one for one in self.dump()["services"] if one["name"] == service)
        return {one["address"]: one for one in found["instances"]}

    def sums(self, service="web"):
        """The counters of all its instances added up, and `in_flight`."""
        total = {}
        for one in self.instances(service).values():
            for name, value in list(one["counters"].items()) + [("in_flight", one["in_flight"])]:
                total[name] = total.get(name, 0) + value
        return total

    def counted(self, service="web"):
        """The sums that are not 0, without the latency's."""
        return {name: value for name, value in self.sums(service).items()
                if value and not name.startswith("latency")}

    def live_rows(self):
        """How many rows workers hold."""
        run = subprocess.run([BALLAST, "workers", "--json", "--dir", self.directory],
                             capture_output=True, text=True, check=True)
        return sum(1 for row in json.loads(run.stdout)["workers"] if row["owner"] == "alive")

    def close(self):
        """Ends it and removes its directory."""
        end(self.process)
        self.process.stderr.close()
        self._folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def unchecked(ports, name="web", more=""):
    """A service whose instances nobody checks."""
    listed = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    return f'[service.{name}]\ninstances = [{listed}]\ncheck = {{ kind = "none" }}\n{more}\n'


# Where nobody listens, or needs to.
PORTS = (21001, 21002, 21003)


class WithChecker(unittest.TestCase):
    """Each test begins with fresh counts."""
    services = unchecked(PORTS)
    top = ""

    def setUp(self):
        import ballast  # who only wants backends need not have it
        self.checker = Checker(self.services, self.top)
        self.addCleanup(self.checker.close)
        self.balancer = ballast.Balancer(directory=self.checker.directory)
        self.addCleanup(self.balancer.close)
        self.web = self.balancer.service("web")

    def counted(self):
        """What has been counted of it."""
        return self.checker.counted()


@contextlib.contextmanager
def backends(count, *options):
    """HTTP servers, each a process: tests/python/backend.py. Gives {port: process}."""
    processes = []
    try:
        for _ in range(count):
            processes.append(subprocess.Popen(
                [sys.executable, os.path.join(HERE, "backend.py"), *options],
                stdout=subprocess.PIPE, text=True))
        yield {int(process.stdout.readline()): process for process in processes}
    finally:
        for process in processes:
            end(process)
            process.stdout.close()
