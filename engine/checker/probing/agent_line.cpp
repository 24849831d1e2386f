// Takes the line apart word by word; what is none of the known words changes nothing.
#include "engine/checker/probing/agent_line.hpp"

#include <algorithm>
#include <charconv>

#include "engine/checker/probing/note.hpp"

namespace ballast::checker {
namespace {

constexpr std::string_view kSeparators = " \t,\r\n";
constexpr std::string_view kMaxConn = "maxconn:";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is(std::string_view word, std::string_view name) {
  return std::equal(word.begin(), word.end(), name.begin(), name.end(),
                    [](char a, char b) { return lower(a) == b; });
}

// Digits and nothing else, at most nine of them.
std::optional<std::uint32_t> number(std::string_view digits) {
  std::uint32_t value = 0;
  const char* const end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, value);
  if (digits.empty() || digits.size() > 9 || read.ec != std::errc() || read.ptr != end)
    return std::nullopt;
  return value;
}

// False if it is none that we know.
bool read_word(std::string_view word, engine::AgentReport& report) {
  using shm::Admin;
  if (is(word, "up")) {
    report.up = true;
  } else if (is(word, "down") || is(word, "fail") || is(word, "failed") || is(word, "stopped")) {
    report.up = false;
  } else if (is(word, "ready")) {
    report.admin = Admin::ready;
  } else if (is(word, "drain")) {
    report.admin = Admin::drain;
  } else if (is(word, "maint")) {
    report.admin = Admin::maintenance;
  } else if (word.ends_with('%')) {
    const auto percent = number(word.substr(0, word.size() - 1));
    if (!percent) return false;
    report.weight_percent = std::min(*percent, engine::kMaxAgentPercent);
  } else if (is(word.substr(0, kMaxConn.size()), kMaxConn)) {
    const auto most = number(word.substr(kMaxConn.size()));
    if (!most) return false;
    report.max_in_flight = std::min(*most, engine::kMaxAgentInFlight);
  } else {
    return false;
  }
  return true;
}

}  // namespace

AgentLine parse_agent_line(std::string_view line) {
  AgentLine result;
  const std::size_t hash = line.find('#');
  const std::string_view words = line.substr(0, hash);
  std::string_view health;  // the word for it
  for (std::size_t from = words.find_first_not_of(kSeparators); from != std::string_view::npos;) {
    const std::size_t to = std::min(words.find_first_of(kSeparators, from), words.size());
    const std::string_view word = words.substr(from, to - from);
    engine::AgentReport said;
    if (read_word(word, said)) {
      result.understood = true;
      result.report = engine::merged(result.report, said);
      if (said.up) health = *said.up ? std::string_view() : word;
    }
    from = words.find_first_not_of(kSeparators, to);
  }
  if (!result.understood) {
    result.note = to_note(line);
    return result;
  }
  std::string note(health);
  if (hash != std::string_view::npos) {
    if (!note.empty()) note += ": ";
    note += line.substr(hash + 1);
  }
  result.note = to_note(note);
  return result;
}

}  // namespace ballast::checker
