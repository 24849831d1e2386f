#!/usr/bin/env python3
"""The manual pages: mandoc finds no fault with them, and nothing is missing that the programs say of
themselves with --help, or that ballast.h declares. usage: man_test.py HEADER BALLAST BALLASTD PAGE...
"""
import re
import shutil
import subprocess
import sys
import unittest

header, ballast, ballastd = "", "", ""
pages = {}

# What scdoc always writes: an empty paragraph beside each heading.
HARMLESS = re.compile(r"skipping paragraph macro: PP (empty|after SH)$")


def shown(path):
    """The page as people read it, in one line, without bold and underlined type."""
    text = subprocess.run(["mandoc", "-Tutf8", "-Owidth=500", path], check=True, capture_output=True,
                          text=True).stdout
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", text))


def help_of(program, *verb):
    return subprocess.run([program, *verb, "--help"], check=True, capture_output=True, text=True).stdout


class Pages(unittest.TestCase):
    def test_mandoc_finds_no_fault(self):
        for name, path in pages.items():
            lint = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], check=False,
                                  capture_output=True, text=True)
            faults = [line for line in (lint.stdout + lint.stderr).splitlines()
                      if not HARMLESS.search(line)]
            self.assertEqual(faults, [], name)

    def test_every_verb_and_option_of_ballast(self):
        page = shown(pages["ballast.1"])
        text = help_of(ballast)
        verbs = re.findall(r"^  (\w+) ", text.partition("Subcommands:")[2], re.MULTILINE)
        self.assertGreater(len(verbs), 10)
        for verb in verbs:
            self.assertRegex(page, rf"\b{verb}\b", f"ballast {verb}")
            own = help_of(ballast, verb)
            for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", own.partition("Options:")[2]):
                self.assertRegex(page, rf"(?<![\w-]){option}\b", f"ballast {verb} {option}")
        # And nothing that is not there any more.
        everything = text + "".join(help_of(ballast, verb) for verb in verbs)
        for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", page):
            self.assertIn(option, everything)

    def test_every_option_of_ballastd(self):
        page = shown(pages["ballastd.8"])
        text = help_of(ballastd)
        options = set(re.findall(r"--[a-z]+", text))
        self.assertGreater(len(options), 5)
        self.assertEqual(options, set(re.findall(r"--[a-z]+", page)))
        for signal in re.findall(r"\bSIG\w+", text):
            self.assertIn(signal, page)

    def test_all_of_the_header(self):
        page = shown(pages["ballast.3"])
        description = page.partition(" DESCRIPTION ")[2]
        with open(header, encoding="utf-8") as file:
            text = file.read()
        prototypes = re.findall(r"^BALLAST_API ([^;]*);", text, re.MULTILINE)
        self.assertGreater(len(prototypes), 15)
        for prototype in prototypes:
            prototype = re.sub(r"\s+", " ", prototype)
            self.assertIn(prototype + ";", page)
            name = re.search(r"(\w+)\(", prototype)[1]
            self.assertIn(name + "()", description, "nothing is said of it")
        for value in re.findall(r"^  (BALLAST_\w+) = \d", text, re.MULTILINE):
            self.assertIn(value, description)


if __name__ == "__main__":
    if shutil.which("mandoc") is None:
        print("mandoc is not installed")
        sys.exit(77)
    header, ballast, ballastd = sys.argv[1:4]
    pages = {path.rsplit("/", 1)[-1]: path for path in sys.argv[4:]}
    unittest.main(argv=sys.argv[:1])
