// Formatting and writing log lines.
#include "tools/ballastd/log.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

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
  for (const auto& [key, value] : event.fields) {
    line += ' ';
    line += key;
    line += '=';
    append_value(line, value);
  }
  return line;
}

void log_event(const checker::Event& event) noexcept {
  try {
    const std::string line = format_event(event, std::chrono::system_clock::now()) + '\n';
    std::string_view rest = line;
    while (!rest.empty()) {
      const ssize_t written = ::write(STDERR_FILENO, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
  } catch (...) {
    return;  // out of memory for a log line: the checker goes on
  }
}

}  // namespace ballast::tools
