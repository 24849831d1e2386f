#!/usr/bin/env python3
"""Installs into a prefix of its own, and builds the examples against it as a stranger would: with
pkg-config, and nothing of this repository on any path. usage: install_test.py MESON BUILD EXAMPLES
CC... -- CXX...
"""
import glob
import os
import subprocess
import sys
import tempfile

INSTALLED = ("bin/ballast", "bin/ballastd", "include/ballast.h", "include/ballast.hpp",
             "lib*/**/libballast.so", "lib*/**/libballast.a", "lib*/**/pkgconfig/ballast.pc")


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=True, **more).stdout


def check_installed(prefix):
    for pattern in INSTALLED:
        if not glob.glob(os.path.join(prefix, pattern), recursive=True):
            sys.exit(f"install_test: {pattern} is not installed")
    headers = os.listdir(os.path.join(prefix, "include"))
    if sorted(headers) != ["ballast.h", "ballast.hpp"]:
        sys.exit(f"install_test: installed headers: {headers}")


def build_and_run(compiler, source, flags, library_folder, scratch):
    program = os.path.join(scratch, os.path.basename(source) + ".out")
    subprocess.run(compiler + [source, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", program]
                   + flags, cwd=scratch, check=True)
    answer = subprocess.run([program, os.path.join(scratch, "nobody"), "web", "key"],
                            env=dict(os.environ, LD_LIBRARY_PATH=library_folder),
                            capture_output=True, text=True, check=False)
    if answer.returncode != 1 or "start ballastd" not in answer.stdout:
        sys.exit(f"install_test: {source} exits {answer.returncode} and says:\n"
                 f"{answer.stdout}{answer.stderr}")


def main(arguments):
    meson, build, examples = arguments[:3]
    between = arguments.index("--")
    cc, cxx = arguments[3:between], arguments[between + 1:]
    with tempfile.TemporaryDirectory() as scratch:
        run([meson, "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", scratch])
        pc = glob.glob(os.path.join(scratch, "**", "ballast.pc"), recursive=True)
        if len(pc) != 1:
            sys.exit(f"install_test: ballast.pc is at {pc}")
        library_folder = os.path.dirname(os.path.dirname(pc[0]))
        own = dict(os.environ, PKG_CONFIG_LIBDIR=os.path.dirname(pc[0]), PKG_CONFIG_SYSROOT_DIR=scratch)
        flags = run(["pkg-config", "--cflags", "--libs", "ballast"], env=own).split()
        prefix = run(["pkg-config", "--variable=prefix", "ballast"], env=own).strip()
        # Whether variables carry the sysroot differs between the two kinds of pkg-config.
        check_installed(prefix if prefix.startswith(scratch) else scratch + prefix)
        build_and_run(cc + ["-std=c11"], os.path.join(examples, "pick.c"), flags, library_folder, scratch)
        build_and_run(cxx + ["-std=c++20"], os.path.join(examples, "pick.cpp"), flags, library_folder,
                      scratch)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
