"""What libballast exports is exactly what ballast.map lists and ballast.h declares, and nothing else.

Usage: exports_test.py NM LIBRARY MAP HEADER
"""

import re
import subprocess
import sys


def main() -> int:
    nm, library, version_map, header = sys.argv[1:5]
    table = subprocess.run([nm, "-D", "--defined-only", library],
                           check=True, capture_output=True, text=True).stdout
    exported = {line.split()[-1].split("@")[0] for line in table.splitlines()
                if line.split()[1] != "A"}
    with open(version_map, encoding="utf-8") as file:
        listed = set(re.findall(r"^\s+(ballast_\w+);", file.read(), re.MULTILINE))
    with open(header, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    declared = set(re.findall(r"^BALLAST_API[^;(]*?(ballast_\w+)\(", text, re.MULTILINE))
    failures = 0
    for name, other, what in (("exported", listed, "in ballast.map"),
                              ("exported", declared, "declared in ballast.h")):
        for symbol in sorted(exported ^ other):
            failures += 1
            where = f"not {what}" if symbol in exported else f"{what} but not {name}"
            print(f"{symbol}: {where}")
    print(f"{len(exported)} functions exported")
    return 1 if failures or not exported else 0


if __name__ == "__main__":
    sys.exit(main())
