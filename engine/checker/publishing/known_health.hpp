// What a directory's present table says about instances, read without any right to write: where a
// checker in the shadow starts from, before it has the lease.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "shm/endpoint.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

// An instance as people know it: its service's name and its address.
using InstanceKey = std::pair<std::string, std::array<std::uint64_t, 3>>;

// Empty when there is no table, or none that this build can read.
[[nodiscard]] std::map<InstanceKey, shm::Health> read_known_health(const std::string& directory);

}  // namespace ballast::checker
