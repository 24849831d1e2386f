// Where operators' requests are decided and answered: it reads a line, and asks the change desk,
// the program or whoever else it concerns. A change is answered with the epoch at which it holds,
// when it is kept in its file too, and the answer says so if that failed. docs/control.md describes
// the protocol to people.
//
// One thread: everything is called from, and called back on, the loop's. If the process dies,
// clients see their connection end, and may ask again: every change can be asked for twice.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/control/change_desk.hpp"
#include "engine/checker/control/control_server.hpp"
#include "engine/checker/control/request.hpp"
#include "engine/checker/control/status_desk.hpp"
#include "engine/checker/control/steward.hpp"
#include "engine/checker/control/wait_desk.hpp"
#include "engine/checker/discovery/source_set.hpp"
#include "engine/checker/event.hpp"
#include "engine/checker/publishing/publisher.hpp"

namespace ballast::checker {

// What the desk knows of the program around it.
struct DeskHooks {
  std::function<const Publisher*()> publisher;  // null while this process is not in charge
  std::function<shm::Status(const std::string& service, const shm::Endpoint&, Milliseconds)> eject;
  // Reads the configuration again. True: one reading is under way already, and another one follows
  // it. After each one, `reloaded` is called; if none can begin, from inside the call, which is
  // then false.
  std::function<bool()> reload;
  // Starts a successor, which asks this one to leave when it is ready.
  std::function<shm::Result<pid_t>()> handover;
  std::function<std::vector<SourceStatus>()> sources;
  EventSink on_event;
  std::string version;
  std::string directory;
  std::string io;
};

class ControlDesk {
 public:
  // Both must outlive the desk.
  ControlDesk(Loop& loop, Steward& steward, DeskHooks hooks, ControlLimits limits = {});
  ~ControlDesk();
  ControlDesk(const ControlDesk&) = delete;
  ControlDesk& operator=(const ControlDesk&) = delete;

  // Gives the steward the changes that are kept in `path`, which are not applied yet. On error it
  // gets none, and until a file can be read, none are taken: what is there must not be lost.
  shm::Status load_changes(const std::string& path) { return changes_.begin_with(path); }
  // Whether they may be moved there: not if it has others, or what cannot be understood.
  [[nodiscard]] shm::Status may_keep_in(const std::string& path) const {
    return changes_.may_keep_in(path);
  }
  // Keeps them there from now on, also what there is now.
  void keep_changes_in(const std::string& path) { changes_.keep_in(path); }
  [[nodiscard]] const std::string& changes_path() const noexcept { return changes_.path(); }

  // Who may connect besides root and the own user: `group`.
  shm::Status listen(const std::string& path, std::optional<gid_t> group);
  [[nodiscard]] const std::string& socket_path() const noexcept { return server_.path(); }

  // A reading of the configuration is over: why it was refused; empty: it holds.
  void reloaded(const std::vector<std::string>& errors);
  // The successor that was started has ended without taking over.
  void successor_failed(const std::string& why);

  // Clients that wait for workers.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }

  // Answers that are being made in pieces.
  [[nodiscard]] std::size_t answering() const noexcept { return status_.size(); }
  // Looks at the rows that one round of theirs takes.
  [[nodiscard]] std::size_t looks() const noexcept { return waiting_.looks(); }

  // Why no changes are taken; empty: they are.
  [[nodiscard]] const std::string& blocked() const noexcept { return changes_.blocked(); }

  // All changes are in their file, or cannot be kept: leaving does not wait for the disk.
  [[nodiscard]] bool is_kept() const noexcept { return changes_.is_kept(); }

  enum class Leave : std::uint8_t {
    stop,      // nobody follows at once
    handover,  // a successor is ready, and takes the socket's place
    lost,      // the directory is another's
  };
  // Writes what is not written, unless the directory is lost, answers what waits, and closes.
  void leave(Leave how);

 private:
  struct Reloading {
    Asker asker;
    unsigned results = 1;  // still to come
    std::vector<std::pair<std::string, std::uint64_t>> epochs;
  };

  ChangeDesk::Hooks change_hooks();
  StatusDesk::Hooks status_hooks();
  WaitDesk::Hooks wait_hooks();
  void on_request(ClientId client, const Peer& peer, std::string_view line);
  void serve(const Asker& asker, const Peer& peer, const Request& request);
  void answer(const Asker& asker, nlohmann::json&& answer);
  void refuse(const Asker& asker, const Refusal& refusal);
  void on_gone(ClientId client);

  void reload(const Asker& asker);
  void handover(const Asker& asker);
  void status(const Asker& asker, const Request& request);
  void sources(const Asker& asker, const Request& request);
  void show_changes(const Asker& asker, const Request& request);
  void help(const Asker& asker);
  void wait(const Asker& asker, const Request& request);

  Steward& steward_;
  const DeskHooks hooks_;
  std::optional<gid_t> group_;
  std::vector<Reloading> reloading_;
  std::vector<Asker> handing_over_;
  ChangeDesk changes_;
  StatusDesk status_;
  WaitDesk waiting_;
  ControlServer server_;  // last: gone before what its callbacks use
};

}  // namespace ballast::checker
