#!/usr/bin/env python3
"""Checks which file may include which: the arrows of the house, tools -> engine -> shm.

Also: liburing only under engine/checker/loop/, public headers only with what the language ships, and
every include of ours written from the root of the repository. usage: arrows.py [ROOT]
"""
import os
import re
import sys

import sources

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
# Which folders a file of this folder may include from.
ARROWS = {
    "shm": {"shm"},
    "engine": {"engine", "shm"},
    "tools": {"tools", "engine", "shm"},
    "tests": {"tests", "tools", "engine", "shm", "bench"},
    "bench": {"bench", "tests", "tools", "engine", "shm"},  # for tests/support
}
PUBLIC = {"engine/ballast.h", "engine/ballast.hpp"}
# What a public header may not bring along: any dependency, and anything of ours but the other one.
STANDARD = re.compile(r"^[a-z0-9_]+(\.h)?$|^(sys|netinet|arpa)/[a-z0-9_]+\.h$")
FOREIGN = re.compile(r"^(toml|CLI11|fmt|nlohmann|boost|liburing|xxhash|doctest|benchmark)\b")


def check_file(root, name, source):
    problems = []
    folder = name.split("/")[0]
    allowed = ARROWS.get(folder)
    # Not from the blanked code, which has lost what stands in quotes.
    without_comments = re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: sources.blank(m[0]), source,
                              flags=re.DOTALL)
    for match in INCLUDE.finditer(without_comments):
        where = f"{name}:{source.count(chr(10), 0, match.start(2)) + 1}"
        quote, header = match[1], match[2]
        target = header.split("/")[0]
        if header.startswith("liburing") and not name.startswith("engine/checker/loop/"):
            problems.append(f"{where}: liburing is for engine/checker/loop/ alone; give what you need "
                            f"a function there")
        if name in PUBLIC:
            ours = header.removeprefix("engine/").removeprefix("ballast/") == "ballast.h"
            if FOREIGN.match(header) or not (ours or STANDARD.match(header)):
                problems.append(f"{where}: a public header may include only the standard library "
                                f"and ballast.h, not {header}")
            continue
        if quote != '"' or allowed is None:
            continue
        if not os.path.isfile(os.path.join(root, header)):
            problems.append(f"{where}: \"{header}\" is not a path from the root of the repository "
                            f"(write \"shm/endpoint.hpp\"; other people's headers take <>)")
        elif target not in allowed:
            problems.append(f"{where}: {folder}/ may not include {header} (arrows: tools -> engine "
                            f"-> shm)")
    return problems


def main(root):
    files = sources.files_of(root, "cpp")
    problems = []
    for name in files:
        problems += check_file(root, name, sources.read(root, name))
    return sources.report(problems, f"arrows, {len(files)} files")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else sources.repository_root()))
