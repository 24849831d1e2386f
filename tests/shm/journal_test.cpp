// The journal's arithmetic: positions, wrapping, overruns and damage. Interleavings are explored in
// tests/model/journal_model_test.cpp.
#include "shm/journal.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>
#include <vector>

#include "shm/layout.hpp"

namespace ballast::shm {
namespace {

struct SmallJournal {
  Word64 head{0};
  Word16 entries[8] = {};
};

struct Reader {
  std::uint64_t position = 0;
  std::vector<unsigned> slots;
  bool complete = true;

  void read(const SmallJournal& journal) {
    slots.clear();
    complete = read_journal(journal, position, [&](std::uint16_t slot) { slots.push_back(slot); });
  }
};

}  // namespace

TEST_CASE("entries come once, in order, repetitions included") {
  SmallJournal journal;
  Reader reader;
  reader.read(journal);
  CHECK(reader.complete);
  CHECK(reader.slots.empty());
  for (const std::uint16_t slot : std::initializer_list<std::uint16_t>{3, 3, 65535, 0})
    append_journal(journal, slot);
  reader.read(journal);
  CHECK(reader.complete);
  CHECK(reader.slots == std::vector<unsigned>{3, 3, 65535, 0});
  CHECK(reader.position == 4);
  reader.read(journal);
  CHECK(reader.slots.empty());
}

TEST_CASE("it goes round") {
  SmallJournal journal;
  Reader reader;
  unsigned appended = 0;
  for (int round = 0; round < 20; ++round) {
    std::vector<unsigned> expected;
    for (int i = 0; i < 7; ++i) {
      expected.push_back(appended);
      append_journal(journal, static_cast<std::uint16_t>(appended++));
    }
    reader.read(journal);
    CHECK(reader.complete);
    CHECK(reader.slots == expected);
  }
}

TEST_CASE("as many entries as there are places is already too many") {
  SmallJournal journal;
  Reader reader;
  for (std::uint16_t i = 0; i < 8; ++i)
    append_journal(journal, i);
  reader.read(journal);
  CHECK_FALSE(reader.complete);
  CHECK(reader.slots.empty());
  CHECK(reader.position == 8);
  append_journal(journal, 77);
  reader.read(journal);
  CHECK(reader.complete);
  CHECK(reader.slots == std::vector<unsigned>{77});
}

TEST_CASE("a head that is anywhere else is an overrun, once") {
  for (const std::uint64_t head : {std::uint64_t{1}, UINT64_MAX, std::uint64_t{1} << 40}) {
    CAPTURE(head);
    SmallJournal journal;
    Reader reader;
    reader.position = 5;
    journal.head.store(head, std::memory_order_relaxed);
    reader.read(journal);
    CHECK_FALSE(reader.complete);
    CHECK(reader.position == head);
    reader.read(journal);
    CHECK(reader.complete);
    CHECK(reader.slots.empty());
    append_journal(journal, 4);  // also over the end of the numbers
    reader.read(journal);
    CHECK(reader.slots == std::vector<unsigned>{4});
  }
}

}  // namespace ballast::shm
