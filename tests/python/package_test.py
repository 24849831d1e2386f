"""The package against a real ballastd: picks, reports, errors, sticky tokens, and what is collected.
usage: package_test.py, with BALLASTD, BALLAST and PYTHONPATH."""
import asyncio
import contextlib
import copy
import gc
import os
import sys
import unittest
import warnings

import ballast
from ballast import Outcome, Reason
from ballast._native import lib
from support import PORTS, Checker, WithChecker, unchecked, wait_for


class Picks(WithChecker):
    def test_what_a_pick_says(self):
        with self.web.pick("user:42") as pick:
            self.assertEqual(pick.host, "127.0.0.1")
            self.assertIn(pick.port, PORTS)
            self.assertEqual(pick.address, f"127.0.0.1:{pick.port}")
            self.assertIs(pick.reason, Reason.FIRST_CHOICE)
            self.assertEqual(pick.epoch, self.web.epoch)
            self.assertEqual(pick.attempts, 1)
            self.assertFalse(pick.reported)
            self.assertIn("in flight", repr(pick))
            self.assertEqual(self.checker.sums()["in_flight"], 1)
        self.assertTrue(pick.reported)
        self.assertEqual(self.counted(), {"started": 1, "success": 1})

    def test_keys_of_every_kind_agree(self):
        addresses = set()
        for key in ("zoë", "zoë".encode(), bytearray("zoë".encode()), memoryview("zoë".encode())):
            with self.web.pick(key) as pick:
                addresses.add(pick.address)
        self.assertEqual(len(addresses), 1)
        with self.web.pick() as one, self.web.pick(None) as two, self.web.pick(key=b"") as three:
            self.assertEqual({one.port, two.port}, {three.port})
        for key in (42, 1.5, object()):
            with self.assertRaisesRegex(TypeError, "key must be str, bytes or None"):
                self.web.pick(key)
        with self.assertRaises(UnicodeEncodeError):
            self.web.pick("\ud800")
        self.assertEqual(self.checker.sums()["in_flight"], 0)

    def test_how_the_block_ends(self):
        ends = [(None, "success"), (ConnectionRefusedError(), "connect_failure"),
                (TimeoutError(), "timeout"), (ConnectionResetError(), "reset"),
                (KeyboardInterrupt(), "cancelled"), (ValueError("mine"), "abandoned")]
        for exception, _ in ends:
            try:
                with self.web.pick("k"):
                    if exception is not None:
                        raise exception
            except BaseException as caught:  # it comes out as it was
                self.assertIs(caught, exception)
        self.assertEqual(self.counted(),
                         {"started": len(ends), **{outcome: 1 for _, outcome in ends}})

    def test_an_interrupt_while_the_end_is_understood(self):
        class Interrupted(OSError):
            """A signal comes just as it is looked at."""
            @property
            def errno(self):
                raise KeyboardInterrupt

        with self.assertRaises(KeyboardInterrupt) as caught:
            with self.web.pick("k"):
                raise Interrupted
        self.assertIsInstance(caught.exception.__context__, Interrupted)
        self.assertEqual(self.counted(), {"started": 1, "abandoned": 1})

    def test_a_generator_that_is_left(self):
        def answers():
            with self.web.pick("k"):
                yield 1
        running = answers()
        next(running)
        running.close()
        self.assertEqual(self.counted(), {"started": 1, "cancelled": 1})

    def test_report_overrides_the_end(self):
        with self.web.pick("k") as pick:
            pick.report(Outcome.SERVER_ERROR, latency=0.25)
            self.assertTrue(pick.reported)
        with self.assertRaises(ConnectionResetError), self.web.pick("k") as pick:
            pick.report()
            raise ConnectionResetError
        self.assertEqual(self.counted(), {"started": 2, "server_error": 1, "success": 1})

    def test_latencies(self):
        self.web.pick("k").report(Outcome.SUCCESS, 0.25)
        self.web.pick("k").report(latency=-1)
        self.web.pick("k").report(latency=float("nan"))
        sums = self.checker.sums()
        self.assertEqual((sums["latency_sum_us"], sums["latency_count"]), (250_000, 1))
        with self.web.pick("k"):
            pass
        self.web.pick("k").report()
        sums = self.checker.sums()
        self.assertEqual(sums["latency_count"], 3)
        self.assertGreaterEqual(sums["latency_sum_us"], 250_000)

    def test_an_overload_keeps_requests_away(self):
        with self.web.pick("k") as pick:
            pick.report(Outcome.OVERLOAD, retry_after=30)
        left = self.checker.instances()[pick.address]["breaker"]
        self.assertEqual(left["state"], "open")
        self.assertGreater(left["left_ms"], 0)
        with self.web.pick("k") as other:
            self.assertNotEqual(other.address, pick.address)
            self.assertIs(other.reason, Reason.MOVED_BREAKER)

    def test_reported_load_is_read(self):
        with self.web.pick("k") as pick:
            pick.report(load="TEXT cpu_utilization=0.3, rps_fractional=120")
        with self.web.pick("k") as pick:
            pick.report(load=b"\xff\x00 nonsense")
        with self.web.pick("k") as pick:
            with self.assertRaises(TypeError):
                pick.report(load=3)
        self.assertEqual(self.counted(), {"started": 3, "success": 3})

    def test_mistakes_with_reports(self):
        pick = self.web.pick("k")
        for bad, error in ((0, ValueError), (9, ValueError), ("success", TypeError)):
            with self.assertRaises(error):
                pick.report(bad)
        with self.assertRaises(TypeError):
            pick.report(Outcome.SUCCESS, outcome=Outcome.SUCCESS)
        with self.assertRaises(TypeError):
            pick.report(result=Outcome.SUCCESS)
        with self.assertRaises(TypeError):
            pick.report(1, 2, 3, 4, 5)
        with self.assertRaises(TypeError):
            pick.report(latency="soon")
        self.assertFalse(pick.reported)
        pick.report()
        with self.assertRaisesRegex(ballast.AlreadyReported, "'web'.*reported already"):
            pick.report()
        self.assertEqual(self.counted(), {"started": 1, "success": 1})

    def test_retries_go_elsewhere(self):
        first = self.web.pick("k")
        second = self.web.retry("k", first)
        third = self.web.pick("k", tried=[first, second])
        self.assertEqual({first.port, second.port, third.port}, set(PORTS))
        self.assertIs(second.reason, Reason.MOVED_EXCLUDED)
        with self.assertRaises(ballast.NoInstance) as caught:
            self.web.retry("k", first, second, third)
        self.assertIsInstance(caught.exception, ballast.Unavailable)
        self.assertEqual(caught.exception.status, lib.BALLAST_NO_INSTANCE)
        self.assertIn("'web'", str(caught.exception))
        for pick in (first, second, third):
            pick.report()
        with self.assertRaises(TypeError):
            self.web.retry("k")
        with self.assertRaises(TypeError):
            self.web.retry("k", "127.0.0.1:21001")
        with self.assertRaises(ValueError):
            self.web.pick("k", tried=[first] * (ballast.MAX_TRIED + 1))
        with ballast.Balancer(directory=self.checker.directory) as other:
            with self.assertRaises(ValueError), other.service("web").pick("k") as foreign:
                self.web.retry("k", foreign)

    def test_one_that_is_collected_counts_as_abandoned(self):
        with self.assertWarnsRegex(ResourceWarning, "'web'.*without a report"):
            self.web.pick("k")
        ring = [self.web.pick("k")]
        ring.append(ring)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del ring
            gc.collect()
        self.assertEqual(self.counted(), {"started": 2, "abandoned": 2})

    def test_a_pick_holds_what_it_needs(self):
        pick = ballast.Balancer(directory=self.checker.directory).service("web").pick("k")
        gc.collect()
        pick.report()
        self.assertEqual(self.counted(), {"started": 1, "success": 1})

    def test_nobody_makes_them_by_hand(self):
        pick = self.web.pick("k")
        for kind in (ballast.Pick, ballast.Service):
            with self.assertRaises(TypeError):
                kind()
            with self.assertRaises(TypeError):
                object.__new__(kind)
        for thing in (pick, self.web):
            with self.assertRaises(TypeError):
                copy.copy(thing)
        pick.report()

    def test_nothing_leaks(self):
        def everything():
            with self.web.pick("k") as pick:
                str(pick), pick.address, pick.host, pick.port, pick.reason, pick.epoch, pick.slot
                str(self.web), self.web.name, self.web.epoch, self.balancer.info()
                self.web.retry(b"k", pick, sticky="x").report(Outcome.TIMEOUT, 0.1, 0.1, "TEXT a=1")
                self.web.pick(key=bytearray(b"k"), tried=[pick], sticky=memoryview(b"x")).report()
            for wrong in (lambda: self.web.pick(4), lambda: self.web.pick("k", tried=4),
                          lambda: self.web.pick("k", tried=[4]), lambda: self.web.pick("\ud800"),
                          lambda: self.web.pick("k", sticky=4), lambda: self.web.pick("k", x=4),
                          lambda: self.web.pick(bytearray(b"k"), sticky=4), pick.report,
                          lambda: self.web.retry("k"), lambda: self.web.retry("k", pick, x=1),
                          lambda: self.web.sticky_token(pick), lambda: self.web.sticky_token(4),
                          lambda: pick.report(latency="x"), lambda: pick.report(load=4),
                          lambda: pick.report(retry_after="x"), lambda: self.web.pick(1, 2),
                          lambda: pick.report(x=4), lambda: self.balancer.service("n" * 64),
                          lambda: ballast.Balancer(directory="/nowhere")):
                with contextlib.suppress(Exception):
                    wrong()
            with contextlib.suppress(KeyError), self.web.pick("k"):
                raise KeyError
            with ballast.Balancer(directory=self.checker.directory) as other:
                other.service("web").pick("k").report()

        for _ in range(20):
            everything()
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(200):
            everything()
        gc.collect()
        self.assertLess(sys.getallocatedblocks() - before, 100)


class Services(WithChecker):
    def test_one_that_is_published_later(self):
        late = self.balancer.service("late")
        self.assertIs(late, self.balancer.service("late"))
        self.assertEqual(late.epoch, 0)
        with self.assertRaises(ballast.ServiceUnknown):
            late.pick("k")
        self.checker.reload(self.services + unchecked([21004], "late"))
        wait_for(lambda: late.epoch, "the service")
        with late.pick("k") as pick:
            self.assertEqual(pick.port, 21004)

    def test_names_that_cannot_be(self):
        for name in ("", "n" * 64, "a\0b"):
            with self.assertRaises(ValueError):
                self.balancer.service(name)
        with self.assertRaises(TypeError):
            self.balancer.service(7)

    def test_info_and_warning(self):
        info = self.balancer.info()
        self.assertEqual(info.checker_pid, self.checker.process.pid)
        self.assertIsInstance(info.row, int)
        self.assertIs(info.superseded, False)
        wait_for(lambda: self.balancer.info().heartbeat > info.heartbeat, "a heartbeat")
        self.assertIsNone(self.balancer.warning())

    def test_closing(self):
        pick = self.web.pick("k")
        self.balancer.close()
        self.balancer.close()
        for call in (lambda: self.web.pick("k"), self.balancer.info, pick.report,
                     lambda: self.balancer.service("other")):
            with self.assertRaises(ballast.NotAttached):
                call()
        self.assertIsNone(self.balancer.warning())
        with pick:
            pass
        del pick
        self.assertEqual(self.counted(), {"started": 1, "abandoned": 1})

    def test_the_block_of_a_closed_balancer_ends_in_peace(self):
        with self.web.pick("k"):
            self.balancer.close()
        self.assertEqual(self.counted(), {"started": 1, "abandoned": 1})

    def test_nothing_there(self):
        with self.assertRaisesRegex(ballast.NotFound, "start ballastd"):
            ballast.Balancer(directory=self.checker.directory + "/nowhere")
        with self.assertRaises(ballast.Error):
            ballast.Balancer("no/such/name")
        with self.assertRaises(ballast.InvalidArgument):
            ballast.Balancer("a\0b")

    def test_more_workers_than_rows(self):
        checker = Checker(self.services, "max_workers = 1")
        self.addCleanup(checker.close)
        with ballast.Balancer(directory=checker.directory), \
                ballast.Balancer(directory=checker.directory) as second:
            self.assertIn("not counted", second.warning())
            self.assertIsNone(second.info().row)
            with second.service("web").pick("k") as pick:
                self.assertIn(pick.port, PORTS)


class Limits(WithChecker):
    services = unchecked(PORTS, more='max_in_flight = 1\n'
                                     'retry_budget = { share = "1%", minimum = 1 }')

    def test_as_many_as_it_may(self):
        held = [self.web.pick(str(i)) for i in range(3)]
        with self.assertRaises(ballast.Limited):
            self.web.pick("k")
        for pick in held:
            pick.report()

    def test_the_retry_budget(self):
        first = self.web.pick("k")
        first.report(Outcome.RESET)
        with self.web.retry("k", first), self.assertRaises(ballast.RetryBudget):
            self.web.retry("k", first)


class Sticky(WithChecker):
    def test_without_a_key(self):
        with self.web.pick("k") as pick, self.assertRaises(ballast.NoStickyKey):
            self.web.sticky_token(pick)
        with self.web.pick("k", sticky=b"\x00" * 5000) as pick:
            self.assertIs(pick.reason, Reason.STICKY_LOST)

    def test_with_one(self):
        path = self.checker.config + ".key"
        with open(path, "w", encoding="ascii") as file:
            file.write("0123456789abcdef" * 4 + "\n")
        os.chmod(path, 0o600)
        checker = Checker(self.services, f'sticky_key_file = "{path}"')
        self.addCleanup(checker.close)
        balancer = ballast.Balancer(directory=checker.directory)
        self.addCleanup(balancer.close)
        web = balancer.service("web")
        first = web.pick("a")
        token = web.sticky_token(first)
        self.assertRegex(token, r"\A[\w-]{32}\Z")
        for key in "abcdefgh":
            with web.pick(key, sticky=token) as pick:
                self.assertEqual((pick.port, pick.reason), (first.port, Reason.STICKY))
        with web.retry("a", first, sticky=token.encode()) as other:
            self.assertNotEqual(other.port, first.port)
        first.report()


class Async(WithChecker):
    def test_blocks(self):
        async def run():
            async with self.web.pick("k") as pick:
                await asyncio.sleep(0)
                self.assertFalse(pick.reported)
            with self.assertRaises(asyncio.TimeoutError):
                async with asyncio.timeout(0), self.web.pick("k"):
                    await asyncio.Event().wait()
            task = asyncio.ensure_future(self.forever())
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            # A thousand in flight at once, in one thread.
            picks = [asyncio.ensure_future(self.forever()) for _ in range(1000)]
            await asyncio.sleep(0)
            self.assertEqual(self.checker.sums()["in_flight"], 1000)
            for task in picks:
                task.cancel()
            await asyncio.wait(picks)

        asyncio.run(run())
        # What a timeout cancels is seen as cancelled where it waits.
        self.assertEqual(self.counted(), {"started": 1003, "success": 1, "cancelled": 1002})

    async def forever(self):
        """A request without an answer."""
        async with self.web.pick("k"):
            await asyncio.Event().wait()

    def test_a_timeout_inside(self):
        async def run():
            with self.assertRaises(asyncio.TimeoutError):
                async with self.web.pick("k"):
                    await asyncio.wait_for(asyncio.Event().wait(), 0)

        asyncio.run(run())
        self.assertEqual(self.counted(), {"started": 1, "timeout": 1})


if __name__ == "__main__":
    unittest.main()
