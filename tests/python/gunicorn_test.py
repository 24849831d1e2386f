"""A real gunicorn with 4 workers, with and without --preload, with processes and with threads in
them: 100,000 picks of each of two services, distribution and counts exact; then workers are killed
with requests in flight, at rest and under load, and the counts are exact again. usage:
gunicorn_test.py, with BALLASTD, BALLAST and PYTHONPATH set. Skipped (77) without gunicorn."""
import collections
import http.client
import importlib.util
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import ballast
from support import HERE, PATIENCE_S, Checker, end, free_port, unchecked, wait_for

PORTS = range(21001, 21006)
WORKERS = 4
BATCHES, BATCH = 50, 2000
HELD = 25


class Answer(collections.namedtuple("Answer", "pid imported_by held warning")):
    """What the application says of its process."""


def is_there(pid):
    """Whether there is such a process."""
    return os.path.exists(f"/proc/{pid}")


class Gunicorn:
    """gunicorn, once it answers."""

    def __init__(self, directory, options):
        self.port = free_port()
        self._log = tempfile.TemporaryFile("w+")
        environment = dict(os.environ, BALLAST_DIRECTORY=directory)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--bind",
             f"127.0.0.1:{self.port}", "--chdir", HERE, "--worker-tmp-dir", "/dev/shm", *options,
             "gunicorn_app:application"],
            env=environment, stdout=self._log, stderr=self._log)
        try:
            wait_for(self._answers, "gunicorn")
        except AssertionError:
            self.close()
            raise

    def _answers(self):
        if self.process.poll() is not None:
            self._log.seek(0)
            raise AssertionError("gunicorn ended:\n" + self._log.read())
        try:
            return self.get("/who")
        except OSError:
            return None

    def get(self, path):
        """What the application answers. OSError or HTTPException if it did not."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status != 200:
                raise AssertionError(f"{answer.status}: {text}")
            pid, imported_by, held, warning = text.split(" ", 3)
            return Answer(int(pid), int(imported_by), int(held), warning)
        finally:
            connection.close()

    def close(self):
        """Ends it, gracefully."""
        end(self.process)
        self._log.close()


class UnderGunicorn:
    """The same for each way of running it."""
    options = ()
    preload = False

    def setUp(self):
        self.checker = Checker(unchecked(PORTS)
                               + unchecked(PORTS, "turns", 'strategy = "round_robin"'))
        self.addCleanup(self.checker.close)
        self.server = Gunicorn(self.checker.directory,
                               [*self.options, *(["--preload"] if self.preload else [])])
        self.addCleanup(self.server.close)

    def load(self, enough):
        """Sends batches from eight threads at once, until there have been plenty and enough(pids of
        workers that have answered); gives the answers, and how many failed."""
        numbers = itertools.count()
        deadline = time.monotonic() + PATIENCE_S
        answers, failed = [], []

        def run():
            while (len(answers) + len(failed) < BATCHES
                   or not enough({answer.pid for answer in answers})):
                if time.monotonic() > deadline:
                    failed.append("the workers that are asked for never answered")
                    return
                number = next(numbers)
                try:
                    answers.append(self.server.get(f"/batch/{number * BATCH}/{BATCH}"))
                except (OSError, http.client.HTTPException) as error:
                    failed.append(error)

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers, len(failed)

    def expected(self, batches):
        """Where the keys of so many batches belong, picked by ourselves, after the rest."""
        counts = collections.Counter()
        with ballast.Balancer(directory=self.checker.directory) as balancer:
            web = balancer.service("web")
            for i in range(batches * BATCH):
                with web.pick(f"user:{i}") as pick:
                    counts[pick.address] += 1
        return counts

    def hold(self, count):
        """So many picks more that each of the workers keeps: {pid: how many}."""
        held = {}

        def look():
            answer = self.server.get(f"/hold/{count}")
            held[answer.pid] = answer.held
            return len(held) == WORKERS

        wait_for(look, "an answer of each worker")
        return held

    def check_load(self):
        answers, failed = self.load(lambda pids: len(pids) == WORKERS)
        self.assertEqual(failed, 0)
        self.assertEqual({answer.warning for answer in answers}, {"fine"})
        self.assertEqual(len({answer.pid for answer in answers}), WORKERS)
        for answer in answers:
            self.assertEqual(answer.imported_by,
                             self.server.process.pid if self.preload else answer.pid)
        total = len(answers) * BATCH
        self.assertGreaterEqual(total, 100_000)
        for service in ("web", "turns"):
            sums = self.checker.sums(service)
            self.assertEqual((sums["started"], sums["success"], sums["in_flight"]),
                             (total, total, 0))
        # Each key went where it belongs, whichever worker picked.
        found = {address: one["counters"]["success"]
                 for address, one in self.checker.instances().items()}
        self.assertEqual(found, self.expected(len(answers)))
        # Turns are handed out in blocks; the rest of one may be left over.
        for one in self.checker.instances("turns").values():
            self.assertAlmostEqual(one["counters"]["started"], total / len(PORTS),
                                   delta=total * 0.02)
        self.assertLessEqual(self.checker.live_rows(), WORKERS + self.preload)

    def check_reload(self):
        """New workers for old ones while requests come: none fails, and all are counted."""
        before = self.checker.sums()["success"]
        old = set(self.hold(0))
        self.server.process.send_signal(signal.SIGHUP)
        answers, failed = self.load(lambda pids: pids - old)
        self.assertEqual(failed, 0)
        sums = self.checker.sums()
        self.assertEqual(sums["success"] - before, len(answers) * BATCH)
        self.assertEqual((sums["in_flight"], sums["abandoned"]), (0, 0))
        wait_for(lambda: not any(map(is_there, old)), "the old workers to end")

    def check_killed_at_rest(self):
        held = self.hold(HELD)
        self.assertEqual(self.checker.sums()["in_flight"], sum(held.values()))
        before = self.checker.sums()["abandoned"]
        for pid in held:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.checker.sums()["in_flight"], "the rows to be reaped")
        sums = self.checker.sums()
        self.assertEqual(sums["abandoned"] - before, sum(held.values()))
        self.assertEqual(sums["started"], sums["success"] + sums["abandoned"])
        # Others have taken their place.
        wait_for(lambda: self.server.get("/who").pid not in held, "new workers")

    def check_killed_under_load(self):
        before = self.checker.sums()
        killed = []
        stop = threading.Event()

        def kill():
            while not stop.is_set() and len(killed) < 6:
                try:
                    pid = self.server.get("/who").pid
                except (OSError, http.client.HTTPException):
                    continue
                if pid not in killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

        killer = threading.Thread(target=kill)
        killer.start()
        answers, failed = self.load(lambda _: True)
        stop.set()
        killer.join()
        self.assertGreater(len(killed), 0)
        wait_for(lambda: not self.checker.sums()["in_flight"], "the rows to be reaped")
        sums = self.checker.sums()
        done = {name: sums[name] - before[name] for name in ("started", "success", "abandoned")}
        self.assertEqual(done["started"], done["success"] + done["abandoned"])
        self.assertGreaterEqual(done["success"], len(answers) * BATCH)
        self.assertLessEqual(done["success"], (len(answers) + failed) * BATCH)
        self.assertLessEqual(done["abandoned"], failed)

    def test_load_and_killed_workers(self):
        self.check_load()
        self.check_reload()
        self.check_killed_at_rest()
        self.check_killed_under_load()
        # After the end nothing is left, in flight or of the rows.
        self.server.close()
        wait_for(lambda: self.checker.live_rows() == 0, "the rows to be given back")
        for service in ("web", "turns"):
            self.assertEqual(self.checker.sums(service)["in_flight"], 0)


class Processes(UnderGunicorn, unittest.TestCase):
    options = ("--worker-class", "sync")


class PreloadedProcesses(Processes):
    preload = True


class Threads(UnderGunicorn, unittest.TestCase):
    options = ("--worker-class", "gthread", "--threads", "4")


class PreloadedThreads(Threads):
    preload = True


if __name__ == "__main__":
    if importlib.util.find_spec("gunicorn") is None:
        print("skipped: gunicorn is not installed (tools/dev setup test)")
        sys.exit(77)
    unittest.main()
