// What a directory's present table says about instances, read without any right to write: where a
// checker in the shadow starts from, before it has the lease, and who belonged to a service before
// its sources say so again.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/settings.hpp"
#include "shm/endpoint.hpp"
#include "shm/state_word.hpp"

namespace ballast::checker {

// An instance as people know it: its service's name and its address.
using InstanceKey = std::pair<std::string, std::array<std::uint64_t, 3>>;

// Empty when there is no table, or none that this build can read.
[[nodiscard]] std::map<InstanceKey, shm::Health> read_known_health(const std::string& directory);

// The members of each service, as far as the table knows them: addresses, weights, tiers and
// whether they are drained. Of a zone it knows only whether it is `own_zone`; every other one comes
// back under one name. Empty as above.
[[nodiscard]] std::map<std::string, std::vector<InstanceSettings>> read_known_members(
    const std::string& directory, const std::string& own_zone);

}  // namespace ballast::checker
