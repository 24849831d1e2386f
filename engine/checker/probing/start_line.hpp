// Who waits for a turn to start a check: first come, first served. Whoever waits may leave, or come
// again at the end; it is known by a ticket, so that what is left behind of it does no harm. Used
// by the schedule, one thread; plain memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace ballast::checker {

class StartLine {
 public:
  using Ticket = std::uint64_t;  // 0: none

  struct Entry {
    std::uint32_t index = 0;
    Ticket ticket = 0;
    bool hurried = false;
  };

  [[nodiscard]] bool empty() const noexcept { return waiting_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return waiting_; }

  [[nodiscard]] Ticket join(std::uint32_t index, bool hurried) {
    line_.push_back({index, ++last_, hurried});
    ++waiting_;
    return last_;
  }

  // Once for each ticket that was not called.
  void leave(Ticket ticket) {
    const auto found =
        std::lower_bound(line_.begin(), line_.end(), ticket,
                         [](const Entry& entry, Ticket wanted) { return entry.ticket < wanted; });
    if (found == line_.end() || found->ticket != ticket || found->index == kGone) return;
    found->index = kGone;
    --waiting_;
    // Those who left are passed over in time; but nobody may ever be called.
    if (line_.size() > 2 * waiting_ + kSlack)
      std::erase_if(line_, [](const Entry& entry) { return entry.index == kGone; });
  }

  // Whose turn it is; none if nobody waits.
  [[nodiscard]] std::optional<Entry> call() {
    while (!line_.empty()) {
      const Entry first = line_.front();
      line_.pop_front();
      if (first.index == kGone) continue;
      --waiting_;
      return first;
    }
    return std::nullopt;
  }

 private:
  static constexpr std::uint32_t kGone = ~std::uint32_t{0};
  static constexpr std::size_t kSlack = 64;

  std::deque<Entry> line_;  // tickets ascend
  std::size_t waiting_ = 0;
  Ticket last_ = 0;
};

}  // namespace ballast::checker
