// The rendezvous tables that the checker keeps from one reload to the next, so that a member that
// joins or leaves costs a few scores instead of a build. Private memory; whatever is kept, a plan
// comes out the same, so a successor starts with none and nothing is lost.
#pragma once

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
  }

 private:
  std::map<std::pair<std::string, Group>, engine::RendezvousTable> tables_;
};

}  // namespace ballast::checker
