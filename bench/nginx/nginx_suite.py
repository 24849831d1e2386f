#!/usr/bin/env python3
"""Suite `nginx`: the module beside nginx's own load balancing, with real backends and wrk, in one run.

BALLAST_BENCH_ROUNDS says how many pairs of windows are measured; BALLAST_BENCH_QUICK=1 tries everything
in a minute with fewer instances, and its figures are not those that count. Cases that are named behind
the programs run alone. usage: nginx_suite.py BALLASTD BALLAST BACKEND HTTP_MODULE STREAM_MODULE [CASE...]
"""
import os
import shutil
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "nginx")]

import cost  # noqa: E402
import deaths  # noqa: E402
import harness  # noqa: E402
import rows as table  # noqa: E402

CASES = {
    "least_conn_1000": cost.least_conn_1000,
    "chash_1000": cost.chash_1000,
    "round_robin_16": cost.round_robin_16,
    "pick_share": cost.pick_share,
    "failed_after_kill": deaths.failed_after_kill,
    "leaked_in_flight": deaths.leaked_in_flight,
    "ketama_equal": deaths.ketama_equal,
}


class Scale:
    def __init__(self, programs):
        quick = "BALLAST_BENCH_QUICK" in os.environ
        self.programs = programs
        self.instances = 100 if quick else 1000
        self.rounds = max(1, int(os.environ.get("BALLAST_BENCH_ROUNDS", 2 if quick else 11)))
        self.kill_rounds = min(self.rounds, 3)
        self.window_s = 1
        self.warm_s = 1 if quick else 2


def main(arguments):
    scale = Scale(harness.Programs(*arguments[:5]))
    for program in (harness.find_nginx() or "nginx", "wrk", "taskset"):
        if shutil.which(program) is None:
            print(f"nginx_suite: {program} is not there; 'tools/dev setup bench' installs it", file=sys.stderr)
            return 1
    rows, status = table.Rows(), 0
    for name, case in CASES.items():
        if arguments[5:] and name not in arguments[5:]:
            continue
        print(f"{name} ...", flush=True)
        try:
            case(rows, scale)
        except (harness.Failed, OSError) as error:
            print(f"{name} could not be measured: {error}", file=sys.stderr)
            status = 1
    if not rows.rows:
        return 1
    load, cores = cost.processors()
    rows.note(f"compared with {deaths.version()}; nginx on processor {cores}, load and backends on {load}")
    table.print_table(rows)
    table.write(rows, "nginx")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
