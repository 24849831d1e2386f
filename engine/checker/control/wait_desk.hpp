// Clients that wait until every live worker has seen an epoch, and until nothing is in flight at
// some instances. However many wait, one look at the rows a turn serves all who wait for the same
// epoch, and one sum of what is in flight serves all; both take at most a part of the loop's time.
// The control desk owns one; docs/control.md, "Waiting", says what is waited for.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/control/asker.hpp"
#include "engine/checker/control/flight_sum.hpp"
#include "engine/checker/control/seen_watch.hpp"
#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

class WaitDesk {
 public:
  struct Hooks {
    std::function<const Publisher*()> publisher;  // null while this process is not in charge
    std::function<void(const Asker&, nlohmann::json&&)> answer;
    // A line besides the answer. False: the client has gone.
    std::function<bool(const Asker&, nlohmann::json&&)> tell;
  };
  struct Wish {
    std::string service;
    std::size_t record = 0;
    std::uint64_t epoch = 0;
    std::vector<DrainingSlot> slots;  // empty: whatever is in flight
    Milliseconds timeout{0};
    bool progress = false;
    // For what has no epoch: whoever has read the service's newest one has still to be seen asleep,
    // or at work for long enough.
    bool state = false;
  };

  // `loop` must outlive the desk.
  WaitDesk(Loop& loop, Hooks hooks, Milliseconds look_time);
  ~WaitDesk();
  WaitDesk(const WaitDesk&) = delete;
  WaitDesk& operator=(const WaitDesk&) = delete;

  // Answered now, if there is nothing to wait for. False: too many wait.
  bool add(const Asker& asker, Wish wish);
  void forget(ClientId client);
  void clear();

  [[nodiscard]] std::size_t size() const noexcept { return waiting_.size(); }
  // Looks at the rows that one round takes.
  [[nodiscard]] std::size_t looks() const noexcept { return watches_.size(); }

 private:
  struct Waiting;
  // All who wait for one epoch of one record.
  struct Watch {
    SeenWatch seen;
    SeenReport report;
    std::size_t users = 0;
  };
  // Record and epoch; and for a change of states, which all have to see from then on, a number of
  // its own.
  using Key = std::array<std::uint64_t, 3>;

  void turn();
  void look(const Publisher& publisher, Watch& watch);
  // True once it is answered, or its client has gone.
  bool judge(const Publisher& publisher, Waiting& waiting);
  void begin_sum();
  void end_sum();
  void release(const Waiting& waiting);

  Loop& loop_;
  const Hooks hooks_;
  const Milliseconds look_time_;
  std::list<std::unique_ptr<Waiting>> waiting_;
  std::map<Key, Watch> watches_;
  Key looked_last_{};
  std::uint64_t rounds_ = 0;  // sums begun
  std::uint64_t last_state_ = 0;
  std::optional<FlightSum> sum_;
  Timers::Id timer_;
};

}  // namespace ballast::checker
