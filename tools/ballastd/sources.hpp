// The daemon's sources of instances: begins with what the table knows, starts them, and hands what
// they find to the steward. Owned by the daemon, on its loop; dies with it, and the table keeps
// what was found.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/checker/checker.hpp"
#include "engine/checker/control/steward.hpp"
#include "engine/checker/discovery/source_set.hpp"
#include "engine/checker/loop/loop.hpp"

namespace ballast::tools {

class DaemonSources {
 public:
  // All must outlive this.
  DaemonSources(checker::Loop& loop, checker::Steward& steward, checker::Checker& checker)
      : steward_(steward),
        set_(
            loop,
            [this](const std::string& service, std::size_t source,
                   std::vector<checker::InstanceSettings> instances) {
              steward_.discover(service, source, std::move(instances));
            },
            [&checker](checker::Transition told) { checker.record(std::move(told)); }) {}

  // After the steward has its first configuration, and before anything is applied. Where the
  // sources of a service have not answered yet, its members are those that `directory`'s table has:
  // a restart while a source is away changes nothing.
  void begin(const std::string& directory);

  // Whether a service that has no instance at all may still get its first ones: worth a moment.
  [[nodiscard]] bool is_awaited() const;

  // After the steward has taken a configuration. All look again.
  void configure();

  void judged(const std::string& service, std::size_t source, const shm::Status& status) {
    set_.judged(service, source, status);
  }

  [[nodiscard]] const checker::SourceSet& set() const noexcept { return set_; }

 private:
  checker::Steward& steward_;
  checker::SourceSet set_;
};

}  // namespace ballast::tools
