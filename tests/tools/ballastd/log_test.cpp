// Log lines: one event, one line, whatever the values hold.
#include "tools/ballastd/log.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

using ballast::checker::Event;
using ballast::checker::Level;
using ballast::tools::format_event;
using ballast::tools::format_for_journal;
using ballast::tools::is_journal;

namespace {

constexpr std::chrono::system_clock::time_point kWhen{std::chrono::milliseconds(1'700'000'000'042)};

}  // namespace

TEST_CASE("time, level, name, fields") {
  const Event event{Level::warning,
                    "instance_down",
                    {{"service", "checkout"}, {"instance", "[::1]:80"}, {"reason", "timeout"}}};
  CHECK(format_event(event, kWhen) ==
        "2023-11-14T22:13:20.042Z warning instance_down service=checkout instance=[::1]:80 "
        "reason=timeout");
  CHECK(format_event({Level::info, "ready", {}}, kWhen) == "2023-11-14T22:13:20.042Z info ready");
  CHECK(format_event({Level::error, "failed", {}}, kWhen) ==
        "2023-11-14T22:13:20.042Z error failed");
}

TEST_CASE("the journal has a time of its own, and wants the priority first") {
  const Event event{Level::warning, "instance_down", {{"service", "a b"}}};
  CHECK(format_for_journal(event) == "<4>instance_down service=\"a b\"");
  CHECK(format_for_journal({Level::info, "ready", {}}) == "<6>ready");
  CHECK(format_for_journal({Level::error, "failed", {}}) == "<3>failed");
}

TEST_CASE("the journal is where stderr is the stream that it named") {
  struct stat status = {};
  REQUIRE(::fstat(STDERR_FILENO, &status) == 0);
  const std::string name = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  CHECK(is_journal(STDERR_FILENO, name.c_str()));
  CHECK_FALSE(is_journal(STDERR_FILENO, (name + "1").c_str()));
  for (const char* text : {"", ":", "1", "1:", ":1", "a:b", "1:1x"})
    CHECK_FALSE(is_journal(STDERR_FILENO, text));
  CHECK_FALSE(is_journal(STDERR_FILENO, nullptr));
}

TEST_CASE("values cannot break the line or pose as other fields") {
  const auto value = [](const char* text) {
    const std::string line = format_event({Level::info, "e", {{"v", text}}}, kWhen);
    return line.substr(line.find("v=") + 2);
  };
  CHECK(value("plain:/text-1.5%") == "plain:/text-1.5%");
  CHECK(value("") == "\"\"");
  CHECK(value("two words") == "\"two words\"");
  CHECK(value("a=b") == "\"a=b\"");
  CHECK(value("say \"x\" \\") == "\"say \\\"x\\\" \\\\\"");
  CHECK(value("line\nbreak\x1b") == "\"line\\nbreak\\u001b\"");
  // What terminals obey beyond ASCII (C1: as UTF-8, and as a bare byte), and what turns a line
  // round.
  CHECK(value("a\xC2\x9B"
              "31m") == "\"a\\u009b31m\"");
  CHECK(value("a\x9B"
              "31m") == "\"a\\u009b31m\"");
  CHECK(value("a\xE2\x80\xAE"
              "b") == "\"a\\u202eb\"");
  CHECK(value("a\xE2\x80\xA8"
              "b") == "\"a\\u2028b\"");
  // Other text stays, and bytes that are none do not hide what follows them.
  CHECK(value("gr\xC3\xBC\xC3\x9F"
              "e-\xF0\x9F\x9A\x80") ==
        "gr\xC3\xBC\xC3\x9F"
        "e-\xF0\x9F\x9A\x80");
  CHECK(value("\xC3\"x") == "\"\\u00c3\\\"x\"");
  CHECK(value("\xC1\x9B") == "\"\\u00c1\\u009b\"");
  CHECK(value("\xED\xA0\x80") == "\"\\u00ed\\u00a0\\u0080\"");
  CHECK(value("\xE2\x80") == "\"\\u00e2\\u0080\"");
}
