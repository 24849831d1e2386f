#!/usr/bin/env python3
"""Runs the libFuzzer targets of tests/fuzz for a set time, as many at once as there are processors.

A fixed seed and the inputs of tests/fuzz/corpus/NAME/ start each run; new inputs go to the build
directory. An input that fails is kept there too, and its path printed, so that it can be run again
and added to the corpus. usage: fuzz.py RESULTS BUILD_DIRECTORY SECONDS [NAME... | --but NAME...]
"""
import concurrent.futures
import os
import subprocess
import sys

import results


def fuzz(program, name, seconds):
    scratch = f"{program}.corpus"
    os.makedirs(scratch, exist_ok=True)
    seeds = os.path.join("tests", "fuzz", "corpus", name)
    command = [program, scratch] + ([seeds] if os.path.isdir(seeds) else [])
    command += ["-seed=1", f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048",
                "-print_final_stats=1", "-verbosity=1", f"-artifact_prefix={program}-"]
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", timeout=seconds + 120, check=False)
        return run.returncode, run.stdout
    except subprocess.TimeoutExpired as expired:
        output = expired.stdout or b""
        return -1, output.decode(errors="replace") + "\nit did not stop in time"


def main(arguments):
    path, directory, seconds, *names = arguments
    folder = os.path.join(directory, "tests", "fuzz")
    known = sorted(name[: -len("_fuzz")] for name in os.listdir(folder) if name.endswith("_fuzz"))
    but = names[:1] == ["--but"]
    names = names[1:] if but else names
    for name in names:
        if name not in known:
            print(f"fuzz: there is no target '{name}'; they are: {' '.join(known)}")
            return 2
    chosen = [name for name in known if name not in names] if but else names or known
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {name: pool.submit(fuzz, os.path.join(folder, f"{name}_fuzz"), name, int(seconds))
                for name in chosen}
        for name, run in runs.items():
            status, output = run.result()
            executed = [line for line in output.splitlines() if "number_of_executed_units" in line]
            print(f"    fuzz/{name}: {'passed' if status == 0 else 'FAILED'}; "
                  f"{executed[-1].split()[-1] if executed else '?'} inputs", flush=True)
            if status != 0:
                failed = 1
                print(output)
            results.append(path, name=f"fuzz: {name}", passed=int(status == 0),
                           failed=int(status != 0), skipped=0, why=f"exit status {status}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
