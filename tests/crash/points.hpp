// Death and standstill at named points. Processes forked here run Ballast's own sources, compiled
// with BALLAST_CRASH_POINTS; at a chosen hit of a chosen point the process kills or stops itself. A
// ledger in memory that parent and children share counts what was really started and reported: the
// points lie directly behind the stores, so it is exact whoever dies where.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace ballast::crash {

// What all processes of a test have done to the counters of one namespace.
struct Ledger {
  std::uint64_t started = 0;
  std::uint64_t reported = 0;
};

// Shared with children forked later. Starts at zero.
[[nodiscard]] Ledger& ledger();

// What a child is to do to itself.
struct Fate {
  std::string point;      // empty: nothing
  std::uint64_t hit = 1;  // at which passage
  int signal = 9;
};

// How often each point was passed.
using Profile = std::map<std::string, std::uint64_t>;

struct Ended {
  bool killed = false;   // by the fate's signal
  bool stopped = false;  // likewise, and still there
  int exit_code = -1;    // of one that went to its end
  pid_t pid = -1;
};

// Runs `work` in a forked child under `fate` and waits for its end, or its standstill.
Ended run_child(const Fate& fate, const std::function<void()>& work);
// What a stopped child does once it is let go on; without a signal of its own this time.
Ended resume(pid_t pid);
Ended kill_stopped(pid_t pid);

// Runs `work` in a child to its end and returns which points it passed.
Profile profile_of(const std::function<void()>& work);

// In a child: ends it with a line that says why.
[[noreturn]] void give_up(const std::string& why);

}  // namespace ballast::crash
