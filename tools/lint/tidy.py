#!/usr/bin/env python3
"""Runs clang-tidy-19, and clang-query-19 with atomics.query, over our translation units, but not
over those that passed before and are unchanged.

A pass is remembered under a key made of everything that may change the verdict: the unit, our
headers that it includes, the checks, the compile command and the version of clang-tidy. Failures
are never remembered. The cache lies in $BALLAST_CACHE, or in $XDG_CACHE_HOME/ballast, or in
~/.cache/ballast, and may be deleted at any time. usage: tidy.py BUILD_DIRECTORY [--all]
"""
import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys
import time

import sources

TIDY = "clang-tidy-19"
QUERY = "clang-query-19"
QUERIES = os.path.join("tools", "lint", "atomics.query")
UNSAID = {"operator": "an operator", "conversion": "a conversion", "default_order": "a default order"}
BINDS = re.compile(r"^(.*?:\d+):\d+: note: \"(operator|conversion|default_order)\" binds here",
                   re.MULTILINE)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
# The tests' and benchmarks' frameworks are macros that clang-tidy has much to say about and that
# take most of its time, so those folders are read only with --all.
FOLDERS = ("shm/", "engine/", "tools/")
ALL_FOLDERS = FOLDERS + ("tests/", "bench/")


def cache_folder():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("BALLAST_CACHE") or os.path.join(home, "ballast")


def closure(root, name, seen):
    """The file and the headers of ours that it includes, directly or not."""
    if name in seen or not os.path.isfile(os.path.join(root, name)):
        return seen
    seen.add(name)
    for header in INCLUDE.findall(sources.read(root, name)):
        closure(root, header, seen)
    return seen


def key_of(root, name, command, common):
    digest = hashlib.sha256(common)
    digest.update(command.encode())
    for part in sorted(closure(root, name, set())):
        digest.update(part.encode() + b"\0" + sources.read(root, part).encode() + b"\0")
    return digest.hexdigest()


def tidy(root, build, name):
    run = subprocess.run([TIDY, "-p", build, "--quiet", "--warnings-as-errors=*",
                          f"--header-filter=^{re.escape(root)}/(shm|engine|tools|tests|bench)/",
                          os.path.join(root, name)],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root,
                         check=False)
    if run.returncode != 0 and not run.stdout.strip():
        return run.stderr  # it could not even begin
    return run.stdout if run.returncode != 0 else ""


def query(root, build, name):
    run = subprocess.run([QUERY, "-p", build, "-f", os.path.join(root, QUERIES),
                          os.path.join(root, name)],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root,
                         check=False)
    if run.returncode != 0 or " matches." not in run.stdout:
        return f"{QUERY} did not answer:\n{run.stdout}{run.stderr}"
    return "".join(sorted({f"{where}: {UNSAID[how]} leaves the memory order of an atomic unsaid\n"
                           for where, how in BINDS.findall(run.stdout)}))


def check(root, build, name):
    begin = time.monotonic()
    output = tidy(root, build, name) + query(root, build, name)
    return output.replace(root + os.sep, ""), time.monotonic() - begin


def units(root, build, folders):
    """Our translation units of a build directory: name -> compile command, free of where it lies."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        database = json.load(file)
    found = {}
    for entry in database:
        name = os.path.relpath(os.path.join(entry["directory"], entry["file"]), root)
        if name.startswith(folders):
            found[name] = entry["command"].replace(root, "").replace("ccache ", "")
    return found


def main(arguments):
    everything = "--all" in arguments
    rest = [argument for argument in arguments if argument != "--all"]
    if len(rest) != 1:
        sys.exit("usage: tidy.py BUILD_DIRECTORY [--all]")
    root, build = sources.repository_root(), os.path.abspath(rest[0])
    found = units(root, build, ALL_FOLDERS if everything else FOLDERS)
    version = subprocess.run([TIDY, "--version"], stdout=subprocess.PIPE, check=True).stdout
    common = version + "".join(sources.read(root, part) for part in (
        ".clang-tidy", QUERIES, os.path.join("tools", "lint", "tidy.py"))).encode()
    folder = os.path.join(cache_folder(), "tidy")
    os.makedirs(folder, exist_ok=True)
    keys = {name: key_of(root, name, command, common) for name, command in found.items()}
    todo = [name for name, key in keys.items() if not os.path.exists(os.path.join(folder, key))]
    print(f"clang-tidy: {len(todo)} of {len(found)} units to read", flush=True)
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = {pool.submit(check, root, build, name): name for name in todo}
        for run in concurrent.futures.as_completed(runs):
            output, seconds = run.result()
            name = runs[run]
            print(f"    {name}: {'refused' if output else 'ok'}, {seconds:.1f} s", flush=True)
            if not output:
                with open(os.path.join(folder, keys[name]), "w", encoding="utf-8") as file:
                    file.write(name + "\n")
            else:
                failed += 1
                print(output, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
