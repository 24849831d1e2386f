#!/usr/bin/env python3
"""What systemd thinks of ballastd's unit: that it has no right too many, by its own measure.

usage: unit_test.py UNIT. Needs no running systemd: systemd-analyze looks at the file alone.
"""
import re
import shutil
import subprocess
import sys

MOST = 2.0  # of 10, the less the better


def main():
    unit = sys.argv[1]
    with open(unit, encoding="utf-8") as file:
        text = file.read()
    if "@bindir@" in text or "@docdir@" in text:
        sys.exit(f"{unit}: has places that nobody filled in")
    # Files of another boot are refused, and where /proc shows nothing but processes it has no boot.
    for forbidden in ("ProcSubset=pid", "RemoveIPC=yes", "PrivateNetwork=yes", "DynamicUser=yes"):
        if re.search(rf"^{forbidden}$", text, re.MULTILINE):
            sys.exit(f"{unit}: {forbidden} breaks what ballastd is for")
    if shutil.which("systemd-analyze") is None:
        print("skipped: no systemd-analyze (apt-get install systemd)")
        sys.exit(77)
    ran = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", unit],
                         capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", ran.stdout)
    if found is None:
        sys.exit(f"systemd-analyze says no level:\n{ran.stdout}{ran.stderr}")
    print(f"exposure level {found[1]}, at most {MOST}")
    if float(found[1]) > MOST:
        sys.exit(ran.stdout)


main()
