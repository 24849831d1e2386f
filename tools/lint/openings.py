#!/usr/bin/env python3
"""Checks that every source file opens with a paragraph that says what it is.

C++ and C, Python, shell and meson files. The paragraph is the first thing in the file (after a
`#!` line). Also tells, without failing, which files have grown past the length at which another
unit may want to get out. usage: openings.py [ROOT]
"""
import re
import sys

import sources

SHORTEST = {"meson": 10}  # characters; "Tests." does not say what a file is
LONG = 400  # lines

OPENING = {
    "cpp": re.compile(r"\A\s*((?://[^\n]*\n?)+|/\*.*?\*/)", re.DOTALL),
    "python": re.compile(r'\A(?:#![^\n]*\n)?\s*((?:#(?!!)[^\n]*\n?)+|""".*?""")', re.DOTALL),
    "shell": re.compile(r"\A(?:#![^\n]*\n)?\s*((?:#(?!!)[^\n]*\n?)+)"),
    "meson": re.compile(r"\A\s*((?:#[^\n]*\n?)+)"),
}


def check_file(name, kind, source):
    if not source.strip():
        return []
    match = OPENING[kind].match(source)
    if match is None:
        return [f"{name}:1: open the file with a paragraph that says what it is, who uses it, and "
                f"what happens if they die (where that applies)"]
    words = re.sub(r"[/*#\"\s]+", " ", match[1]).strip()
    if len(words) < SHORTEST.get(kind, 20):
        return [f"{name}:1: the opening paragraph says too little: '{words}'"]
    return []


def main(root):
    problems, count = [], 0
    for kind in OPENING:
        for name in sources.files_of(root, kind):
            source = sources.read(root, name)
            count += 1
            problems += check_file(name, kind, source)
            lines = source.count("\n")
            if lines > LONG and kind != "meson":
                print(f"note: {name} has {lines} lines; does a unit want to get out?")
    return sources.report(problems, f"openings, {count} files")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else sources.repository_root()))
