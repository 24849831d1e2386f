// The flight recorder of a segment: writing an event into one of its two rings, and reading what
// is in them, by ticket. The checker and workers write, tools and the checker (when it grows) read.
// shm/events.hpp is the protocol; whoever dies, the rings stay readable.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "shm/event.hpp"
#include "shm/events.hpp"
#include "shm/layout.hpp"

namespace ballast::shm {

// A ring and the number of the next ticket, as a reader or writer has them mapped.
template <bool Writable>
struct BasicEventRing {
  template <class T>
  using Maybe = std::conditional_t<Writable, T, const T>;

  Maybe<Word64>* next = nullptr;
  std::span<Maybe<EventRecord>> records;
};
using EventRing = BasicEventRing<false>;
using EventRingWriter = BasicEventRing<true>;

template <class View>
[[nodiscard]] auto event_ring_of(const View& view) noexcept {
  constexpr bool kWritable = !std::is_const_v<typename decltype(view.events)::element_type>;
  return BasicEventRing<kWritable>{view.header == nullptr ? nullptr : &view.header->events_next,
                                   view.events};
}

// False: it could not be recorded (no ring, or everybody in the way stands still).
bool write_event(const EventRingWriter& ring, EventWriter writer, const EventWords& words) noexcept;

// Reads a ring from one look to the next: everything once, in the order of the tickets, but that
// what was not finished at one look comes at a later one.
class EventReader {
 public:
  EventReader() = default;
  explicit EventReader(const EventRing& ring) : ring_(ring) {}

  // What is new since the last look; the first time, all that is there.
  [[nodiscard]] std::vector<EventWords> look();
  // What was overwritten before it was read.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }
  // What counts as never written, because it did not get finished.
  [[nodiscard]] std::uint64_t given_up() const noexcept { return given_up_; }

 private:
  // An event that is not finished is asked for at so many looks, and then counts as never written.
  static constexpr unsigned kPatience = 100;
  struct Unfinished {
    std::uint64_t ticket = 0;
    unsigned looks = 0;
  };

  EventRing ring_;
  bool started_ = false;
  std::uint64_t position_ = 0;
  std::uint64_t missed_ = 0;
  std::uint64_t given_up_ = 0;
  std::vector<Unfinished> unfinished_;
};

}  // namespace ballast::shm
