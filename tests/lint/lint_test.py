#!/usr/bin/env python3
"""The lint's own test: each rule is fed what it must refuse and the nearest thing that it must not,
so that a rule that has stopped biting is noticed. Run by meson (suite unit), or as it is.
"""
import os
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools", "lint"))
sys.path.insert(0, os.path.join(ROOT, "tools", "dev.d"))
sys.dont_write_bytecode = True

# pylint: disable=wrong-import-position
import arrows
import atomic_orders
import memory_model
import openings
import results
import sources

OPENING = "// A snippet that stands for a file of the house in this test.\n"


class Atomics(unittest.TestCase):
    def problems(self, code, name="shm/x.hpp", anchors=frozenset({"publish"})):
        names = atomic_orders.unambiguous([sources.split(code).code])
        return atomic_orders.check_file(name, code, names, anchors)

    def assert_refused(self, code, words, **more):
        found = self.problems(code, **more)
        self.assertTrue(found, f"not refused: {code}")
        self.assertIn(words, found[0])

    def assert_passes(self, code, **more):
        self.assertEqual(self.problems(code, **more), [])

    def test_a_call_without_an_order(self):
        for call in ("root.load()", "root->load( )", "root.store(1)", "root.store(f(1, 2))",
                     "root.exchange(n)", "n.fetch_add(1)", "n.fetch_or(mask(a, b))",
                     "gen[e % 2].slot[h % m].load()", "flag.test_and_set()",
                     "root.load(/* memory_order_relaxed */)"):
            self.assert_refused(call + ";", "does not name its memory order")

    def test_a_compare_exchange_with_one_order(self):
        self.assert_refused("w.compare_exchange_weak(e, d);", "both its memory orders")
        self.assert_refused("w.compare_exchange_strong(e, d,\n  std::memory_order_relaxed);",
                            "both its memory orders")
        self.assert_passes("w.compare_exchange_weak(e, f(d, 1), std::memory_order_relaxed,\n"
                           "    std::memory_order_relaxed);")

    def test_relaxed_and_forwarded_orders_need_no_argument(self):
        self.assert_passes("x.load(std::memory_order_relaxed); y.store(1, std::memory_order::relaxed);"
                           "z.fetch_add(f(1, 2), relaxed); w.load(kRelaxed); v.load(order);")

    def test_a_constant_may_stand_for_an_order(self):
        self.assert_passes("constexpr auto kOwn = std::memory_order_relaxed;\nx.load(kOwn);")
        self.assert_refused("constexpr auto kSeen = std::memory_order_acquire;\nx.load(kSeen);",
                            "without its argument")
        self.assert_refused("constexpr auto kOwn = 7;\nx.load(kOwn);", "does not name")

    def test_a_stronger_order_needs_its_section(self):
        for order in ("std::memory_order_acquire", "std::memory_order::acquire", "acquire",
                      "kAcquire", "mo_acquire", "std::memory_order_seq_cst"):
            self.assert_refused(f"x.load({order});", "without its argument")
            self.assert_passes(f"// Pairs with publish's store. [mm:publish]\nx.load({order});")
        self.assert_passes("x.store(1, release);  // [mm:publish]")

    def test_the_section_must_exist_and_be_near(self):
        self.assert_refused("// [mm:publsh]\nx.load(acquire);", "no section 'publsh'")
        self.assert_passes("// [mm:anything]\nx.load(acquire);", anchors=None)
        self.assert_refused("// [mm:publish]\n" + "\n" * 9 + "x.load(acquire);",
                            "without its argument")
        self.assert_refused('log("[mm:publish]"); x.load(acquire);', "without its argument")

    def test_tools_name_orders_but_need_no_section(self):
        self.assert_refused("x.load();", "does not name", name="tools/ballastd/x.cpp")
        self.assert_passes("x.load(std::memory_order_acquire);", name="tools/ballastd/x.cpp")

    def test_operators_on_atomics(self):
        declared = ("struct S { std::atomic<std::uint64_t> count{0}; std::atomic<int> n_;\n"
                    "std::array<std::atomic<std::uint32_t>, 4> slots; };\n")
        for use in ("s.count++;", "++s.count;", "s->count += 2;", "s.count = 1;", "n_ = 4;", "n_++;",
                    "s.slots[3] |= 1;", "if (s.count == 3) return;", "--row->count;"):
            self.assert_refused(declared + use, "is seq_cst unsaid")
        for use in ("f(s.count);", "auto count = 3; count++;", "S t{.count = 3};",
                    "s.count.load(relaxed);", "other.counter++;", "// s.count++"):
            self.assert_passes(declared + use)

    def test_operators_on_an_alias(self):
        declared = "using Word = std::atomic<std::uint64_t>;\nstruct S { Word state; };\n"
        self.assert_refused(declared + "s.state = 1;", "is seq_cst unsaid")

    def test_a_name_that_is_also_a_plain_member_is_left_to_the_syntax_tree(self):
        self.assert_passes("struct A { std::atomic<int> kind; };\nstruct B { Kind kind; };\n"
                           "if (b.kind == 3) return;")

    def test_free_functions_and_fences(self):
        self.assert_refused("std::atomic_load(&x);", "member functions")
        self.assert_refused("std::atomic_thread_fence(std::memory_order_acquire);", "standalone")
        self.assert_refused("__atomic_load_n(&x, __ATOMIC_ACQUIRE);", "member functions")
        self.assert_passes("std::atomic_ref<int>(x).load(relaxed); std::exchange(a, b);")

    def test_what_is_not_atomic_can_say_so(self):
        self.assert_passes("settings.load(path);  // not atomic: reads a file")
        self.assert_refused("settings.load(path);  // not atomic:", "does not name")

    def test_comments_and_literals_are_not_code(self):
        self.assert_passes('// x.load()\n/* y.store(1) */ s = "z.load()"; r = R"(w.load())";')
        self.assert_refused("f(1'000, 'x'); x.load();", "does not name")


class Arrows(unittest.TestCase):
    def setUp(self):
        # pylint: disable=consider-using-with
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        for name in ("shm/a.hpp", "engine/b.hpp", "tools/c.hpp", "tests/d.hpp",
                     "engine/ballast.h"):
            os.makedirs(os.path.join(self.folder.name, os.path.dirname(name)), exist_ok=True)
            with open(os.path.join(self.folder.name, name), "w", encoding="utf-8") as file:
                file.write(OPENING)

    def problems(self, name, code):
        return arrows.check_file(self.folder.name, name, code)

    def test_the_arrows(self):
        ours = {"shm": "shm/a.hpp", "engine": "engine/b.hpp", "tools": "tools/c.hpp",
                "tests": "tests/d.hpp"}
        refused = {("shm", "engine"), ("shm", "tools"), ("shm", "tests"), ("engine", "tools"),
                   ("engine", "tests"), ("tools", "tests")}
        for source in ours:
            for target, header in ours.items():
                found = self.problems(f"{source}/x.cpp", f'#include "{header}"\n')
                self.assertEqual(bool(found), (source, target) in refused, (source, target))

    def test_an_include_is_written_from_the_root(self):
        self.assertIn("not a path from the root", self.problems("shm/x.cpp", '#include "a.hpp"\n')[0])
        self.assertEqual(self.problems("shm/x.cpp", '// #include "a.hpp"\n'), [])

    def test_liburing_lives_with_the_checker(self):
        code = "#include <liburing.h>\n"
        self.assertIn("liburing", self.problems("engine/x.cpp", code)[0])
        self.assertIn("liburing", self.problems("tools/x.cpp", code)[0])
        self.assertEqual(self.problems("engine/checker/loop/x.cpp", code), [])

    def test_a_public_header_brings_nothing_along(self):
        for header in ("<toml.hpp>", "<CLI/CLI.hpp>", "<fmt/core.h>", "<nlohmann/json.hpp>",
                       "<boost/interprocess/mapped_region.hpp>", "<xxhash.h>", '"shm/a.hpp"'):
            for name in ("engine/ballast.h", "engine/ballast.hpp"):
                found = self.problems(name, f"#include {header}\n")
                self.assertTrue(found, (name, header))
        self.assertEqual(self.problems("engine/ballast.hpp", '#include <cstdint>\n#include <stdint.h>\n'
                                       '#include <sys/socket.h>\n#include "engine/ballast.h"\n'), [])


class Openings(unittest.TestCase):
    def test_files_open_with_a_paragraph(self):
        bad = {"cpp": ["#pragma once\n// Too late, the file has already begun by now, alas.\n",
                       "// Short.\n"],
               "python": ["import os\n", '#!/usr/bin/env python3\nimport os\n"""Too late."""\n'],
               "shell": ["#!/bin/sh\nset -e\n"], "meson": ["project('x')\n"]}
        good = {"cpp": [OPENING, "/* A C file may use the other form\n of comment as well. */\n"],
                "python": ['#!/usr/bin/env python3\n"""What it does, for whom, and how it is run."""\n'],
                "shell": ["#!/bin/sh\n# What it does, for whom, and from where it is run.\n"],
                "meson": ["# shm: what is mapped.\n"]}
        for kind, texts in bad.items():
            for text in texts:
                self.assertTrue(openings.check_file("x", kind, text), text)
        for kind, texts in good.items():
            for text in texts:
                self.assertEqual(openings.check_file("x", kind, text), [])


class MemoryModel(unittest.TestCase):
    def check(self, page):
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, "tests/shm"))
            with open(os.path.join(folder, "tests/shm/there_test.cpp"), "w", encoding="utf-8"):
                pass
            return memory_model.check_page(folder, page)

    def test_every_section_names_a_test_that_exists(self):
        page = "# Title\nWords.\n## Publish\nGuarded by {}.\n"
        self.assertEqual(self.check(page.format("`tests/shm/there_test.cpp`")), [])
        self.assertIn("not there", self.check(page.format("tests/shm/gone_test.cpp"))[0])
        self.assertIn("names no test", self.check(page.format("faith"))[0])

    def test_a_heading_over_headings_and_a_code_block_are_no_sections(self):
        self.assertEqual(self.check("## Group\n\n### Part\ntests/shm/there_test.cpp\n"
                                    "```\n## not a heading\n```\n"), [])

    def test_anchors(self):
        self.assertEqual(memory_model.anchor("Claim and reap: a row's lock"),
                         "claim-and-reap-a-rows-lock")
        self.assertEqual(memory_model.anchor("`root` and the words"), "root-and-the-words")


class Results(unittest.TestCase):
    """What tools/dev counts: wrong sums would make a red run look green."""

    SUMMARY = "[doctest] test cases:  3 |  {} passed | {} failed | 0 skipped\n"

    def test_counting(self):
        def count(result, output="", status=0):
            return results.from_meson({"result": result, "stdout": output, "returncode": status})[:3]
        self.assertEqual(count("OK"), (1, 0, 0))
        self.assertEqual(count("OK", self.SUMMARY.format(3, 0)), (3, 0, 0))
        self.assertEqual(count("FAIL", self.SUMMARY.format(2, 1), 1), (2, 1, 0))
        # Every case passed, and then the process died or a sanitizer complained.
        self.assertEqual(count("FAIL", self.SUMMARY.format(3, 0), -6), (3, 1, 0))
        self.assertEqual(count("TIMEOUT"), (0, 1, 0))
        self.assertEqual(count("ERROR"), (0, 1, 0))
        self.assertEqual(count("SKIP", "why\n", 77), (0, 0, 1))
        self.assertEqual(count("SKIP", self.SUMMARY.format(3, 0) + "skipped: 2 cases: why\n", 77),
                         (1, 0, 2))

    def test_a_skip_gives_its_reason(self):
        entry = {"result": "SKIP", "stdout": "a\nno io_uring here\n\n", "returncode": 77}
        self.assertEqual(results.from_meson(entry)[3], "no io_uring here")


if __name__ == "__main__":
    unittest.main()
