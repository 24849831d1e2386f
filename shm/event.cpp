// Events to words and back.
#include "shm/event.hpp"

#include <algorithm>
#include <cstring>

namespace ballast::shm {
namespace {

// In the order of the numbers.
constexpr std::array<const char*, kEventKindCount> kKinds{"none",
                                                          "instance_up",
                                                          "instance_down",
                                                          "instance_ejected",
                                                          "instance_taken_back",
                                                          "admin_changed",
                                                          "weight_changed",
                                                          "instance_added",
                                                          "instance_removed",
                                                          "breaker_opened",
                                                          "breaker_half_open",
                                                          "breaker_closed",
                                                          "panic_began",
                                                          "panic_ended",
                                                          "service_added",
                                                          "service_removed",
                                                          "strategy_changed",
                                                          "source_failed",
                                                          "source_recovered",
                                                          "row_reaped",
                                                          "segment_created",
                                                          "segment_adopted",
                                                          "segment_grown",
                                                          "segment_drained",
                                                          "workers_file_lost",
                                                          "checker_left",
                                                          "directory_gone",
                                                          "members_changed"};
constexpr std::array<const char*, kEventByCount> kParties{
    "nobody", "probe", "worker", "operator", "discovery", "agent", "config", "checker"};

// Where in the words: as in EventRecord.
constexpr std::size_t kTime = 0;
constexpr std::size_t kWhat = 1;
constexpr std::size_t kId = 2;
constexpr std::size_t kValue = 3;
constexpr std::size_t kEndpoint = 4;
constexpr std::size_t kService = 7;
static_assert(kService + kServiceNameBytes / 8 == kEventWords);
static_assert(offsetof(EventRecord, service_name) == (kService + 1) * sizeof(Word64));

// `text` in `count` words; what does not fit is cut off. `closed`: with a NUL at its end.
void put_text(EventWords& words, std::size_t from, std::size_t count, std::string_view text,
              bool closed) noexcept {
  const std::size_t room = count * sizeof(std::uint64_t) - (closed ? 1 : 0);
  std::memcpy(&words.at(from), text.data(), std::min(room, text.size()));
}

std::string get_text(const EventWords& words, std::size_t from, std::size_t count) {
  std::string text(count * sizeof(std::uint64_t), '\0');
  std::memcpy(text.data(), &words.at(from), text.size());
  text.resize(std::min(text.size(), text.find('\0')));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f) c = '?';
  }
  return text;
}

}  // namespace

EventWords pack(const Event& event) noexcept {
  EventWords words{};
  words[kTime] = event.time_ns;
  words[kWhat] = pack_event_what(event.kind, event.by, event.from, event.to, event.reason);
  words[kId] = event.id;
  words[kValue] = event.value;
  if (is_about_instance(event.kind)) {
    const auto endpoint = event.endpoint.to_words();
    std::copy(endpoint.begin(), endpoint.end(), words.begin() + kEndpoint);
  } else {
    put_text(words, kEndpoint, kService - kEndpoint, event.label, /*closed=*/false);
  }
  put_text(words, kService, kEventWords - kService, event.service, /*closed=*/true);
  return words;
}

Event unpack_event(const EventWords& words) {
  Event event;
  const std::uint64_t what = words[kWhat];
  event.time_ns = words[kTime];
  event.kind = static_cast<EventKind>(what & 0xff);
  event.by = static_cast<EventBy>(what >> 8 & 0xff);
  event.from = static_cast<std::uint8_t>(what >> 16);
  event.to = static_cast<std::uint8_t>(what >> 24);
  event.reason = static_cast<std::uint16_t>(what >> 32);
  event.id = words[kId];
  event.value = words[kValue];
  if (is_about_instance(event.kind)) {
    event.endpoint =
        Endpoint::from_words({words[kEndpoint], words[kEndpoint + 1], words[kEndpoint + 2]});
  } else {
    event.label = get_text(words, kEndpoint, kService - kEndpoint);
  }
  event.service = get_text(words, kService, kEventWords - kService);
  return event;
}

const char* to_text(EventKind kind) noexcept {
  const auto number = static_cast<std::size_t>(kind);
  return number < kKinds.size() ? kKinds[number] : "unknown";
}

const char* to_text(EventBy by) noexcept {
  const auto number = static_cast<std::size_t>(by);
  return number < kParties.size() ? kParties[number] : "unknown";
}

}  // namespace ballast::shm
