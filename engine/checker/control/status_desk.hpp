// Answers `status` of one service, whose instances and rows may be so many that an answer takes
// longer than the checks should wait: it is made in pieces, one answer after the other, and who
// asks for the same service meanwhile gets the same. Should the members change under it, it begins
// again. The control desk owns one.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "engine/checker/control/asker.hpp"
#include "engine/checker/control/flight_sum.hpp"
#include "engine/checker/control/request.hpp"
#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

class StatusDesk {
 public:
  struct Hooks {
    std::function<const Publisher*()> publisher;  // null while this process is not in charge
    std::function<std::uint64_t()> changes;       // another number after each change of members
    std::function<void(const Asker&, const std::string& line)> answer;
    std::function<void(const Asker&, const Refusal&)> refuse;
  };

  // `loop` must outlive the desk.
  StatusDesk(Loop& loop, Hooks hooks, Milliseconds look_time);
  ~StatusDesk();
  StatusDesk(const StatusDesk&) = delete;
  StatusDesk& operator=(const StatusDesk&) = delete;

  void add(const Asker& asker, const std::string& service);
  void forget(ClientId client);
  void clear() { jobs_.clear(); }

  [[nodiscard]] std::size_t size() const noexcept { return jobs_.size(); }

 private:
  struct Job {
    std::string service;
    std::vector<Asker> askers;
    unsigned begun = 0;  // how often
    std::uint64_t changes = 0;
    std::vector<std::size_t> members;  // indices of Publisher::instances()
    FlightSum sum;
    bool summed = false;
    std::size_t written = 0;  // of `members`
    std::string list;
  };

  void turn();
  // True once it is answered.
  bool step(Job& job, std::chrono::steady_clock::time_point until);
  void begin(const Publisher& publisher, Job& job);

  Loop& loop_;
  const Hooks hooks_;
  const Milliseconds look_time_;
  std::deque<Job> jobs_;  // the first one is in hand
  Timers::Id timer_;
};

}  // namespace ballast::checker
