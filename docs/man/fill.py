#!/usr/bin/env python3
"""Fills in what ballast(3) takes from ballast.h, so that the page cannot fall behind it: prototypes, and the
values of the enums with what is said of them there. usage: fill.py PAGE HEADER EXAMPLE > FILLED
"""
import re
import sys


def escaped(text):
    """As scdoc wants plain text: underscores inside words are its own affair."""
    return re.sub(r"(?<!\w)_|_(?!\w)|[*\\`]", lambda found: "\\" + found[0], text)


def prototypes(header):
    found = re.findall(r"^BALLAST_API ([^;]*);", header, re.MULTILINE)
    lines = []
    for declared in (re.sub(r"\s+", " ", one) for one in found):
        before, name, rest = re.match(r"(.*?)(ballast_\w+)(\(.*\))$", declared).groups()
        lines.append(f"{escaped(before)}*{name}*{escaped(rest)};")
    return "\n\n".join(lines)


def values(header, enum):
    body = re.search(rf"typedef enum {enum} \{{(.*?)\}} {enum};", header, re.DOTALL)[1]
    entries = []
    # What is said of a value stands above it, or behind it on its line and those below.
    for above, name, behind in re.findall(
            r"(?:/\*((?:(?!\*/).)*)\*/\s*)?(BALLAST_\w+) = \d+,?[ \t]*(?:/\*((?:(?!\*/).)*)\*/)?",
            body, re.DOTALL):
        text = re.sub(r"\s*\n[\s*]*", " ", above or behind).strip()
        text = re.sub(r"`(\w+)`", r"\1", text)
        entries.append(f"*{name}*" + (f"\n\t{escaped(text[0].upper() + text[1:])}" if text else ""))
    return "\n\n".join(entries)


def main(page, header_name, example):
    with open(header_name, encoding="utf-8") as file:
        header = file.read()
    with open(example, encoding="utf-8") as file:
        code = file.read()
    with open(page, encoding="utf-8") as file:
        text = file.read()
    for name, value in (("PROTOTYPES", prototypes(header)),
                        ("STATUSES", values(header, "ballast_status_t")),
                        ("OUTCOMES", values(header, "ballast_outcome_t")),
                        ("REASONS", values(header, "ballast_reason_t")),
                        ("EXAMPLE", code[code.index("#include"):].rstrip())):
        text = text.replace(f"@{name}@", value)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
