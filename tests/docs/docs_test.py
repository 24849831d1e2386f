#!/usr/bin/env python3
"""What README.md and docs/ promise is there: links and their anchors lead somewhere, the index names
every page, files that are mentioned exist, and the C and C++ snippets compile against the public
headers alone. usage: docs_test.py ROOT CC... -- CXX...
"""
import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest

# A snippet; behind its language may stand the file of docs/ that it is a part of.
FENCE = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*?)\s*$", re.MULTILINE)
MENTION = re.compile(r"(?<![\w/.])((?:shm|engine|tools|tests|bench|docs)/[\w./-]+"
                     r"\.(?:hpp|cpp|h|c|py|sh|md|toml|txt|golden|query|build))\b")
# Names that stand for any name, as in "how to add a unit".
PLACEHOLDER = re.compile(r"/x(_test|_bench)?\.|NAME|SUITE")

# What a reader brings along: the snippets show only what is Ballast's.
C_AROUND = """#include <ballast.h>
int run(const char *key, size_t key_length, uint64_t latency_us);
ballast_outcome_t send_request(const ballast_pick_t *pick);
"""
CPP_AROUND = """#include <ballast.hpp>
#include <string>
bool send_request(const std::string& address);
void run(const std::string& user_id);
"""

root = "."
compilers = {}


def read(name):
    with open(os.path.join(root, name), encoding="utf-8") as file:
        return file.read()


def pages():
    return ["README.md"] + sorted(os.path.relpath(path, root)
                                  for path in glob.glob(os.path.join(root, "docs", "*.md")))


def there(name):
    return os.path.exists(os.path.join(root, name))


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower()).replace(" ", "-")


def snippets(language):
    """Those that must compile as they stand; what is a part of a file is compiled with it."""
    return [(name, code) for name in pages() for kind, source, code in FENCE.findall(read(name))
            if kind == language and not source]


def lines_of(text):
    """Without indentation, which is another one in the middle of a file, and without empty lines."""
    return [line.strip() for line in text.splitlines() if line.strip()]


class Pages(unittest.TestCase):
    def test_links_lead_somewhere(self):
        for name in pages():
            for link in LINK.findall(FENCE.sub("", read(name))):
                if "://" in link:
                    continue
                path, _, section = link.partition("#")
                target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
                self.assertTrue(there(target), f"{name}: {link}")
                if section:
                    self.assertIn(section, map(anchor, HEADING.findall(read(target))),
                                  f"{name}: {link}")

    def test_the_index_names_every_page(self):
        index = set(LINK.findall(read("docs/README.md")))
        for name in pages():
            if name not in ("README.md", "docs/README.md"):
                self.assertIn(os.path.basename(name), index)

    def test_files_that_are_mentioned_exist(self):
        for name in pages():
            for path in MENTION.findall(read(name)):
                if not PLACEHOLDER.search(path):
                    self.assertTrue(there(path), f"{name}: {path}")

    def test_the_sizes_of_mapped_records(self):
        golden = dict(re.findall(r"^size (\w+) (\d+)$", read("tests/abi/layout.golden"),
                                 re.MULTILINE))
        page = read("docs/layout.md")
        named = re.findall(r"(\d+) bytes \(`(\w+)`\)", page)
        named += [(size, name) for name, size in re.findall(r"\(`(\w+)`, (\d+) bytes", page)]
        self.assertGreater(len(named), 7)
        for size, name in named:
            self.assertEqual(golden.get(name), size, name)


class Snippets(unittest.TestCase):
    def test_those_of_a_file_are_in_it(self):
        count = 0
        for name in pages():
            for _, source, code in FENCE.findall(read(name)):
                if not source:
                    continue
                count += 1
                self.assertTrue(there(os.path.join("docs", source)), f"{name}: docs/{source}")
                whole, part = lines_of(read(os.path.join("docs", source))), lines_of(code)
                self.assertTrue(any(whole[at:at + len(part)] == part for at in range(len(whole))),
                                f"{name}: not in docs/{source}, one line after the other:\n{code}")
        self.assertGreater(count, 0)

    def compile(self, language, suffix, standard, around, signature):
        found = snippets(language)
        self.assertTrue(found, f"no {language} snippet on any page")
        for name, code in found:
            includes = re.findall(r"^#include .*$", code, re.MULTILINE)
            body = re.sub(r"^#include .*$", "", code, flags=re.MULTILINE)
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "snippet" + suffix)
                with open(path, "w", encoding="utf-8") as file:
                    file.write("\n".join(includes) + "\n" + around + signature + "{\n" + body
                               + "\nreturn" + (" 0" if language == "c" else "") + ";\n}\n")
                run = subprocess.run(
                    compilers[language] + [f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic",
                                           "-Wno-unused-parameter", "-Werror", "-fsyntax-only",
                                           "-I", os.path.join(root, "engine"), path],
                    capture_output=True, text=True, check=False)
                self.assertEqual(run.returncode, 0, f"{name}:\n{code}\n{run.stderr}")

    def test_c(self):
        self.compile("c", ".c", "c11", C_AROUND,
                     "int run(const char *key, size_t key_length, uint64_t latency_us) ")

    def test_cpp(self):
        self.compile("cpp", ".cpp", "c++20", CPP_AROUND, "void run(const std::string& user_id) ")


if __name__ == "__main__":
    root = sys.argv[1]
    between = sys.argv.index("--")
    compilers = {"c": sys.argv[2:between], "cpp": sys.argv[between + 1:]}
    unittest.main(argv=sys.argv[:1])
