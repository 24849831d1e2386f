// The text format's rules: heads of families, escapes, numbers, and names that are not UTF-8.
#include "engine/checker/metrics/exposition.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

using namespace ballast::checker;

namespace {

std::string label(std::string_view value) {
  std::string text;
  append_label(text, "x", value);
  return text;
}

template <class Number>
std::string number(Number value) {
  std::string text;
  Exposition(text).sample("x", {}, value);
  return text;
}

}  // namespace

TEST_CASE("a family and its samples") {
  std::string text;
  Exposition to(text);
  to.family("ballast_things", MetricType::gauge, "What there is.");
  std::string labels;
  append_label(labels, "service", "checkout");
  append_label(labels, "instance", "[::1]:80");
  to.sample("ballast_things", labels, std::uint64_t{3});
  CHECK(text ==
        "# HELP ballast_things What there is.\n# TYPE ballast_things gauge\n"
        "ballast_things{service=\"checkout\",instance=\"[::1]:80\"} 3\n");
}

TEST_CASE("numbers") {
  CHECK(number(std::numeric_limits<std::uint64_t>::max()) == "x 18446744073709551615\n");
  CHECK(number(std::int64_t{-5}) == "x -5\n");
  CHECK(number(0.25) == "x 0.25\n");
  CHECK(number(1.7e9 + 0.125) == "x 1700000000.125\n");
  CHECK(number(std::nan("")) == "x NaN\n");
  CHECK(number(std::numeric_limits<double>::infinity()) == "x +Inf\n");
  CHECK(number(-std::numeric_limits<double>::infinity()) == "x -Inf\n");
}

TEST_CASE("what a label must not contain is escaped") {
  CHECK(label("a\"b\\c\nd") == R"(x="a\"b\\c\nd")");
  CHECK(label("größe €") == "x=\"größe €\"");
  CHECK(label("\U0001F600") == "x=\"\U0001F600\"");
}

TEST_CASE("what is not UTF-8 is replaced") {
  const std::string mark = "\xef\xbf\xbd";
  CHECK(label("a\xff") == "x=\"a" + mark + "\"");
  CHECK(label("\xc0\xaf") == "x=\"" + mark + mark + "\"");             // too long a form
  CHECK(label("\xed\xa0\x80") == "x=\"" + mark + mark + mark + "\"");  // a surrogate
  CHECK(label("\xf4\x90\x80\x80") == "x=\"" + mark + mark + mark + mark + "\"");
  CHECK(label("\xe2\x82") == "x=\"" + mark + mark + "\"");  // cut short
  CHECK(label("\xf0\x9f\x98") == "x=\"" + mark + mark + mark + "\"");
}
