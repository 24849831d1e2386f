// One line on stderr for each event: time in UTC, level, name, then key=value. Lines are written
// whole, so that they do not mix with those of other processes on the same pipe.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "engine/checker/event.hpp"

namespace ballast::tools {

// "2026-11-24T06:12:01.123Z warning instance_down service=checkout reason=timeout", no newline.
// Values with spaces, quotes, '=' or control characters are quoted and escaped as in JSON.
[[nodiscard]] std::string format_event(const checker::Event& event,
                                       std::chrono::system_clock::time_point when);

// Writes one event to stderr, now. Never fails: a log that cannot be written is lost.
void log_event(const checker::Event& event) noexcept;

}  // namespace ballast::tools
