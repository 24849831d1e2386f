// The control socket as part of the daemon: where it is, where changes are kept, and how a
// successor is started. Owned by the daemon, on its loop. If the process dies, the changes are in
// their file for the next one.
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/checker/checker.hpp"
#include "engine/checker/control/control_desk.hpp"
#include "engine/checker/control/steward.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"
#include "tools/ballastd/options.hpp"

namespace ballast::tools {

class DaemonControl {
 public:
  struct Hooks {
    std::function<bool()> reload;  // as DeskHooks::reload
    std::function<std::vector<checker::SourceStatus>()> sources;
    std::function<bool()> is_managed;  // by a service manager, which knows this process alone
  };
  // How this process ends.
  enum class End { stopped, handed_over, directory_lost };

  // All must outlive this.
  DaemonControl(checker::Loop& loop, checker::Steward& steward, checker::Checker& checker,
                const Options& options, std::string directory, Hooks hooks);
  ~DaemonControl();
  DaemonControl(const DaemonControl&) = delete;
  DaemonControl& operator=(const DaemonControl&) = delete;

  // Reads the changes that are kept, and gives them to the steward: at the start, and again with
  // the lease, since a predecessor may have kept more.
  shm::Status load_changes();
  // In charge from now on: clients may come. What cannot be had is told and tried again, and the
  // checks go on.
  void open();
  // Whether this configuration's files can be moved to: asked before the steward takes it.
  [[nodiscard]] shm::Status may_configure(const checker::Settings& wanted) const;
  // After the steward has taken a configuration.
  void configure();
  // A reading of the configuration is over; no errors: it holds.
  void reloaded(const std::vector<std::string>& errors) { desk_.reloaded(errors); }
  // Nothing has to be written before this process can leave.
  [[nodiscard]] bool is_kept() const { return desk_.is_kept(); }
  // Before the lease is given back.
  void leave(End end);

 private:
  checker::DeskHooks desk_hooks();
  shm::Result<pid_t> start_successor();
  void on_successor_end();
  [[nodiscard]] std::string changes_path(const checker::Settings& settings) const;
  [[nodiscard]] std::string socket_path() const;

  checker::Loop& loop_;
  checker::Steward& steward_;
  checker::Checker& checker_;
  const Options& options_;
  const std::string directory_;
  const Hooks hooks_;
  std::string program_;  // as it was started: the file may be another one by now, which is wanted
  pid_t successor_ = -1;
  int successor_fd_ = -1;
  std::optional<gid_t> gid_;  // of the group that the socket has
  std::string failed_;        // why there is none, as it was told
  checker::Timers::Id retry_;
  checker::ControlDesk desk_;
};

}  // namespace ballast::tools
