// What the demo reads of the mapped table, as any tool may: read-only, without a row, whether or
// not a checker lives. The workers' own figures come from the board (board.hpp); these are the ones
// they are compared with.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>

#include "tools/demo/board.hpp"
#include "tools/demo/servers.hpp"

namespace ballast::tools::demo {

struct TableInstance {
  bool usable = false;
  std::uint64_t checks = 0;
  std::uint64_t check_failures = 0;
  std::uint64_t flips = 0;
  std::int64_t in_flight = 0;
};

struct TableFacts {
  bool checker_lives = false;
  std::uint64_t term = 0;
  std::uint64_t checker_pid = 0;
  std::uint64_t heartbeat = 0;
  std::array<TableInstance, kServers> instances{};
  std::uint64_t usable = 0;
  std::uint64_t flips = 0;  // changes of health, of all instances
  std::uint64_t checks = 0;
  std::uint64_t check_failures = 0;
  std::int64_t in_flight = 0;
};

// What one worker process has counted, by its row.
struct RowFacts {
  bool found = false;
  std::int64_t in_flight = 0;
  std::uint64_t abandoned = 0;
};

// Both throw Failure if the namespace cannot be read.
TableFacts look_at_table(const std::string& directory, const Servers& servers);
// The row that the process has, or had if nobody took it since.
RowFacts look_at_row(const std::string& directory, pid_t pid);

}  // namespace ballast::tools::demo
