// What the checker keeps from one reload to the next so that its plans are made sooner: rendezvous
// tables, in which a member that joins or leaves costs a few scores instead of a build; and what
// each service's published lookup arrays were built from, so that a change which they do not depend
// on builds nothing. Private memory; whatever is kept, workers come to see the same, so a successor
// starts with none and nothing is lost.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "engine/checker/publishing/groups.hpp"
#include "engine/checker/settings.hpp"
#include "engine/rendezvous.hpp"

namespace ballast::checker {

class KeptTables {
 public:
  // That of a service's group; an empty one if there is none yet.
  engine::RendezvousTable& of(const std::string& service, const Group& group) {
    return tables_[{service, group}];
  }
  // The settings hash of a generation, and the hash of what its lookup arrays follow from.
  struct Built {
    std::uint64_t settings_hash = 0;
    std::uint64_t placement_hash = 0;
  };
  // What was last planned for a service. It speaks of the published generation if that has this
  // settings hash.
  Built& built(const std::string& service) { return built_[service]; }
  // How often lookup arrays were built.
  [[nodiscard]] std::uint64_t builds() const noexcept { return builds_; }
  void count_build() noexcept { ++builds_; }

  // Lets go of what these settings do not ask for: half a megabyte each.
  void keep_only(const Settings& settings) {
    std::erase_if(tables_, [&settings](const auto& kept) {
      for (const ServiceSettings& service : settings.services) {
        if (service.name == kept.first.first) {
          return service.policy.strategy != engine::Strategy::rendezvous;
        }
      }
      return true;
    });
    std::erase_if(built_, [&settings](const auto& built) {
      return std::none_of(
          settings.services.begin(), settings.services.end(),
          [&](const ServiceSettings& service) { return service.name == built.first; });
    });
  }

 private:
  std::map<std::pair<std::string, Group>, engine::RendezvousTable> tables_;
  std::map<std::string, Built> built_;
  std::uint64_t builds_ = 0;
};

}  // namespace ballast::checker
