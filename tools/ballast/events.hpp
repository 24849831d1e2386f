// `ballast events`: the flight recorder for people and programs, once or as it goes on. Reads the
// files and nothing else, so it works without a checker and after everything has crashed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/inspect/event_log.hpp"
#include "shm/event.hpp"
#include "tools/ballast/cli.hpp"
#include "tools/ballast/render.hpp"

namespace ballast::tools {

struct EventsRequest {
  bool json = false;
  bool follow = false;
  std::string service;                 // empty: all
  std::string instance;                // "10.0.0.1:80"; empty: all
  std::uint64_t since_ns = 0;          // CLOCK_REALTIME
  std::optional<std::uint64_t> count;  // the last so many; nothing: all, or 10 with `follow`
};

// "90s", "10m", "2h", "3d" before `now_ns`, or a time: "2026-11-24", "2026-11-24T06:38",
// "2026-11-24 06:38:50", with or without Z, always UTC. Nothing if it is neither.
[[nodiscard]] std::optional<std::uint64_t> parse_since(std::string_view text, std::uint64_t now_ns);

// Makes lines of events. Columns are as wide as they have been needed so far.
class EventLines {
 public:
  EventLines(bool json, Colours colours) : json_(json), colours_(colours) {}
  [[nodiscard]] std::string render(const std::vector<shm::Event>& events);

 private:
  bool json_;
  Colours colours_;
  std::size_t kind_width_ = 0;
  std::size_t service_width_ = 0;
  std::size_t instance_width_ = 0;
};

// Writes what is there, and with `follow` what comes, until the writer says no.
void show_events(inspect::EventLog& log, const EventsRequest& request, Colours colours,
                 const Writer& write);

}  // namespace ballast::tools
