// Events through the rings of a segment's records: what is written is read, once and in order; what
// was overwritten is counted; claims of the dead come free; and whatever bytes a ring is made of,
// reading it ends.
#include "shm/event_ring.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace ballast::shm {
namespace {

template <std::size_t kSize>
struct Ring {
  Word64 next{0};
  std::array<EventRecord, kSize> records{};

  EventRingWriter writer() { return {&next, records}; }
  EventRing reader() { return {&next, records}; }
};

Event event_of(std::uint64_t number) {
  Event event;
  event.time_ns = number;
  event.kind = EventKind::instance_down;
  event.by = EventBy::probe;
  event.from = 1;
  event.to = 2;
  event.reason = 8;
  event.id = number * 3;
  event.value = pack_event_pair(7, number);
  event.endpoint = *parse_endpoint("[2001:db8::17]:8443");
  event.service = "checkout";
  return event;
}

std::vector<std::uint64_t> times(const std::vector<EventWords>& found) {
  std::vector<std::uint64_t> all;
  for (const EventWords& words : found)
    all.push_back(unpack_event(words).time_ns);
  return all;
}

using Numbers = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("an event survives its words") {
  const Event about_instance = event_of(5);
  CHECK(unpack_event(pack(about_instance)) == about_instance);
  Event about_source;
  about_source.kind = EventKind::source_failed;
  about_source.label = "dns_srv _http._tcp.long";
  about_source.service = std::string(63, 's');
  CHECK(unpack_event(pack(about_source)) == about_source);
}

TEST_CASE("what is too long is cut off, and what is no text is not shown as it is") {
  Event event;
  event.kind = EventKind::source_failed;
  event.label = std::string(100, 'l');
  event.service = std::string(100, 's');
  const Event back = unpack_event(pack(event));
  CHECK(back.label == std::string(kEventLabelBytes, 'l'));
  CHECK(back.service == std::string(kServiceNameBytes - 1, 's'));
  event.label = "a\x1b[31m\n";
  CHECK(unpack_event(pack(event)).label == "a?[31m?");
}

TEST_CASE("numbers that this build does not know are no danger") {
  EventWords words{};
  words.fill(~std::uint64_t{0});
  const Event event = unpack_event(words);
  CHECK(std::string(to_text(event.kind)) == "unknown");
  CHECK(std::string(to_text(event.by)) == "unknown");
}

TEST_CASE("two numbers in a word stay within it") {
  const std::uint64_t word = pack_event_pair(1ULL << 40, 3);
  CHECK(event_low(word) == 0xffffffff);
  CHECK(event_high(word) == 3);
}

TEST_CASE("each event is read once, in order") {
  Ring<4> ring;
  EventReader reader(ring.reader());
  CHECK(reader.look().empty());
  for (std::uint64_t i = 1; i <= 3; ++i)
    CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(i))));
  CHECK(times(reader.look()) == Numbers{1, 2, 3});
  CHECK(reader.look().empty());
  CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(4))));
  CHECK(times(reader.look()) == Numbers{4});
  CHECK(reader.missed() == 0);
}

TEST_CASE("who comes late gets the last ones, and knows how many are missing") {
  Ring<4> ring;
  EventReader reader(ring.reader());
  CHECK(reader.look().empty());
  for (std::uint64_t i = 1; i <= 10; ++i)
    CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(i))));
  CHECK(times(reader.look()) == Numbers{7, 8, 9, 10});
  CHECK(reader.missed() == 6);
  EventReader fresh(ring.reader());
  CHECK(times(fresh.look()) == Numbers{7, 8, 9, 10});
  CHECK(fresh.missed() == 0);  // it was not there
}

TEST_CASE("an event that is finished late is read late") {
  Ring<4> ring;
  EventReader reader(ring.reader());
  // As a writer that stands still between its claim and its commit.
  ring.next.store(1, std::memory_order_relaxed);
  ring.records[0].commit.store(event_claim({3, 9}), std::memory_order_relaxed);
  CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(2))));
  CHECK(times(reader.look()) == Numbers{2});
  ring.records[0].time_ns.store(1, std::memory_order_relaxed);
  ring.records[0].commit.store(event_commit(0), std::memory_order_release);
  CHECK(times(reader.look()) == Numbers{1});
  CHECK(reader.look().empty());
}

TEST_CASE("claims are gone round, and come free when their writers are gone") {
  Ring<4> ring;
  for (std::size_t i = 0; i < 3; ++i)
    ring.records[i].commit.store(event_claim({static_cast<std::uint16_t>(i), 9}),
                                 std::memory_order_relaxed);
  for (std::uint64_t i = 1; i <= 3; ++i)
    CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(i))));
  EventReader reader(ring.reader());
  CHECK(times(reader.look()) == Numbers{3});
  ring.records[3].commit.store(event_claim({3, 9}), std::memory_order_relaxed);
  CHECK_FALSE(write_event(ring.writer(), {0, 1}, pack(event_of(4))));
  const auto is_gone = [](EventWriter writer) { return writer.row != 3; };
  CHECK(free_claims(ring.next, ring.records, is_gone) == 3);
  CHECK(is_event_claim(ring.records[3].commit.load(std::memory_order_relaxed)));
  CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(5))));
  CHECK(times(reader.look()) == Numbers{5});
}

TEST_CASE("who is so late that a later round has been here writes elsewhere") {
  Ring<2> ring;
  for (std::uint64_t i = 1; i <= 4; ++i)
    CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(i))));
  ring.next.store(0, std::memory_order_relaxed);  // as its ticket would be
  CHECK(write_event(ring.writer(), {0, 1}, pack(event_of(5))));
  // After the records that were there already.
  EventReader reader(ring.reader());
  CHECK(times(reader.look()) == Numbers{4, 5});
}

TEST_CASE("a ring of any bytes can be read and written") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    auto ring = std::make_unique<Ring<8>>();
    const auto bytes = std::as_writable_bytes(std::span(ring->records));
    for (std::byte& byte : bytes)
      byte = static_cast<std::byte>(random());
    ring->next.store(round % 3 == 0 ? random() % 20 : random(), std::memory_order_relaxed);
    EventReader reader(ring->reader());
    for (int look = 0; look < 3; ++look) {
      for (const EventWords& words : reader.look())
        static_cast<void>(unpack_event(words));
      static_cast<void>(write_event(ring->writer(), {1, 1}, pack(event_of(1))));
      ring->next.store(random(), std::memory_order_relaxed);
    }
  }
}

TEST_CASE("threads that write at once lose nothing, and a reader among them sees nothing torn") {
  constexpr std::uint64_t kEach = 20'000;
  constexpr std::uint64_t kWriters = 3;
  Ring<64> ring;
  std::atomic<unsigned> running{kWriters};
  std::atomic<std::uint64_t> refused{0};
  EventReader reader(ring.reader());
  CHECK(reader.look().empty());  // from here on everything counts
  std::vector<std::thread> writers;
  for (std::uint64_t w = 0; w < kWriters; ++w) {
    writers.emplace_back([&ring, &running, &refused, w] {
      for (std::uint64_t i = 0; i < kEach; ++i) {
        const auto row = static_cast<std::uint16_t>(w);
        if (!write_event(ring.writer(), {row, 1}, pack(event_of(w << 32 | i))))
          refused.fetch_add(1, std::memory_order_relaxed);
      }
      running.fetch_sub(1, std::memory_order_release);
    });
  }
  std::uint64_t read = 0;
  std::uint64_t torn = 0;
  const auto look = [&] {
    for (const EventWords& words : reader.look()) {
      const Event event = unpack_event(words);
      ++read;
      torn += event == event_of(event.time_ns) ? 0 : 1;
    }
  };
  while (running.load(std::memory_order_acquire) != 0)
    look();
  for (std::thread& writer : writers)
    writer.join();
  // Everything has its end by now, so what is still pending was never written: tickets that were
  // given up, of which a refusal has drawn as many as it tried.
  for (int i = 0; i < 101; ++i)
    look();
  CHECK(torn == 0);
  CHECK(read >= 64);
  const std::uint64_t written = kWriters * kEach - refused.load(std::memory_order_relaxed);
  const std::uint64_t tickets = ring.next.load(std::memory_order_relaxed);
  CHECK(read <= written);
  CHECK(read + reader.missed() <= tickets);
  CHECK(read + reader.missed() + reader.given_up() == tickets);
  // Refused only where all places in the way are being written by who was put aside in the middle.
  CHECK(refused.load(std::memory_order_relaxed) < kEach / 100);
}

TEST_CASE("without a ring nothing is recorded") {
  CHECK_FALSE(write_event(EventRingWriter{}, {0, 1}, pack(event_of(1))));
  EventReader reader;
  CHECK(reader.look().empty());
}

}  // namespace ballast::shm
