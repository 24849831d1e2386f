// Formatting and writing log lines.
#include "tools/ballastd/log.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>

#include "tools/ballastd/log_limiter.hpp"

namespace ballast::tools {
namespace {

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  for (const char c : value) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == '"' || c == '=' || c == '\\' || c == 0x7F) {
      return true;
    }
  }
  return false;
}

void append_value(std::string& line, std::string_view value) {
  if (!needs_quotes(value)) {
    line += value;
    return;
  }
  line += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      line += '\\';
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      line += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      line += c;
    }
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

void write_whole(std::string_view rest) noexcept {
  while (!rest.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Of the process.
struct Log {
  std::mutex mutex;
  LogLimiter limiter;
  bool is_journal = tools::is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
};
Log& the_log() {
  static Log log;
  return log;
}

void write_event(const Log& log, const checker::Event& event) {
  write_whole((log.is_journal ? format_for_journal(event)
                              : format_event(event, std::chrono::system_clock::now())) +
              '\n');
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
