#!/usr/bin/env python3
"""Asks a configured build directory what it holds: the ninja targets that a suite of tests needs,
the suites of benchmarks, and their programs, which it can also run. Used by tools/dev.
"""
import json
import os
import subprocess
import sys


def introspect(directory, what):
    path = os.path.join(directory, "meson-info", f"intro-{what}.json")
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def in_suites(test, suites):
    return any(name.split(":")[-1] in suites for name in test["suite"])


def ninja_targets(directory, tests):
    """The files that the tests run or depend on, as ninja names them: relative to the directory."""
    by_id = {target["id"]: target for target in introspect(directory, "targets")}
    base = os.path.abspath(directory)
    files = set()
    for test in tests:
        for target in map(by_id.get, test["depends"]):
            if target:
                files.update(os.path.relpath(name, base) for name in target["filename"])
        program = os.path.abspath(test["cmd"][0])
        if program.startswith(base + os.sep):
            files.add(os.path.relpath(program, base))
    return sorted(files)


def main(arguments):
    verb, directory, *suites = arguments
    if verb == "targets":
        tests = [test for test in introspect(directory, "tests") if in_suites(test, suites)]
        targets = ninja_targets(directory, tests)
        if not targets:
            sys.exit(f"meson_info.py: {directory} has no tests in: {' '.join(suites)}")
        print("\n".join(targets))
        return 0
    benchmarks = introspect(directory, "benchmarks")
    if verb == "suites":
        print("\n".join(sorted({n.split(":")[-1] for b in benchmarks for n in b["suite"]})))
        return 0
    chosen = [benchmark for benchmark in benchmarks if in_suites(benchmark, suites)]
    if verb == "bench-targets":
        if chosen:
            print("\n".join(ninja_targets(directory, chosen)))
        return 0
    if verb == "run-bench":
        status = 0
        for benchmark in chosen:
            print(f"==> bench: {benchmark['name']}", flush=True)
            environment = dict(os.environ, **benchmark["env"])
            status |= subprocess.run(benchmark["cmd"], env=environment, check=False).returncode != 0
        return status
    raise SystemExit(f"meson_info.py: there is no verb '{verb}'")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
