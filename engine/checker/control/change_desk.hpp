// Operators' changes, from the request to the file that keeps them: what a request makes of the
// changes there are, is applied by the steward, then kept, then answered. A change that could not
// be kept holds all the same, and is tried again until it is. An ejection is no setting: it is
// asked of the checker, and nothing keeps it. The control desk owns one, on the loop's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/checker/control/asker.hpp"
#include "engine/checker/control/changes_keeper.hpp"
#include "engine/checker/control/peer.hpp"
#include "engine/checker/control/request.hpp"
#include "engine/checker/control/steward.hpp"
#include "engine/checker/event.hpp"
#include "engine/checker/publishing/publisher.hpp"

namespace ballast::checker {

class ChangeDesk {
 public:
  struct Hooks {
    std::function<const Publisher*()> publisher;  // not null while something is asked for
    std::function<shm::Status(const std::string& service, const shm::Endpoint&, Milliseconds)>
        eject;
    std::function<void(const Asker&, nlohmann::json&&)> answer;
    std::function<void(const Asker&, const Refusal&)> refuse;
    EventSink on_event;
  };

  // Both must outlive the desk.
  ChangeDesk(Loop& loop, Steward& steward, Hooks hooks);
  ~ChangeDesk();
  ChangeDesk(const ChangeDesk&) = delete;
  ChangeDesk& operator=(const ChangeDesk&) = delete;

  // As the control desk's functions of similar names.
  shm::Status begin_with(const std::string& path);
  [[nodiscard]] shm::Status may_keep_in(const std::string& path) const;
  void keep_in(const std::string& path);
  [[nodiscard]] const std::string& path() const noexcept { return keeper_.path(); }
  [[nodiscard]] bool is_kept() const noexcept { return keeper_.is_idle(); }

  // Why no changes are taken; empty: they are.
  [[nodiscard]] const std::string& blocked() const noexcept { return blocked_; }
  // That, or else why the last writing failed; empty: all is well.
  [[nodiscard]] const std::string& trouble() const noexcept {
    return blocked_.empty() ? keep_error_ : blocked_;
  }

  // Each answers now, or when the change is kept.
  void change(const Asker& asker, const Peer& peer, const Request& request);
  void eject(const Asker& asker, const Peer& peer, const Request& request);

  void forget(ClientId client);
  // Writes what is not written, unless the directory is lost, and answers all that wait for it.
  void leave(bool lost);

 private:
  struct Unkept;  // a change that holds and is not in its file yet

  void on_kept(std::uint64_t upto, const shm::Status& status);
  void tell(const Peer& peer, const Request& request, std::uint64_t epoch) const;

  Loop& loop_;
  Steward& steward_;
  const Hooks hooks_;
  std::string blocked_;
  std::string keep_error_;
  std::vector<std::unique_ptr<Unkept>> unkept_;
  Timers::Id keep_timer_;
  ChangesKeeper keeper_;  // last: gone before what its callback uses
};

}  // namespace ballast::checker
