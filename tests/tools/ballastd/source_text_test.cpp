// Carets land under the character that is meant, whatever is on the line; and the text that a
// recursive parser could not survive is refused before it sees it.
#include "tools/ballastd/source_text.hpp"

#include <doctest/doctest.h>

using ballast::tools::SourceText;

TEST_CASE("one place") {
  const SourceText source("f.toml", "a = 1\nb = 20\n");
  const auto out = source.diagnose("20 is wrong", "use 2", {{{10, 2}, "here"}});
  CHECK(out.line == "f.toml:2:5: 20 is wrong: use 2");
  CHECK(out.text ==
        "f.toml:2:5: 20 is wrong: use 2\n"
        "   |\n"
        " 2 | b = 20\n"
        "   |     ^~ here");
}

TEST_CASE("two places share one gutter") {
  std::string text;
  for (int i = 0; i < 12; ++i)
    text += "x\n";
  const SourceText source("f", text);
  const auto out =
      source.diagnose("twice", "remove one", {{{22, 1}, "this"}, {{2, 1}, "and this"}});
  CHECK(out.text ==
        "f:12:1: twice: remove one\n"
        "    |\n"
        " 12 | x\n"
        "    | ^ this\n"
        "   ...\n"
        "  2 | x\n"
        "    | ^ and this");
}

TEST_CASE("tabs, wide characters and carriage returns keep the caret in place") {
  const SourceText source("f", "\tn\xC3\xA9 = \"\xE2\x82\xAC\" z\r\nlast");
  const auto at = source.text().find('z');
  const auto out = source.diagnose("m", "", {{{at, 1}, ""}});
  CHECK(out.line == "f:1:11: m");
  CHECK(out.text ==
        "f:1:11: m\n"
        "   |\n"
        " 1 | \tn\xC3\xA9 = \"\xE2\x82\xAC\" z\n"
        "   | \t         ^");
}

TEST_CASE("a long line is cut to a window around the caret") {
  const std::string text = std::string(5000, 'a') + "b" + std::string(5000, 'c');
  const SourceText source("f", text);
  const auto out = source.diagnose("m", "", {{{5000, 1}, ""}});
  CHECK(out.text ==
        "f:1:5001: m\n"
        "   |\n"
        " 1 | ..." +
            std::string(50, 'a') + "b" + std::string(49, 'c') +
            "...\n"
            "   | " +
            std::string(53, ' ') + "^");
}

TEST_CASE("control characters do not reach the terminal") {
  const SourceText source("f", "a\x1B[31mb");
  CHECK(source.diagnose("m", "", {{{0, 1}, ""}}).text == "f:1:1: m\n   |\n 1 | a?[31mb\n   | ^");
}

TEST_CASE("offsets outside the text are harmless") {
  const SourceText source("f", "ab\n");
  CHECK(source.offset_of(0, 0) == 0);
  CHECK(source.offset_of(1, 2) == 1);
  CHECK(source.offset_of(9, 9) == 3);
  CHECK(source.diagnose("m", "", {{{3, 5}, ""}}).line == "f:2:1: m");
  CHECK(SourceText("f", "").diagnose("m", "", {{{0, 1}, ""}}).line == "f:1:1: m");
}

TEST_CASE("what is not UTF-8 is refused where it stands") {
  for (const char* bad : {"\xFF", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                          "\xF0\x80\x80\x80", "\xE2\x82", "\x80", "\xC3"}) {
    const auto out = SourceText("f", std::string("# fine\n# ") + bad).check_text();
    REQUIRE(out.has_value());
    CHECK(out->line == "f:2:3: this byte is not UTF-8: save the file as UTF-8");
  }
  CHECK_FALSE(SourceText("f", "# \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x9A\xA2").check_text());
}

TEST_CASE("nesting is bounded before a recursive parser sees it") {
  const std::string deep = "a = " + std::string(100'000, '[');
  const auto out = SourceText("f", deep).check_text();
  REQUIRE(out.has_value());
  CHECK(out->line == "f:1:37: brackets are nested deeper than 32: close the ones before it");
  const std::string harmless = "a = [\"" + std::string(100, '[') + "\", '" + std::string(100, '{') +
                               "'] # " + std::string(100, '[') + "\nb = \"\\\"[[\"\nc = '''\n" +
                               std::string(100, '[') + "'''\n";
  CHECK_FALSE(SourceText("f", harmless).check_text());
}
