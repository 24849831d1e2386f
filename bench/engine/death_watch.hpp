// Workers that watch a server die, for the benchmarks of deaths: two pinned processes, each with a
// key for every instance that is to die, which it picks until each key has gone elsewhere. Between
// two looks that still fall on the dead they rest, as workers do that wait for requests.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/support/processes.hpp"
#include "shm/endpoint.hpp"

namespace ballast::bench {

inline constexpr unsigned kDeathWorkers = 2;

struct Rest {
  long ns = 0;  // between two looks; 0: never
};

// `count` endpoints that nobody listens on, 127.SECOND.x.y with one port.
[[nodiscard]] std::vector<shm::Endpoint> endpoints_of(std::size_t count, std::uint8_t second);

// The active segment, once so many instances in it are up. Throws if that does not come about.
[[nodiscard]] std::uint64_t wait_until_up(const std::string& directory, std::size_t instances);

// Milliseconds from before `kill` is called until the last worker has had all keys of `dying` go
// elsewhere. `kill` returns as soon as the signal is sent. With `real_time` the workers take a
// processor when they want it; they must rest then.
[[nodiscard]] double watch_death(const std::string& directory, std::uint64_t segment,
                                 const std::vector<shm::Endpoint>& dying, Rest rest,
                                 const std::function<void()>& kill, bool real_time = false);

}  // namespace ballast::bench
