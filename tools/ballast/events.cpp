// Choosing and rendering events.
#include "tools/ballast/events.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/inspect/event_text.hpp"

namespace ballast::tools {
namespace {

using shm::EventKind;

constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::chrono::milliseconds kPoll{50};
constexpr std::uint64_t kShownBeforeFollowing = 10;

constexpr const char* kRed = "\x1b[31m";
constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kPlain = "\x1b[0m";

const char* colour_of(EventKind kind) {
  switch (kind) {
    case EventKind::instance_down:
    case EventKind::panic_began:
    case EventKind::breaker_opened:
    case EventKind::instance_ejected:
    case EventKind::source_failed:
    case EventKind::row_reaped:
    case EventKind::workers_file_lost:
    case EventKind::directory_gone:
      return kRed;
    case EventKind::instance_up:
    case EventKind::panic_ended:
    case EventKind::breaker_closed:
    case EventKind::instance_taken_back:
    case EventKind::source_recovered:
      return kGreen;
    default:
      return kYellow;
  }
}

std::string time_text(std::uint64_t ns) {
  const auto seconds = static_cast<std::time_t>(ns / kSecond);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     ns % kSecond / 1'000'000);
}

bool is_wanted(const EventsRequest& request, const shm::Event& event) {
  if (event.time_ns < request.since_ns) return false;
  if (!request.service.empty() && event.service != request.service) return false;
  return request.instance.empty() ||
         (shm::is_about_instance(event.kind) && event.endpoint.to_text() == request.instance);
}

std::string json_line(const shm::Event& event) {
  nlohmann::ordered_json line{{"time", time_text(event.time_ns)},
                              {"time_ns", event.time_ns},
                              {"kind", shm::to_text(event.kind)}};
  for (const inspect::EventField& field : inspect::describe(event)) {
    if (!field.is_number) {
      line[field.name] = field.text;
      continue;
    }
    std::int64_t number = 0;
    const auto* const end = field.text.data() + field.text.size();
    if (std::from_chars(field.text.data(), end, number).ptr == end) {
      line[field.name] = number;
    } else {
      line[field.name] = field.text;  // beyond what JSON's readers count with
    }
  }
  return line.dump() + "\n";
}

struct Parts {
  std::string service;
  std::string instance;
  std::string rest;
};

Parts parts_of(const shm::Event& event) {
  Parts parts;
  for (inspect::EventField& field : inspect::describe(event)) {
    if (field.name == "service") {
      parts.service = std::move(field.text);
    } else if (field.name == "instance") {
      parts.instance = std::move(field.text);
    } else {
      parts.rest += (parts.rest.empty() ? "" : " ") + field.name + '=' + field.text;
    }
  }
  return parts;
}

// Reads a whole number of exactly `digits`, at the start of `text`, and takes it off.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  int number = 0;
  if (text.size() < digits) return std::nullopt;
  const char* const end = text.data() + digits;
  const auto [ptr, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || ptr != end || number < 0) return std::nullopt;
  text.remove_prefix(digits);
  return number;
}

bool take_any(std::string_view& text, std::string_view of) {
  if (text.empty() || of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::uint64_t> parse_moment(std::string_view text) {
  std::array<int, 6> parts{1970, 1, 1, 0, 0, 0};
  constexpr std::array<std::string_view, 6> kBefore{"", "-", "-", "T ", ":", ":"};
  std::size_t given = 0;
  for (; given < parts.size() && !text.empty() && text != "Z"; ++given) {
    if (given != 0 && !take_any(text, kBefore.at(given))) return std::nullopt;
    const auto number = take_number(text, given == 0 ? 4 : 2);
    if (!number) return std::nullopt;
    parts.at(given) = *number;
  }
  static_cast<void>(take_any(text, "Z"));
  if (!text.empty() || given < 3 || given == 4) return std::nullopt;
  std::tm utc{};
  utc.tm_year = parts[0] - 1900;
  utc.tm_mon = parts[1] - 1;
  utc.tm_mday = parts[2];
  utc.tm_hour = parts[3];
  utc.tm_min = parts[4];
  utc.tm_sec = parts[5];
  std::tm normal = utc;
  const std::time_t seconds = timegm(&normal);
  // The 31st of February is no day.
  if (seconds < 0 || normal.tm_mon != utc.tm_mon || normal.tm_mday != utc.tm_mday ||
      normal.tm_hour != utc.tm_hour || normal.tm_min != utc.tm_min) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(seconds) * kSecond;
}

}  // namespace

std::optional<std::uint64_t> parse_since(std::string_view text, std::uint64_t now_ns) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [ptr, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc{} && end - ptr == 1) {
    std::uint64_t unit = 0;
    if (*ptr == 's') unit = 1;
    if (*ptr == 'm') unit = 60;
    if (*ptr == 'h') unit = 3600;
    if (*ptr == 'd') unit = 86400;
    if (unit == 0) return std::nullopt;
    // Longer ago than there are clocks is all.
    if (number > now_ns / kSecond / unit) return 0;
    return now_ns - number * unit * kSecond;
  }
  return parse_moment(text);
}

std::string EventLines::render(const std::vector<shm::Event>& events) {
  std::string out;
  if (json_) {
    for (const shm::Event& event : events)
      out += json_line(event);
    return out;
  }
  std::vector<Parts> parts;
  parts.reserve(events.size());
  for (const shm::Event& event : events) {
    parts.push_back(parts_of(event));
    kind_width_ = std::max(kind_width_, std::string_view(shm::to_text(event.kind)).size());
    service_width_ = std::max(service_width_, parts.back().service.size());
    instance_width_ = std::max(instance_width_, parts.back().instance.size());
  }
  for (std::size_t i = 0; i < events.size(); ++i) {
    const bool coloured = colours_ == Colours::yes;
    std::string line =
        fmt::format("{}  {}{:<{}}{}  {:<{}}  {:<{}}  {}", time_text(events[i].time_ns),
                    coloured ? colour_of(events[i].kind) : "", shm::to_text(events[i].kind),
                    kind_width_, coloured ? kPlain : "", parts[i].service, service_width_,
                    parts[i].instance, instance_width_, parts[i].rest);
    line.resize(line.find_last_not_of(' ') + 1);
    out += line + '\n';
  }
  return out;
}

void show_events(inspect::EventLog& log, const EventsRequest& request, Colours colours,
                 const Writer& write) {
  EventLines lines(request.json, colours);
  const auto wanted = [&] {
    std::vector<shm::Event> events = log.look();
    std::erase_if(events, [&](const shm::Event& event) { return !is_wanted(request, event); });
    return events;
  };
  std::vector<shm::Event> events = wanted();
  const std::uint64_t most = request.count.value_or(
      request.follow ? kShownBeforeFollowing : static_cast<std::uint64_t>(events.size()));
  if (events.size() > most)
    events.erase(events.begin(), events.end() - static_cast<std::ptrdiff_t>(most));
  bool goes_on = write(lines.render(events));
  std::uint64_t missed = log.missed();
  while (request.follow && goes_on) {
    std::this_thread::sleep_for(kPoll);
    goes_on = write(lines.render(wanted()));
    if (log.missed() == missed || request.json) continue;
    goes_on = goes_on && write(fmt::format("({} events were overwritten before they were read)\n",
                                           log.missed() - missed));
    missed = log.missed();
  }
}

}  // namespace ballast::tools
