"""Threads and fork() with one Balancer: nothing is lost, nothing is counted twice, and what is the
parent's stays the parent's. usage: processes_test.py, with BALLASTD, BALLAST and PYTHONPATH set."""
import gc
import os
import queue
import signal
import sys
import threading
import traceback
import unittest
import warnings

import ballast
from ballast import Outcome
from support import WithChecker, unchecked, wait_for

PORTS = range(21001, 21009)


def in_child(work):
    """Runs `work` in a forked child; gives its pid. The child ends with 0 if all went well, and
    runs nothing of the parent's: no handlers, no destructors."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


class Processes(WithChecker):
    """What the tests below share."""
    services = unchecked(PORTS)

    def join(self, pid):
        """The child must have done well."""
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def run_threads(self, count, work):
        """Runs work(number) in so many threads at once, and tells what they raised."""
        failed = []
        barrier = threading.Barrier(count)

        def run(number):
            try:
                barrier.wait()
                work(number)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=[n]) for n in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failed


class Threads(Processes):
    def setUp(self):
        super().setUp()
        before = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, before)
        sys.setswitchinterval(1e-5)  # as many changes between threads as there can be

    def test_they_share_a_balancer_and_one_row(self):
        def work(number):
            for i in range(5000):
                with self.web.pick(f"{number}:{i}"):
                    pass

        self.assertEqual(self.run_threads(8, work), [])
        self.assertEqual(self.counted(), {"started": 40_000, "success": 40_000})
        self.assertEqual(self.checker.live_rows(), 1)

    def test_another_thread_reports_or_collects(self):
        picked = queue.SimpleQueue()

        def work(number):
            for i in range(2000):
                if number % 2 == 0:
                    picked.put(self.web.pick(f"{number}:{i}"))
                    continue
                pick = picked.get()
                if i % 2 == 0:
                    pick.report(Outcome.TIMEOUT)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.assertEqual(self.run_threads(6, work), [])
        self.assertEqual(self.counted(), {"started": 6000, "timeout": 3000, "abandoned": 3000})

    def test_closing_while_they_pick(self):
        def work(number):
            if number == 0:
                for i in range(1000):
                    self.web.pick(str(i)).report()
                self.balancer.close()
                return
            while True:
                with self.web.pick("k"):
                    pass

        failed = self.run_threads(6, work)
        self.assertEqual([type(error) for error in failed], [ballast.NotAttached] * 5)
        counted = self.counted()
        self.assertNotIn("in_flight", counted)
        self.assertEqual(counted["started"], counted["success"] + counted.get("abandoned", 0))

    def test_instances_come_and_go_while_they_pick(self):
        stop = threading.Event()

        def work(number):
            if number == 0:
                try:
                    for count in (1, 2000, 3):  # outgrows the table
                        before = self.web.epoch, self.balancer.info().segment
                        self.checker.reload(unchecked(range(22001, 22001 + count)))
                        wait_for(lambda: (self.web.epoch, self.balancer.info().segment) != before,
                                 "the instances")
                finally:
                    stop.set()
                return
            while not stop.is_set():
                with self.web.pick(str(number)):
                    pass

        segment = self.balancer.info().segment
        sys.setswitchinterval(1e-3)
        self.assertEqual(self.run_threads(3, work), [])
        self.assertNotEqual(self.balancer.info().segment, segment)
        # What was in flight while the table moved is seen to have ended a little later.
        wait_for(lambda: not self.checker.sums()["in_flight"], "the old table's last reports")
        self.assertIsNone(self.balancer.warning())


class Forks(Processes):
    def test_a_child_counts_in_a_row_of_its_own(self):
        held = self.web.pick("k")
        row = self.balancer.info().row

        def work():
            for i in range(1000):
                with self.web.pick(str(i)):
                    pass
            assert self.balancer.info().row != row
            assert self.balancer.warning() is None

        for pid in [in_child(work) for _ in range(4)]:
            self.join(pid)
        self.assertEqual(self.counted(), {"started": 4001, "success": 4000, "in_flight": 1})
        self.assertEqual(self.balancer.info().row, row)
        held.report()
        self.assertEqual(self.counted(), {"started": 4001, "success": 4001})

    def test_what_the_parent_has_in_flight_is_the_parents(self):
        held = self.web.pick("k")
        spare = [self.web.pick("k")]

        def work():
            try:
                held.report()
            except ballast.WrongHandle:
                pass
            else:
                raise AssertionError("it was reported")
            with held:
                pass
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                spare.clear()  # collected in silence
                gc.collect()
            with self.web.retry("k", held) as other:
                assert other.address != held.address
            try:
                held.report()
            except ballast.WrongHandle:
                pass
            else:
                raise AssertionError("it was reported")

        self.join(in_child(work))
        self.assertEqual(self.counted(), {"started": 3, "success": 1, "in_flight": 2})
        held.report()
        spare[0].report()
        self.assertEqual(self.counted(), {"started": 3, "success": 3})

    def test_a_block_that_forks(self):
        with self.web.pick("k"):
            pid = os.fork()
        if pid == 0:
            os._exit(0)
        self.join(pid)
        self.assertEqual(self.counted(), {"started": 1, "success": 1})

    def test_a_child_that_closes(self):
        held = self.web.pick("k")
        self.join(in_child(self.balancer.close))

        def pick_and_close():
            self.web.pick("k").report()
            self.balancer.close()

        self.join(in_child(pick_and_close))
        self.assertEqual(self.checker.live_rows(), 1)
        held.report()
        self.assertEqual(self.counted(), {"started": 2, "success": 2})

    def test_the_child_of_a_child(self):
        def grandchild():
            self.web.pick("k").report(Outcome.RESET)

        def child():
            with self.web.pick("k"):
                self.join(in_child(grandchild))
            self.join(in_child(grandchild))

        self.join(in_child(child))
        self.assertEqual(self.counted(), {"started": 3, "success": 1, "reset": 2})

    def test_a_fork_while_threads_pick(self):
        stop = threading.Event()
        done = []

        def work(number):
            if number != 0:
                count = 0
                while not stop.is_set():
                    with self.web.pick(f"{number}:{count}"):
                        count += 1
                done.append(count)
                return
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12
                    for _ in range(10):
                        self.join(in_child(lambda: [self.web.pick("k").report()
                                                    for _ in range(100)]))
            finally:
                stop.set()

        self.assertEqual(self.run_threads(4, work), [])
        total = sum(done) + 1000
        self.assertEqual(self.counted(), {"started": total, "success": total})

    def test_a_child_that_is_killed(self):
        reader, writer = os.pipe()

        def work():
            picks = [self.web.pick(str(i)) for i in range(100)]
            picks[0].report()
            os.write(writer, b"x")
            signal.pause()

        pid = in_child(work)
        os.read(reader, 1)
        self.assertEqual(self.checker.sums()["in_flight"], 99)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
        wait_for(lambda: not self.checker.sums()["in_flight"], "the row to be reaped")
        self.assertEqual(self.counted(), {"started": 100, "success": 1, "abandoned": 99})


if __name__ == "__main__":
    unittest.main()
