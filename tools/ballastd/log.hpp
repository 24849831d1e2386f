// One line on stderr for each event: time in UTC, level, name, then key=value. Lines are written
// whole, so that they do not mix with those of other processes on the same pipe. Where stderr is
// systemd's journal, which has a time and a priority of its own, a line begins with its priority
// ("<4>") in place of both. A thread writes them (log_writer.hpp): whoever logs, the loop above
// all, waits for nobody who reads. So many lines of one kind in a short time are held back and
// counted (log_limiter.hpp).
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "engine/checker/event.hpp"

namespace ballast::tools {

// "2026-11-24T06:12:01.123Z warning instance_down service=checkout reason=timeout", no newline.
// Values with spaces, quotes, '=' or control characters (C1 ones too, and what turns the direction
// of writing) are quoted and escaped as in JSON. Other UTF-8 stays; bytes that are none are escaped
// one by one.
[[nodiscard]] std::string format_event(const checker::Event& event,
                                       std::chrono::system_clock::time_point when);

// The same for the journal: "<4>instance_down service=checkout reason=timeout".
[[nodiscard]] std::string format_for_journal(const checker::Event& event);

// Whether `descriptor` is the journal's stream that `journal_stream` ("device:inode", systemd's
// JOURNAL_STREAM) names. It may have been sent elsewhere since.
[[nodiscard]] bool is_journal(int descriptor, const char* journal_stream) noexcept;

// Has one event written to stderr, unless there were too many of its name. Never fails and never
// waits: a line that cannot be written is lost, and counted. From any thread.
void log_event(const checker::Event& event) noexcept;

// Before the process ends: waits, a second at most, until all is written.
void flush_log() noexcept;

// Says how many lines were held back, of kinds that have become quiet. To be called now and then.
void log_held_back() noexcept;

}  // namespace ballast::tools
