#!/usr/bin/env python3
"""Runs a short form of the demo and checks what it says and what it leaves behind.

The demo judges itself by its exit status; this checks that the machine-readable line is the last one
and says the same, that the run was a real one, and that Ctrl-C and the normal end leave no process,
no directory and no shared file. Skipped (77) when nginx is not installed. usage: demo_test.py DEMO
"""
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

LINE = re.compile(r"demo: requests=(\d+) client_errors=0 other_keys_moved=0 in_flight_after=0 "
                  r"death_seen_by_all_us=(\d+) checker_restart_client_errors=0")
PATIENCE_S = 60


def fail(text):
    print(f"demo_test: {text}", file=sys.stderr)
    sys.exit(1)


def directories(pid):
    return {name for folder in (tempfile.gettempdir(), "/dev/shm")
            for name in glob.glob(os.path.join(folder, f"ballast-demo.{pid}.*"))}


def processes_of(names):
    """Processes whose command line names one of the demo's directories."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                line = file.read().decode(errors="replace")
        except OSError:
            continue
        if any(name in line for name in names):
            found.append(path)
    return found


def check_nothing_left(own):
    left = [name for name in own if os.path.exists(name)]
    if left or processes_of(own):
        fail(f"left behind: {left} {processes_of(own)}")


def start(demo):
    """The demo, once it has told of its first kill, and the directories that it made."""
    process = subprocess.Popen([demo, "--seconds", "6"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    text = ""
    for line in process.stdout:
        text += line
        if "kill -9" in line:
            break
    return process, text, directories(process.pid)


def check_run(demo):
    process, text, own = start(demo)
    rest, _ = process.communicate(timeout=PATIENCE_S)
    text += rest
    print(text)
    if process.returncode != 0:
        fail(f"exit status {process.returncode}")
    last = text.rstrip("\n").split("\n")[-1]
    match = LINE.fullmatch(last)
    if match is None:
        fail(f"the last line is not the machine-readable one: {last!r}")
    if int(match[1]) < 1000:
        fail(f"only {match[1]} requests")
    if int(match[2]) == 0:
        fail("the death of a server was seen before it happened")
    if len(own) != 2:
        fail(f"expected two directories while it ran, saw {own}")
    check_nothing_left(own)


def check_interrupt(demo):
    process, text, own = start(demo)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    if process.returncode != 130:
        fail(f"exit status {process.returncode} after SIGINT; it said:\n{text}")
    check_nothing_left(own)


def main(demo):
    if not shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        print("skipped: nginx is not installed (tools/dev setup demo)")
        sys.exit(77)
    check_run(demo)
    check_interrupt(demo)


if __name__ == "__main__":
    main(sys.argv[1])
