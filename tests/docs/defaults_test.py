#!/usr/bin/env python3
"""What the documentation says of keys, defaults and limits is what `ballastd --defaults` prints:
the table in docs/operations.md in full, and every `key = value` in docs/strategies.md, which names
every strategy besides. usage: defaults_test.py ROOT BALLASTD
"""
import os
import re
import subprocess
import sys
import unittest

LINE = re.compile(r"^(# )?(\S+)(?: = (.*?))?\s+# (.*)$")
ROW = re.compile(r"^\| `([\w.]+)` \| .* \| (.+?) \| (.+?) \| [^|]*\|$", re.MULTILINE)
SPAN = re.compile(r"`([a-z_.]+) = ([^`]+)`")
NAMED = re.compile(r"`([a-z_]+\.[a-z_.]+)`: ")

root = "."
program = "ballastd"


def read(name):
    with open(os.path.join(root, name), encoding="utf-8") as file:
        return file.read()


def defaults():
    """key -> (default, limits); of a key that is unset the default is what that means."""
    text = subprocess.run([program, "--defaults"], capture_output=True, text=True, check=True).stdout
    keys = {}
    for line in text.splitlines():
        unset, key, value, limits = LINE.match(line).groups()
        if unset:
            limits, value = limits.rsplit("; ", 1)
        keys[key] = (value, limits)
    return keys


def whole(key, keys):
    """The key as --defaults has it: pages leave out `service.NAME.`."""
    return key if key in keys else "service.NAME." + key


class Defaults(unittest.TestCase):
    def setUp(self):
        self.keys = defaults()
        self.assertGreater(len(self.keys), 60)

    def test_the_table_of_keys(self):
        table = {key: (value.strip("`"), limits)
                 for key, value, limits in ROW.findall(read("docs/operations.md"))
                 if whole(key, self.keys) in self.keys}
        self.assertEqual(table, self.keys)

    def table_of_strategies(self):
        return [line for line in read("docs/strategies.md").splitlines() if line.startswith("|")]

    def test_the_one_table_says_the_same(self):
        found = set()
        for line in self.table_of_strategies():
            cells = line.split(" | ")
            for key, value in SPAN.findall(cells[2] if len(cells) > 2 else ""):
                self.assertIn(whole(key, self.keys), self.keys, line)
                self.assertEqual(value, self.keys[whole(key, self.keys)][0], line)
                found.add(whole(key, self.keys))
            for key in NAMED.findall(cells[2] if len(cells) > 2 else ""):
                self.assertIn(whole(key, self.keys), self.keys, line)
                found.add(whole(key, self.keys))
        # How instances are found and checked is not its matter.
        missing = {key for key in self.keys if key not in found
                   and not re.match(r"(ballast|metrics)\.|service\.NAME\.(agent|check|instances|sources)\b", key)}
        self.assertEqual(missing, set())

    def test_the_one_table_names_every_strategy(self):
        limits = self.keys["service.NAME.strategy"][1].split(", ")
        self.assertIn("adaptive", limits)
        for name in limits:
            self.assertTrue(any(f"`{name}`" in line or f'= "{name}"`' in line
                                for line in self.table_of_strategies()), name)


if __name__ == "__main__":
    root, program = sys.argv[1:3]
    unittest.main(argv=sys.argv[:1])
