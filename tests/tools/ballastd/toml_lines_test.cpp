// Long lines broken for the parser: where, what stays as it is, and that errors point into the file
// as it was written.
#include "tools/ballastd/toml_lines.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>

#include "tests/tools/ballastd/config_errors.hpp"

namespace tools = ballast::tools;
using ballast::tests::errors_of;
using ballast::tests::read_text;
using tools::TomlLines;

namespace {

std::size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  std::size_t longest = 0;
  for (std::string line; std::getline(lines, line);)
    longest = std::max(longest, line.size());
  return longest;
}

std::string element(int i) {
  return R"({ address = "127.)" + std::to_string(i / 62'500) + "." + std::to_string(i / 250 % 250) +
         "." + std::to_string(1 + i % 250) + R"(:80", weight = 2 })";
}

// So many instances on one line, the one of number `wrong` in words of its own.
std::string on_one_line(int count, int wrong = -1, const std::string& instead = {}) {
  std::string text = "[service.web]\ninstances = [";
  for (int i = 0; i < count; ++i)
    text += (i == 0 ? "" : ", ") + (i == wrong ? instead : element(i));
  return text + "]\n";
}

}  // namespace

TEST_CASE("lines are broken between the elements of arrays, and places lead back") {
  const std::string text = on_one_line(1000);
  const TomlLines lines(text);
  CHECK(longest_line(lines.text()) <= TomlLines::kLongLine + element(0).size() + 20);
  std::size_t added = 0;
  for (std::size_t i = 0; i < lines.text().size(); ++i) {
    REQUIRE(lines.original(i) == i - added);
    if (lines.text()[i] == text[i - added]) continue;
    REQUIRE(lines.text()[i] == '\n');
    REQUIRE(text[i - added - 1] == ',');
    ++added;
  }
  CHECK(added + text.size() == lines.text().size());
  CHECK(lines.original(lines.text().size()) == text.size());
}

TEST_CASE("what is no comma of an array stays whole") {
  const std::string commas(3 * TomlLines::kLongLine, ',');
  for (const std::string& text : {
           "a = \"" + commas + "\"\n",
           "a = ['" + commas + "']\n",
           "a = [\"\"\"" + commas + "\n" + commas + "\"\"\"]\n",
           "a = [ # " + commas + "\n1]\n",
           "a = {" + commas + "}\n",
           "a = [{" + commas + "}]\n",
           "a = \"[" + commas + "\n",  // never closed
           "a = '" + commas,
           commas + "]}" + commas,
           std::string("a = [1, 2, 3]\nb = [4,\n5]\n"),
           std::string(),
       }) {
    CHECK(TomlLines(text).text() == text);
  }
}

TEST_CASE("six thousand instances on one line are read, however many lines they could be") {
  // Were the parser's work to grow with the line for each of them, this would take five minutes.
  const auto result = read_text(on_one_line(12'000));
  REQUIRE(result.settings);
  CHECK(result.settings->services.at(0).instances.size() == 12'000);
}

TEST_CASE("errors in a long line point to where they stand in the file") {
  const auto column = [&](int wrong, const std::string& instead, const std::string& what) {
    const std::string text = on_one_line(1000, wrong, instead);
    const std::size_t at = text.find(instead) + instead.rfind(what) - text.find("instances") + 1;
    const std::string errors = errors_of(text);
    CHECK_MESSAGE(errors.starts_with("f.toml:2:" + std::to_string(at) + ": "), errors);
    CHECK_MESSAGE(errors.find(what) != std::string::npos, errors);
  };
  column(700, R"({ address = "nowhere:80" })", "\"nowhere:80\"");
  column(999, R"({ address = "10.0.0.1:80", wait = 1 })", "wait");
  column(500, "\"10.0.0.1:80\" 7", "7");
}
