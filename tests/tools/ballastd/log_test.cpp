// Log lines: one event, one line, whatever the values hold.
#include "tools/ballastd/log.hpp"

#include <doctest/doctest.h>

using ballast::checker::Event;
using ballast::checker::Level;
using ballast::tools::format_event;

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
}
