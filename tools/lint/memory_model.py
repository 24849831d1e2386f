#!/usr/bin/env python3
"""Checks docs/memory-model.md: every section names a test that guards it, and that test exists.

A section is a heading of level two or deeper with text of its own; the introduction goes under the
title. The tests it names are paths such as tests/shm/generation_test.cpp. An ordering argument with
no test to break is an opinion. usage: memory_model.py [ROOT]
"""
import os
import re
import sys

import sources

PAGE = os.path.join("docs", "memory-model.md")
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
TEST = re.compile(r"\btests/[\w./-]+\.(?:cpp|c|py|sh)\b")


def anchor(heading):
    """The anchor that a heading gets when Markdown is shown: lower case, blanks to hyphens."""
    text = re.sub(r"[`*]", "", heading).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def sections(text):
    """(level, heading, line, body) of each heading, and not of what code blocks show as one."""
    found, fenced = [], False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        match = None if fenced else HEADING.match(line)
        if match:
            found.append([len(match[1]), match[2], number, ""])
        elif found:
            found[-1][3] += line + "\n"
    return found


def anchors(root):
    """The anchors of the page's headings; None while there is no page."""
    path = os.path.join(root, PAGE)
    if not os.path.isfile(path):
        return None
    return {anchor(heading) for _, heading, _, _ in sections(sources.read(root, PAGE))}


def check_page(root, text):
    problems = []
    for level, heading, line, body in sections(text):
        if level < 2 or not body.strip():
            continue
        tests = TEST.findall(body)
        if not tests:
            problems.append(f"{PAGE}:{line}: '{heading}' names no test; say which one goes red when "
                            f"this is broken (tests/...)")
        problems += [f"{PAGE}:{line}: '{heading}' names {test}, which is not there"
                     for test in tests if not os.path.isfile(os.path.join(root, test))]
    return problems


def main(root):
    if anchors(root) is None:
        print(f"note: {PAGE} is not there yet")
        return 0
    return sources.report(check_page(root, sources.read(root, PAGE)), "memory model")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else sources.repository_root()))
