// The flight recorder of a namespace, as a reader who comes and goes sees it: both rings of the
// active segment as one history, read from the files alone, with or without a checker, followed
// through growth, hand-overs and new directories. Nothing in the files is trusted. It takes no
// lock, writes nothing and delays nobody.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "shm/event.hpp"
#include "shm/result.hpp"

namespace ballast::inspect {

class EventLog {
 public:
  // The active segment of `directory`; without a locator, the newest segment there.
  static shm::Result<EventLog> open(const std::string& directory);

  EventLog(EventLog&&) noexcept;
  EventLog& operator=(EventLog&&) noexcept;
  ~EventLog();

  // What is new since the last look, by time; the first time, all that is there. An event that its
  // writer finishes late comes late. If another segment has become the active one, it is read from
  // now on, and what was read already does not come again.
  [[nodiscard]] std::vector<shm::Event> look();

  // How many events were overwritten before they were read.
  [[nodiscard]] std::uint64_t missed() const noexcept;
  // What could not be read, for people: "events of workers are not shown: ..."; empty: nothing.
  [[nodiscard]] const std::string& warning() const noexcept { return warning_; }

 private:
  struct Segment;

  explicit EventLog(std::string directory);
  shm::Status open_segment(std::uint64_t id);
  void take(Segment& segment, std::vector<shm::Event>& found);

  std::string directory_;
  std::string warning_;
  std::unique_ptr<Segment> active_;
  std::uint64_t missed_before_ = 0;  // in segments that are no longer read
  // Of the words of what was read, as many as the rings of a segment can hold: growth copies them.
  std::unordered_set<std::uint64_t> known_;
  std::deque<std::uint64_t> known_order_;
};

}  // namespace ballast::inspect
