#!/usr/bin/env python3
"""Collects what the checks of tools/dev found, and sums it up.

One JSON line a result in a file that lives as long as one run of tools/dev. A meson test whose
output ends with doctest's summary counts by its test cases, any other meson test counts as one.
"""
import json
import re
import sys

DOCTEST = re.compile(
    r"^\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed\s*\|"
    r"(?:\s*(\d+) skipped)?", re.MULTILINE)
SKIPPED = re.compile(r"^skipped: (\d+) cases?: ", re.MULTILINE)  # tests/support/doctest_main.cpp


def append(path, **result):
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")


# Of the output of a test that failed: the end, where the reason stands.
KEPT_LINES = 25
KEPT_COLUMNS = 300


def tail(entry):
    lines = []
    for stream in ("stdout", "stderr"):
        lines += [line[:KEPT_COLUMNS] for line in (entry.get(stream) or "").splitlines() if line.strip()]
    return lines[-KEPT_LINES:]


def last_line(text):
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"


def from_meson(entry):
    """Turns one line of meson's test log into (passed, failed, skipped, why)."""
    result = entry["result"]
    output = entry.get("stdout") or ""
    if result == "SKIP":
        # A program that says how many of its cases were skipped counts the others as passed.
        cases, summary = SKIPPED.search(output), DOCTEST.search(output)
        skipped = int(cases[1]) if cases else 1
        passed = max(int(summary[2]) - skipped, 0) if cases and summary else 0
        return passed, 0, skipped, last_line(output + "\n" + (entry.get("stderr") or ""))
    summaries = list(DOCTEST.finditer(output))
    passed = failed = 0
    for match in summaries:
        passed += int(match[2])
        failed += int(match[3])
    if result in ("OK", "EXPECTEDFAIL"):
        return (passed, 0, 0, "") if summaries and passed else (1, 0, 0, "")
    # A crash, a time limit or a sanitizer's report at exit fails even if every case passed.
    why = f"{result.lower()}, exit status {entry.get('returncode')}"
    return passed, max(failed, 1), 0, why


def add_meson(path, label, log):
    try:
        with open(log, encoding="utf-8") as file:
            entries = [json.loads(line) for line in file if line.strip()]
    except OSError as error:
        append(path, name=f"{label}: tests", passed=0, failed=1, skipped=0,
               why=f"meson wrote no test log ({error})")
        return
    for entry in entries:
        passed, failed, skipped, why = from_meson(entry)
        append(path, name=f"{label}: {entry['name']}", passed=passed, failed=failed,
               skipped=skipped, why=why, output=tail(entry) if failed else [])


def summary(path):
    with open(path, encoding="utf-8") as file:
        results = [json.loads(line) for line in file]
    for kind in ("skipped", "failed"):
        for result in results:
            if result[kind]:
                print(f"{kind}: {result['name']}: {result['why']}")
                for line in result.get("output", []):
                    print(f"    | {line}")
    total = {kind: sum(r[kind] for r in results) for kind in ("passed", "failed", "skipped")}
    if not total["passed"] and not total["failed"]:
        print("failed: nothing was run")
        total["failed"] = 1
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped",
          flush=True)
    return 1 if total["failed"] else 0


def main(arguments):
    verb, path, *rest = arguments
    if verb == "add":
        name, outcome, why = rest
        append(path, name=name, passed=int(outcome == "passed"), failed=int(outcome == "failed"),
               skipped=int(outcome == "skipped"), why=why)
        return 0
    if verb == "add-meson":
        add_meson(path, *rest)
        return 0
    if verb == "summary":
        return summary(path)
    raise SystemExit(f"results.py: there is no verb '{verb}'")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
