// Formatting and writing log lines.
#include "tools/ballastd/log.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>

#include "tools/ballastd/log_limiter.hpp"
#include "tools/ballastd/log_writer.hpp"

namespace ballast::tools {
namespace {

// At the end of the process, for whoever is slow to read.
constexpr std::chrono::milliseconds kFlushPatience{1000};

// The first character of `text`: how many bytes it has, and its number. Bytes that are no UTF-8
// stand for themselves, one by one.
struct Character {
  std::size_t bytes = 1;
  std::uint32_t number = 0;
  bool is_text = true;
};
Character first_of(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const Character raw{1, byte(0), byte(0) < 0x80};
  if (raw.is_text) return raw;
  const std::size_t bytes = byte(0) >= 0xF0 ? 4 : byte(0) >= 0xE0 ? 3 : 2;
  if (byte(0) < 0xC2 || byte(0) > 0xF4 || text.size() < bytes) return raw;
  std::uint32_t number = byte(0) & (0xFFU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0U) != 0x80) return raw;
    number = number << 6 | (byte(i) & 0x3FU);
  }
  constexpr std::array<std::uint32_t, 5> kLeast{0, 0, 0x80, 0x800, 0x10000};
  if (number < kLeast[bytes] || number > 0x10FFFF || (number >= 0xD800 && number < 0xE000))
    return raw;
  return {bytes, number, true};
}

// What a terminal would obey, or what would show a line other than it is: controls, of which C1 are
// beyond ASCII, ends of lines and paragraphs, and what turns the direction of writing.
bool is_control(const Character& one) {
  const std::uint32_t n = one.number;
  return !one.is_text || n < 0x20 || (n >= 0x7F && n < 0xA0) || (n >= 0x2028 && n <= 0x202E) ||
         (n >= 0x2066 && n <= 0x2069);
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  while (!value.empty()) {
    const Character one = first_of(value);
    if (is_control(one) || one.number == ' ' || one.number == '"' || one.number == '=' ||
        one.number == '\\') {
      return true;
    }
    value.remove_prefix(one.bytes);
  }
  return false;
}

void append_value(std::string& line, std::string_view value) {
  if (!needs_quotes(value)) {
    line += value;
    return;
  }
  line += '"';
  while (!value.empty()) {
    const Character one = first_of(value);
    if (one.number == '"' || one.number == '\\') {
      line += '\\';
      line += value[0];
    } else if (one.number == '\n') {
      line += "\\n";
    } else if (is_control(one)) {
      line += fmt::format("\\u{:04x}", one.number);
    } else {
      line += value.substr(0, one.bytes);
    }
    value.remove_prefix(one.bytes);
  }
  line += '"';
}

const char* level_text(checker::Level level) {
  switch (level) {
    case checker::Level::info:
      return "info";
    case checker::Level::warning:
      return "warning";
    case checker::Level::error:
      return "error";
  }
  return "unknown";
}

// As syslog numbers them.
int priority_of(checker::Level level) {
  switch (level) {
    case checker::Level::info:
      return 6;
    case checker::Level::warning:
      return 4;
    case checker::Level::error:
      break;
  }
  return 3;
}

void append_fields(std::string& line, const checker::Event& event) {
  for (const auto& [key, value] : event.fields) {
    line += ' ';
    line += key;
    line += '=';
    append_value(line, value);
  }
}

std::string line_of(bool is_journal, const checker::Event& event) {
  return (is_journal ? format_for_journal(event)
                     : format_event(event, std::chrono::system_clock::now())) +
         '\n';
}

// Of the process.
struct Log {
  std::mutex mutex;
  LogLimiter limiter;
  bool is_journal = tools::is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
  LogWriter writer{STDERR_FILENO, [journal = is_journal](std::uint64_t lines) {
                     return line_of(journal, {checker::Level::warning,
                                              "log_lost",
                                              {{"lines", std::to_string(lines)},
                                               {"because", "nobody took them in time"}}});
                   }};
};
// Never destroyed: other threads may log until the process ends.
Log& the_log() {
  static Log& log = *new Log;
  return log;
}

void write_event(Log& log, const checker::Event& event) {
  log.writer.put(line_of(log.is_journal, event));
}

}  // namespace

std::string format_event(const checker::Event& event, std::chrono::system_clock::time_point when) {
  using std::chrono::duration_cast;
  const auto since_epoch = duration_cast<std::chrono::milliseconds>(when.time_since_epoch());
  const std::time_t seconds = since_epoch.count() / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::string line =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z {} {}", utc.tm_year + 1900,
                  utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                  since_epoch.count() % 1000, level_text(event.level), event.name);
  append_fields(line, event);
  return line;
}

std::string format_for_journal(const checker::Event& event) {
  std::string line = fmt::format("<{}>{}", priority_of(event.level), event.name);
  append_fields(line, event);
  return line;
}

bool is_journal(int descriptor, const char* journal_stream) noexcept {
  if (journal_stream == nullptr) return false;
  unsigned long long device = 0;
  unsigned long long inode = 0;
  const char* const end = journal_stream + std::strlen(journal_stream);
  const auto first = std::from_chars(journal_stream, end, device);
  if (first.ec != std::errc{} || first.ptr == end || *first.ptr != ':') return false;
  const auto second = std::from_chars(first.ptr + 1, end, inode);
  if (second.ec != std::errc{} || second.ptr != end) return false;
  struct stat status = {};
  return ::fstat(descriptor, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_event(const checker::Event& event) noexcept {
  try {
    Log& log = the_log();
    const std::lock_guard guard(log.mutex);
    const auto held_back = log.limiter.admit(event.name, std::chrono::steady_clock::now());
    if (!held_back) return;
    if (*held_back == 0) return write_event(log, event);
    checker::Event more = event;
    more.fields.emplace_back("suppressed", std::to_string(*held_back));
    write_event(log, more);
  } catch (...) {
    return;  // out of memory for a log line: the checker goes on
  }
}

void flush_log() noexcept {
  try {
    the_log().writer.flush(kFlushPatience);
  } catch (...) {
    return;
  }
}

void log_held_back() noexcept {
  try {
    Log& log = the_log();
    const std::lock_guard guard(log.mutex);
    for (const auto& [name, count] : log.limiter.take_overdue(std::chrono::steady_clock::now())) {
      write_event(log, {checker::Level::warning,
                        "held_back",
                        {{"event", name}, {"suppressed", std::to_string(count)}}});
    }
  } catch (...) {
    return;
  }
}

}  // namespace ballast::tools
