// One simulated backend: `servers` of them work at `speed`, on as many requests at a time (queue)
// or on all of them in equal shares (shared). Kept in its own time, which runs at the speed that
// each request is worked on, so that a change of speed or share moves one number. Plain memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <vector>

#include "bench/simulator/scenario.hpp"

namespace ballast::bench::sim {

inline constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

class Backend {
 public:
  Backend(Discipline discipline, std::uint32_t servers) noexcept
      : discipline_(discipline), servers_(servers) {}

  void add(std::uint64_t now_ns, std::uint32_t request, double work_ns) {
    advance(now_ns);
    if (discipline_ == Discipline::queue && running_.size() >= servers_) {
      waiting_.push_back({request, work_ns});
    } else {
      start(request, work_ns);
    }
  }
  void set_speed(std::uint64_t now_ns, double speed) {
    advance(now_ns);
    speed_ = speed;
  }

  // When the next request will be done if nothing comes in between; kNever if none will.
  [[nodiscard]] std::uint64_t next_ns() const noexcept {
    if (running_.empty() || speed_ == 0) return kNever;
    const double left = std::max(running_.front().ends - own_time_, 0.0);
    return last_ns_ + static_cast<std::uint64_t>(left / rate() + 0.999);
  }
  // Takes the request that is done at `now_ns` == next_ns(). `abandoned(request)` says whether a
  // waiting request's client has gone: then it is never begun.
  template <class Abandoned>
  std::uint32_t finish(std::uint64_t now_ns, Abandoned&& abandoned) {
    advance(now_ns);
    std::pop_heap(running_.begin(), running_.end(), later);
    const std::uint32_t done = running_.back().request;
    running_.pop_back();
    while (!waiting_.empty() && running_.size() < servers_) {
      const Waiting next = waiting_.front();
      waiting_.pop_front();
      if (!abandoned(next.request)) start(next.request, next.work_ns);
    }
    return done;
  }

 private:
  struct Running {
    double ends;  // in the backend's own time
    std::uint32_t request;
  };
  struct Waiting {
    std::uint32_t request;
    double work_ns;
  };
  static bool later(const Running& a, const Running& b) noexcept {
    return a.ends != b.ends ? a.ends > b.ends : a.request > b.request;
  }

  // Own time per nanosecond.
  [[nodiscard]] double rate() const noexcept {
    const double busy = static_cast<double>(std::max<std::size_t>(running_.size(), servers_));
    return speed_ * servers_ / busy;
  }
  void advance(std::uint64_t now_ns) noexcept {
    own_time_ += static_cast<double>(now_ns - last_ns_) * rate();
    last_ns_ = now_ns;
  }
  void start(std::uint32_t request, double work_ns) {
    running_.push_back({own_time_ + work_ns, request});
    std::push_heap(running_.begin(), running_.end(), later);
  }

  Discipline discipline_;
  std::uint32_t servers_;
  double speed_ = 1;
  double own_time_ = 0;
  std::uint64_t last_ns_ = 0;
  std::vector<Running> running_;  // a heap, the first to end in front
  std::deque<Waiting> waiting_;
};

}  // namespace ballast::bench::sim
