// What the demo found out, as plain figures: filled by the story, shown and judged by the summary.
// Times are nanoseconds of CLOCK_MONOTONIC or differences of them.
#pragma once

#include <array>
#include <cstdint>

#include "tools/demo/board.hpp"
#include "tools/demo/table_reader.hpp"

namespace ballast::tools::demo {

using KeysByServer = std::array<std::uint64_t, kServers>;

struct ServerDeath {
  unsigned server = 0;
  KeysByServer keys_meanwhile{};  // where all keys went while it was dead
  // From just before the SIGKILL, the worst of all workers: until its last first pick that fell on
  // the dead server (0: there was none); until its first pick of one of that server's keys, after
  // that, which did not.
  std::uint64_t last_pick_ns = 0;
  std::uint64_t seen_by_all_ns = 0;
  std::uint64_t back_in_use_ns = 0;  // from the start of the new process
  std::uint64_t keys_not_home = 0;   // after that
};

// A server that passes its checks and answers requests with 500.
struct ServerSickness {
  std::uint64_t bad_answers = 0;     // that the workers got before all avoided it
  std::uint64_t seen_by_all_ns = 0;  // from the first one on
  std::uint64_t back_in_use_ns = 0;  // from its recovery until all of its keys were home
};

struct WorkerDeath {
  std::size_t worker = 0;
  std::int64_t seen_in_flight = 0;  // in its row, when looked at first after its death
  std::uint64_t held = 0;           // counted as abandoned when its row was reaped
  std::uint64_t reaped_ns = 0;      // from its end
};

struct CheckerDeath {
  std::uint64_t term_before = 0;
  std::uint64_t term_after = 0;
  std::uint64_t away_ns = 0;         // from the SIGKILL to the start of the new process
  std::uint64_t adopted_ns = 0;      // from then until the table names it and its heart beats
  std::uint64_t requests = 0;        // from the SIGKILL to the adoption
  std::uint64_t client_errors = 0;   // in the same time
  std::uint64_t health_changes = 0;  // from the SIGKILL to the end of the demo
  std::uint64_t keys_not_home = 0;   // looked at while it was dead, and after the adoption
};

struct Findings {
  KeysByServer keys{};  // that each server owns
  ServerDeath server;
  ServerSickness sickness;
  WorkerDeath worker;
  CheckerDeath checker;
  std::array<pid_t, kWorkers> worker_pids{};
  std::uint64_t traffic_ns = 0;
  std::uint64_t settled_ns = 0;  // from the end of the traffic until nothing was in flight
  TableFacts table;              // after that
};

}  // namespace ballast::tools::demo
