// Snapshots for people.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include "tools/ballast/instance_text.hpp"
#include "tools/ballast/policy_text.hpp"
#include "tools/ballast/render.hpp"
#include "tools/ballast/table.hpp"

namespace ballast::tools {
namespace {

constexpr const char* kGreen = "\x1b[32m";
constexpr const char* kRed = "\x1b[31m";
constexpr const char* kYellow = "\x1b[33m";
constexpr const char* kBold = "\x1b[1m";

constexpr std::size_t kHeadIndent = 11;

constexpr std::uint64_t kNsPerMs = 1'000'000;
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
// Ten beats missed: the checker is stopped, or has no processor to run on.
constexpr std::uint64_t kStaleHeartbeatNs = kNsPerSecond;

std::string harmless(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte >= 0x7F ? '?' : c;
  }
  return out;
}

std::string local_time(std::uint64_t ns) {
  if (ns == 0) return "-";
  const auto seconds = static_cast<std::time_t>(ns / kNsPerSecond);
  std::tm parts{};
  if (localtime_r(&seconds, &parts) == nullptr) return "?";
  return fmt::format("{:%F %T}", parts);
}

std::string bytes_text(std::uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  if (bytes < 1024 * 1024) return fmt::format("{:.1f} KiB", static_cast<double>(bytes) / 1024);
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1024 * 1024));
}

std::string plural(std::uint64_t count, const char* word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

std::string checker_text(const Snapshot& s) {
  switch (s.checker) {
    case CheckerState::running: {
      const bool stale = s.read_ns > s.heartbeat_ns + kStaleHeartbeatNs;
      const std::uint64_t age_ms =
          s.read_ns > s.heartbeat_ns ? (s.read_ns - s.heartbeat_ns) / kNsPerMs : 0;
      return fmt::format(
          "{}, pid {}, term {}, since {}, heartbeat {}",
          stale ? "holds the lease but does not beat" : "running", s.checker_pid, s.term,
          local_time(s.checker_since_ns),
          stale ? age_text(s.heartbeat_ns, s.read_ns) + " ago" : fmt::format("{} ms ago", age_ms));
    }
    case CheckerState::left:
      return fmt::format("none: the last one left in order, term {}, heartbeat {} ago", s.term,
                         age_text(s.heartbeat_ns, s.read_ns));
    case CheckerState::died:
      return fmt::format("none: pid {} died or this is a copy, term {}, heartbeat {} ago",
                         s.checker_pid, s.term, age_text(s.heartbeat_ns, s.read_ns));
    case CheckerState::unknown:
      break;
  }
  return fmt::format("unknown, heartbeat {} ago", age_text(s.heartbeat_ns, s.read_ns));
}

struct Usage {
  std::uint64_t live = 0;
  std::uint64_t cooling = 0;
};

Usage usage_of(const Snapshot& snapshot) {
  Usage usage;
  for (const auto& service : snapshot.services) {
    for (const auto& instance : service.instances) {
      ++(instance.phase == shm::Phase::live ? usage.live : usage.cooling);
    }
  }
  return usage;
}

std::string head_text(const Snapshot& s) {
  const Usage usage = usage_of(s);
  std::uint64_t rows = 0;
  for (const auto& row : s.rows)
    rows += row.owner != shm::Owner::none ? 1 : 0;
  std::string out;
  for (const std::string& warning : s.warnings)
    out += "warning: " + harmless(warning) + "\n";
  out += fmt::format("directory  {}\n", harmless(s.directory));
  out += fmt::format("checker    {}\n", checker_text(s));
  out += fmt::format("segment    {}, made {}{}, format {}.{}, table {}, workers {}", s.segment,
                     local_time(s.created_ns), s.this_boot ? "" : " in another boot", s.major,
                     s.minor, bytes_text(s.table_bytes), bytes_text(s.workers_bytes));
  if (s.previous_segment != 0) out += fmt::format(", draining {}", s.previous_segment);
  if (s.superseded_by != 0) out += fmt::format(", superseded by {}", s.superseded_by);
  out += fmt::format("\nroom       services {} of {}, instances {} of {}", s.services.size(),
                     s.service_capacity, usage.live, s.instance_capacity);
  if (usage.cooling != 0) out += fmt::format(" ({} cooling)", usage.cooling);
  out +=
      fmt::format(", rows {} of {}, arena {}\n", rows, s.row_capacity, bytes_text(s.arena_bytes));
  return out;
}

std::string service_text(const ServiceView& service, const Snapshot& snapshot, Colours colours,
                         std::size_t width) {
  const std::uint64_t now = snapshot.read_ns;
  const bool rates = snapshot.over_ns != 0;
  constexpr std::size_t kIndent = 2;
  const bool colour = colours == Colours::yes;
  std::uint64_t live = 0;
  std::uint64_t usable = 0;
  for (const auto& instance : service.instances) {
    if (instance.phase != shm::Phase::live) continue;
    ++live;
    usable += is_in_use(instance) ? 1 : 0;
  }
  const std::string name = harmless(service.name);
  std::string out =
      folded(fmt::format("service {}: {}, epoch {}, {}, {} usable{}, published {} ago\n", name,
                         strategy_text(service), service.epoch, plural(live, "instance"), usable,
                         service.out != 0 ? fmt::format(", {} ejected", service.out) : "",
                         age_text(service.changed_ns, now)),
             width, 10);
  // Now that the line is folded: escape sequences take no room.
  constexpr std::size_t kNameAt = 8;
  if (colour && out.compare(kNameAt, name.size(), name) == 0)
    out.replace(kNameAt, name.size(), kBold + name + "\x1b[0m");
  out = "\n" + out +
        folded(traffic_text(service, snapshot.over_ns) + policy_text(service), width, 12);
  if (service.instances.empty()) return out;
  TextTable table = instance_table(service, now, colour, false, rates);
  if (width != 0 && !table.fit(width, kIndent, kSparedGladly)) {
    table = instance_table(service, now, colour, true, rates);
    table.fit(width, kIndent, kSparedAtNeed);
  }
  return out + table.render(kIndent);
}

const char* owner_colour(shm::Owner owner) {
  if (owner == shm::Owner::alive) return kGreen;
  return owner == shm::Owner::dead ? kRed : kYellow;
}

}  // namespace

std::string age_text(std::uint64_t then_ns, std::uint64_t now_ns) {
  if (then_ns == 0) return "-";
  // The clock may have been set back a little between the two.
  if (then_ns > now_ns + kNsPerSecond) return "?";
  const std::uint64_t seconds = then_ns >= now_ns ? 0 : (now_ns - then_ns) / kNsPerSecond;
  if (seconds == 0) return "0 s";
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 120 * 60) return fmt::format("{} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86'400);
}

const char* to_text(CheckerState state) noexcept {
  switch (state) {
    case CheckerState::running:
      return "running";
    case CheckerState::left:
      return "left";
    case CheckerState::died:
      return "died";
    case CheckerState::unknown:
      break;
  }
  return "unknown";
}

const char* to_text(shm::Owner owner) noexcept {
  switch (owner) {
    case shm::Owner::none:
      return "free";
    case shm::Owner::alive:
      return "alive";
    case shm::Owner::dead:
      return "gone";
    case shm::Owner::unknown:
      break;
  }
  return "unknown";
}

std::string dump_text(const Snapshot& snapshot, Colours colours, std::size_t width) {
  std::string out = folded(head_text(snapshot), width, kHeadIndent);
  for (const auto& service : snapshot.services) {
    out += service_text(service, snapshot, colours, width);
  }
  return out;
}

std::string workers_text(const Snapshot& snapshot, Colours colours, std::size_t width) {
  std::string out = folded(head_text(snapshot), width, kHeadIndent) + "\n";
  if (snapshot.rows.empty()) return out + "no worker has attached yet\n";
  TextTable table({{"ROW", true},
                   {"OWNER"},
                   {"PID", true},
                   {"TID", true, 3},
                   {"COMMAND"},
                   {"ATTACHED", true, 4},
                   {"IN FLIGHT", true},
                   {"STARTED", true},
                   {"FAILED", true},
                   {"ABANDONED", true, 5},
                   {"TENANTS", true, 2},
                   {"REAPED", true, 1}});
  for (const auto& row : snapshot.rows) {
    const bool free = row.owner == shm::Owner::none;
    table.add({fmt::format("{}", row.index),
               {to_text(row.owner), colours == Colours::yes ? owner_colour(row.owner) : nullptr},
               free ? std::string("-") : fmt::format("{}", row.pid),
               free ? std::string("-") : fmt::format("{}", row.tid),
               free || row.command.empty() ? std::string("-") : harmless(row.command),
               free ? std::string("-") : age_text(row.claimed_ns, snapshot.read_ns),
               fmt::format("{}", in_flight_of(row.counters)),
               fmt::format("{}", row.counters[shm::kStarted]),
               fmt::format("{}", failures_of(row.counters)),
               fmt::format("{}", row.counters[shm::kAbandoned]),
               fmt::format("{}", row.incarnation),
               fmt::format("{}", row.reaps)});
  }
  if (width != 0) table.fit(width, 0, 5);
  return out + table.render(0);
}

}  // namespace ballast::tools
