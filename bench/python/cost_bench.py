#!/usr/bin/env python3
"""What a pick and its report cost in Python: as a pair of calls, as a `with` block, as an `async
with` block, beside an empty function called by cffi in API mode (ballast_abi, which returns a
constant). All of a process that picks from 100 instances that a real ballastd has published, with
1000 keys in turn; the loop and the keys are part of each figure. Prints its table and writes
$BALLAST_BENCH_DIR/python.json. usage: cost_bench.py BALLASTD
"""
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import ballast
from ballast._native import lib

RUNS = 15
PAIRS = 40  # a run's bursts of each, in turns
KEYS = [f"user:{i * 7919}" for i in range(1000)]
CONFIG = '''[ballast]
directory = "{directory}"
[service.web]
instances = [{instances}]
check = {{ kind = "none" }}
'''


def empty_call(_):
    """A burst of the least that cffi can do."""
    call = lib.ballast_abi
    for _ in KEYS:
        call()


def pair(web):
    """A burst of picks and reports as calls."""
    for key in KEYS:
        web.pick(key).report()


def block(web):
    """A burst of blocks."""
    for key in KEYS:
        with web.pick(key):
            pass


async def async_blocks(web):
    """A burst of asynchronous blocks."""
    for key in KEYS:
        async with web.pick(key):
            pass


def async_block(web):
    """The same, without an event loop: a pick never waits for one."""
    coroutine = async_blocks(web)
    try:
        coroutine.send(None)  # it never waits
    except StopIteration:
        return
    raise AssertionError("a pick waited")


CASES = {"empty_cffi_call": empty_call, "pick_report": pair, "with_block": block,
         "async_block": async_block}


def burst_ns(case, web):
    """Nanoseconds for one of a burst."""
    begin = time.perf_counter_ns()
    case(web)
    return (time.perf_counter_ns() - begin) / len(KEYS)


def run(web):
    """The medians of one run, in turns: {case: ns}, and {case: ratio to the empty call}."""
    bursts = {name: [] for name in CASES}
    for _ in range(PAIRS):
        for name, case in CASES.items():
            bursts[name].append(burst_ns(case, web))
    ratios = {name: statistics.median(a / b for a, b in zip(times, bursts["empty_cffi_call"]))
              for name, times in bursts.items() if name != "empty_cffi_call"}
    return {name: statistics.median(times) for name, times in bursts.items()}, ratios


def row(name, values, unit, goal=""):
    """As bench/report.py reads it."""
    return {"id": f"python.{name}", "value": statistics.median(values), "unit": unit, "goal": goal,
            "better": "lower", "low": min(values), "high": max(values), "runs": len(values)}


def measure(directory):
    """All rows."""
    with ballast.Balancer(directory=directory) as balancer:
        web = balancer.service("web")
        run(web)  # warm
        runs = [run(web) for _ in range(RUNS)]
    rows = [row(f"{name}_ns", [ns[name] for ns, _ in runs], "ns",
                "<= 600 ns" if name in ("pick_report", "with_block") else "") for name in CASES]
    rows += [row(f"{name}_over_cffi", [ratios[name] for _, ratios in runs], "x")
             for name in CASES if name != "empty_cffi_call"]
    return rows


def main(ballastd):
    """Starts ballastd, measures, prints, writes."""
    with tempfile.TemporaryDirectory(prefix="ballast-bench.") as folder:
        directory = os.path.join(folder, "files")
        config = os.path.join(folder, "ballast.toml")
        instances = ", ".join(f'"127.0.0.1:{20000 + i}"' for i in range(100))
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(directory=directory, instances=instances))
        with subprocess.Popen([ballastd, "--config", config], text=True, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as checker:
            try:
                if not any(" ready" in line for line in checker.stderr):
                    sys.exit("cost_bench.py: ballastd did not start")
                rows = measure(directory)
            finally:
                checker.terminate()
    for one in rows:
        print(f"{one['id']:34} {one['value']:8.2f} {one['unit']:2}  "
              f"({one['low']:.2f} - {one['high']:.2f})  {one['goal']}")
    out = os.environ.get("BALLAST_BENCH_DIR", os.path.join("build", "bench"))
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "python.json"), "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
    print(f"wrote {out}/python.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
