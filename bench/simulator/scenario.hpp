// What the simulated backends are like and what happens to them, and the requests that come: open
// loop, Poisson, made beforehand, so that every strategy meets the same requests with the same
// amounts of work at the same moments. Plain data; a seed gives the same scenario everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ballast::bench::sim {

inline constexpr std::uint64_t kMillisecond_ns = 1'000'000;
inline constexpr std::uint64_t kSecond_ns = 1'000'000'000;

// How one backend shares itself among the requests it has.
enum class Discipline : std::uint8_t {
  queue,   // as many as it has servers are worked on, the others wait in order (prefork)
  shared,  // all are worked on, each with an equal share of the servers (threads, event loops)
};

struct Request {
  std::uint64_t arrives_ns;
  std::uint64_t key_hash;
  std::uint32_t worker;
  float work_ns;  // at full speed, alone
};

// Something that happens to one backend.
struct Change {
  enum class Kind : std::uint8_t {
    speed,   // `value`: its speed from now on, 1 is normal, 0 is a backend that hangs
    fails,   // `value` 1: answers every request at once with an error; 0: works again
    usable,  // `value` 0: its checks fail, 1: they pass
  };
  std::uint64_t at_ns;
  std::uint32_t backend;
  Kind kind;
  double value;
};

// What is the same in every scenario: numbers of a mid-sized service of prefork servers.
struct Scale {
  std::uint32_t backends = 64;
  std::uint32_t servers = 4;  // of each backend
  double work_ms = 10;        // mean
  double utilisation = 0.7;   // of what the backends can do on average
  double seconds = 12;
  double warm_up_seconds = 2;  // not counted
  double limit_ms = 2000;      // how long a client waits; a failed request counts as this late
  double fail_ms = 1;          // how fast a failing backend answers
};

struct Scenario {
  std::string name;
  Scale scale;
  Discipline discipline = Discipline::queue;
  bool uneven = false;  // backends differ: the goals against round robin and per-worker state count
  std::vector<Change> changes;  // in order of time
  std::vector<Request> requests;
};

// Their names, in the order in which they are shown.
[[nodiscard]] const std::vector<std::string>& scenario_names();
// Throws std::invalid_argument for a name that is not among them.
[[nodiscard]] Scenario make_scenario(const std::string& name, std::uint32_t workers,
                                     std::uint64_t seed, const Scale& scale);

}  // namespace ballast::bench::sim
