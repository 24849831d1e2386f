// A transition as the flight recorder keeps it: what happened to which instance or service, when,
// why and by whom, whole in itself, so that it can be read when its instance, its service and
// everybody who ran are gone. The checker and workers write them (shm/events.hpp says how), tools
// read them. What a number in `from`, `to`, `reason`, `id` and `value` means hangs on the kind:
// docs/events.md has the list, engine/event_text.hpp puts it into words.
//
// Numbers of kinds and parties are ABI: they are added to, never given another meaning. One that
// this build does not know is shown as a number.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shm/endpoint.hpp"
#include "shm/layout.hpp"

namespace ballast::shm {

enum class EventKind : std::uint8_t {
  none = 0,
  // Of an instance.
  instance_up = 1,
  instance_down = 2,
  instance_ejected = 3,
  instance_taken_back = 4,
  admin_changed = 5,
  weight_changed = 6,
  instance_added = 7,
  instance_removed = 8,
  breaker_opened = 9,
  breaker_half_open = 10,
  breaker_closed = 11,
  // Of a service.
  panic_began = 12,
  panic_ended = 13,
  service_added = 14,
  service_removed = 15,
  strategy_changed = 16,
  source_failed = 17,
  source_recovered = 18,
  // Of the namespace.
  row_reaped = 19,
  segment_created = 20,
  segment_adopted = 21,
  segment_grown = 22,
  segment_drained = 23,
  workers_file_lost = 24,
  checker_left = 25,
  directory_gone = 26,
  // Of a service again: more members changed at once than are named one by one.
  members_changed = 27,
};
inline constexpr unsigned kEventKindCount = 28;

enum class EventBy : std::uint8_t {
  nobody = 0,
  probe = 1,
  worker = 2,
  operators = 3,
  discovery = 4,
  agent = 5,
  config = 6,
  checker = 7,
};
inline constexpr unsigned kEventByCount = 8;

inline constexpr std::size_t kEventLabelBytes = 24;

struct Event {
  std::uint64_t time_ns = 0;  // CLOCK_REALTIME
  EventKind kind = EventKind::none;
  EventBy by = EventBy::nobody;
  std::uint8_t from = 0;
  std::uint8_t to = 0;
  std::uint16_t reason = 0;
  std::uint64_t id = 0;  // a pid and a row (`pack_event_pair`), a segment: as the kind says
  std::uint64_t value = 0;
  // Which instance; for a kind without one, a text of at most kEventLabelBytes in its place.
  Endpoint endpoint{};
  std::string label{};
  std::string service{};

  friend bool operator==(const Event&, const Event&) = default;
};

// Two numbers in one word.
[[nodiscard]] constexpr std::uint64_t pack_event_pair(std::uint64_t low,
                                                      std::uint64_t high) noexcept {
  constexpr std::uint64_t kMost = 0xffffffff;
  return (low < kMost ? low : kMost) | (high < kMost ? high : kMost) << 32;
}
[[nodiscard]] constexpr std::uint32_t event_low(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word);
}
[[nodiscard]] constexpr std::uint32_t event_high(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> 32);
}

// Whether the 24 bytes of such an event are an instance's address.
[[nodiscard]] constexpr bool is_about_instance(EventKind kind) noexcept {
  return kind >= EventKind::instance_up && kind <= EventKind::breaker_closed;
}

// The words of a record but for the commit word, in the record's order.
inline constexpr std::size_t kEventWords = sizeof(EventRecord) / sizeof(Word64) - 1;
using EventWords = std::array<std::uint64_t, kEventWords>;

// Allocates nothing.
[[nodiscard]] EventWords pack(const Event& event) noexcept;
// Whatever the words are: bytes of names that are no text become '?', lengths have their limits.
[[nodiscard]] Event unpack_event(const EventWords& words);

// `what` of a record, for workers, who copy the other words from the table.
[[nodiscard]] constexpr std::uint64_t pack_event_what(EventKind kind, EventBy by, std::uint8_t from,
                                                      std::uint8_t to,
                                                      std::uint16_t reason) noexcept {
  return std::uint64_t{static_cast<std::uint8_t>(kind)} |
         std::uint64_t{static_cast<std::uint8_t>(by)} << 8 | std::uint64_t{from} << 16 |
         std::uint64_t{to} << 24 | std::uint64_t{reason} << 32;
}

// "instance_down"; "unknown" for a number that this build does not know. Also what the log calls
// it.
[[nodiscard]] const char* to_text(EventKind kind) noexcept;
[[nodiscard]] const char* to_text(EventBy by) noexcept;

}  // namespace ballast::shm
