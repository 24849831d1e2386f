// What embedders do wrong, and what comes of it: each mistake has a defined result, and none of
// them spoils the table or what other workers count. docs/embedding.md has the list.
#include <ballast.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/attached.hpp"
#include "tests/support/child.hpp"
#include "tests/support/published.hpp"
#include "tests/support/sanitized.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

// More rows than there are do not fit, so the publisher makes a new segment.
void grow(Published& published) {
  auto settings = published.settings();
  settings.max_workers =
      static_cast<std::uint32_t>(published.publisher().segment().workers.directory.size() + 1);
  published.apply(settings);
}

std::uint64_t count_of(const Published& published, std::uint32_t slot, shm::CounterIndex counter) {
  return published.totals(slot).values[counter];
}

}  // namespace

TEST_CASE("a report, twice; and of a copy, which cannot be told from its original") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}));
  std::optional<Attached> a(published.directory());
  const Attached other(published.directory());
  ballast_pick_t of_other = BALLAST_PICK_INIT;
  REQUIRE(other.pick("k", of_other) == BALLAST_OK);
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a->pick("k", pick) == BALLAST_OK);
  ballast_pick_t copy = pick;
  CHECK(ballast_report(a->handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(ballast_report(a->handle, &pick, BALLAST_TIMEOUT, 1) == BALLAST_ALREADY_REPORTED);
  CHECK(ballast_abandon(a->handle, &pick) == BALLAST_ALREADY_REPORTED);
  ballast_result_t result = BALLAST_RESULT_INIT;
  CHECK(ballast_report_full(a->handle, &pick, &result) == BALLAST_ALREADY_REPORTED);
  CHECK(count_of(published, pick.slot, shm::kSuccess) == 1);
  CHECK(count_of(published, pick.slot, shm::kTimeout) == 0);

  // Counted twice: this handle's part is one too few, until it gives its row back.
  CHECK(ballast_report(a->handle, &copy, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(count_of(published, pick.slot, shm::kSuccess) == 2);
  a.reset();
  CHECK(published.in_flight() == 1);
  CHECK(ballast_report(other.handle, &of_other, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a report after the handle was detached, to another one that has its row") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}, 1));
  ballast_pick_t pick = BALLAST_PICK_INIT;
  {
    const Attached gone(published.directory());
    REQUIRE(gone.pick("k", pick) == BALLAST_OK);
  }
  CHECK(count_of(published, pick.slot, shm::kAbandoned) == 1);
  const Attached next(published.directory());
  CHECK(next.info().row == pick.row);  // there is only one
  CHECK(ballast_report(next.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_WRONG_HANDLE);
  ballast_result_t result = BALLAST_RESULT_INIT;
  CHECK(ballast_report_full(next.handle, &pick, &result) == BALLAST_WRONG_HANDLE);
  CHECK(pick.reported == 0);  // it can still be told that it is not over
  CHECK(ballast_report(nullptr, &pick, BALLAST_SUCCESS, 1) == BALLAST_NOT_ATTACHED);
  CHECK(count_of(published, pick.slot, shm::kSuccess) == 0);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a handle used in the child of a child") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  const Attached a(published.directory());
  ballast_pick_t of_parent = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", of_parent) == BALLAST_OK);
  for (const bool child_picks : {true, false}) {
    const int status = tests::in_child([&] {
      ballast_pick_t of_child = BALLAST_PICK_INIT;
      if (child_picks && a.pick("k", of_child) != BALLAST_OK) return 1;
      const int grandchild = tests::in_child([&] {
        ballast_pick_t copy = of_parent;
        if (ballast_report(a.handle, &copy, BALLAST_SUCCESS, 1) != BALLAST_WRONG_HANDLE) return 2;
        copy = of_child;
        const auto expected = child_picks ? BALLAST_WRONG_HANDLE : BALLAST_ALREADY_REPORTED;
        if (ballast_report(a.handle, &copy, BALLAST_SUCCESS, 1) != expected) return 3;
        ballast_pick_t own = BALLAST_PICK_INIT;
        if (a.pick("k", own) != BALLAST_OK) return 4;
        if (own.row == of_parent.row || (child_picks && own.row == of_child.row)) return 5;
        copy = of_child;
        if (ballast_report(a.handle, &copy, BALLAST_SUCCESS, 1) != expected) return 6;
        if (ballast_report(a.handle, &own, BALLAST_SUCCESS, 1) != BALLAST_OK) return 7;
        ballast_detach(a.handle);
        return 0;
      });
      if (grandchild != 0) return grandchild;
      // What its child did is nothing to it.
      if (child_picks && ballast_report(a.handle, &of_child, BALLAST_SUCCESS, 1) != BALLAST_OK)
        return 8;
      return 0;
    });
    CHECK(status == 0);
  }
  CHECK(count_of(published, of_parent.slot, shm::kSuccess) == 3);
  CHECK(published.in_flight() == 1);
  CHECK(ballast_report(a.handle, &of_parent, BALLAST_SUCCESS, 1) == BALLAST_OK);
  published.publisher().tick();
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a pick held for an hour: a thousand generations later it is reported where it belongs") {
  const auto web = service_of("web", Strategy::maglev, 3);
  Published published(settings_of({web}));
  const Attached a(published.directory());
  ballast_pick_t held = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", held) == BALLAST_OK);
  const std::uint64_t epoch = held.epoch;
  // Its instance leaves, and others come and go in the meantime.
  auto without = web;
  for (std::size_t i = 0; i < without.instances.size(); ++i) {
    if (published.find(0, i).slot != held.slot) continue;
    without.instances.erase(without.instances.begin() + static_cast<std::ptrdiff_t>(i));
    break;
  }
  ballast_pick_t pick = BALLAST_PICK_INIT;
  // A sanitizer needs a second for thirty.
  constexpr int kGenerations = tests::kSanitized ? 150 : 1000;
  for (int i = 0; i < kGenerations; ++i) {
    auto settings = without;
    const auto more = service_of("web", Strategy::maglev, 1, 10 + i % 7);
    settings.instances.push_back(more.instances.front());
    published.apply(settings_of({settings}));
    published.publisher().tick();
    REQUIRE(a.pick(std::to_string(i), pick) == BALLAST_OK);
    REQUIRE(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  }
  CHECK(pick.epoch >= epoch + kGenerations);
  // The slot was not given away, since something is in flight there.
  char text[BALLAST_ADDRESS_TEXT];
  ballast_format_address(&held, text, sizeof text);
  CHECK(std::string(text).starts_with("127.1.0."));
  CHECK(published.in_flight() == 1);
  if (held.segment == a.info().segment) CHECK(published.totals(held.slot).in_flight() == 1);
  CHECK(ballast_report(a.handle, &held, BALLAST_CONNECT_FAILURE, 3'600'000'000U) == BALLAST_OK);
  published.publisher().tick();
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a pick held through more new tables than are kept counts as abandoned") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}));
  const Attached a(published.directory());
  std::vector<ballast_pick_t> held(10, ballast_pick_t BALLAST_PICK_INIT);
  for (ballast_pick_t& pick : held) {
    REQUIRE(a.pick("k", pick) == BALLAST_OK);
    grow(published);
  }
  ballast_pick_t now = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", now) == BALLAST_OK);
  int reported = 0;
  for (ballast_pick_t& pick : held) {
    const auto status = ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1);
    CHECK((status == BALLAST_OK || status == BALLAST_WRONG_HANDLE));
    if (status == BALLAST_OK) ++reported;
  }
  CHECK(reported == 8);
  CHECK(ballast_report(a.handle, &now, BALLAST_SUCCESS, 1) == BALLAST_OK);
}

TEST_CASE("structs whose size is of an older or a newer release, or of none") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  const std::string directory = published.directory();
  const Attached a(directory);
  // Any struct in the middle of bytes that must stay as they are.
  union Room {
    unsigned char bytes[8192];
    ballast_options_t options;
    ballast_pick_options_t pick_options;
    ballast_pick_t pick;
    ballast_info_t info;
    ballast_result_t result;
  };
  static Room room;
  ballast_pick_t pick = BALLAST_PICK_INIT;
  const auto pick_with = [&](std::size_t size) {
    room.pick_options.size = size;
    const auto status = a.pick("k", pick, &room.pick_options);
    if (status == BALLAST_OK) CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
    return status;
  };
  SUBCASE("what a pick is asked for") {
    room = {};
    for (const std::size_t size : {24U, 32U, 40U, 48U, 4096U})
      CHECK(pick_with(size) == BALLAST_OK);
    for (const std::size_t size : {0U, 8U, 16U, 23U, 4097U, 0x7fffffffU})
      CHECK(pick_with(size) == BALLAST_INVALID_ARGUMENT);
    CHECK(pick_with(SIZE_MAX) == BALLAST_INVALID_ARGUMENT);
    // Behind an older program's struct lies anything.
    std::memset(room.bytes + 24, 0xa5, 100);
    CHECK(pick_with(24) == BALLAST_OK);
    // A newer program asks for what is not known here.
    room = {};
    for (const std::size_t at : {40U, 47U, 100U}) {
      room.bytes[at] = 1;
      CHECK(pick_with(at) == BALLAST_OK);
      CHECK(pick_with(at + 1) == BALLAST_INVALID_ARGUMENT);
      room.bytes[at] = 0;
    }
  }
  SUBCASE("how to attach") {
    room = {};
    room.options.directory = directory.c_str();
    ballast_t* handle = nullptr;
    for (const std::size_t size : {24U, 64U, 4096U}) {
      room.options.size = size;
      CHECK(ballast_attach(&room.options, &handle) == BALLAST_OK);
      ballast_detach(handle);
    }
    room.bytes[63] = 1;
    for (const std::size_t size : {0U, 8U, 16U, 23U, 64U, 4097U}) {
      room.options.size = size;
      CHECK(ballast_attach(&room.options, &handle) == BALLAST_INVALID_ARGUMENT);
      CHECK(handle == nullptr);
      CHECK(std::string(ballast_last_error()).find("sizeof") != std::string::npos);
    }
  }
  SUBCASE("what a report says") {
    const auto report_with = [&](std::size_t size) {
      REQUIRE(a.pick("k", pick) == BALLAST_OK);
      room.result = BALLAST_RESULT_INIT;
      room.result.size = size;
      const auto status = ballast_report_full(a.handle, &pick, &room.result);
      CHECK(pick.reported == (status == BALLAST_OK ? 1 : 0));
      if (status != BALLAST_OK) CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
      return status;
    };
    room = {};
    for (const std::size_t size : {40U, 64U, 4096U})
      CHECK(report_with(size) == BALLAST_OK);
    room.bytes[63] = 1;
    for (const std::size_t size : {0U, 8U, 39U, 64U, 4097U})
      CHECK(report_with(size) == BALLAST_INVALID_ARGUMENT);
  }
  SUBCASE("what is filled in: as much as is known, and not a byte more") {
    std::memset(room.bytes, 0xa5, sizeof room.bytes);
    room.info.size = 100;
    CHECK(ballast_info(a.handle, &room.info) == BALLAST_OK);
    CHECK(room.info.size == 100);
    CHECK(room.info.segment == published.publisher().segment_id());
    for (std::size_t i = sizeof(ballast_info_t); i < 200; ++i)
      CHECK(room.bytes[i] == 0xa5);
    room.info.size = sizeof(ballast_info_t) - 8;
    CHECK(ballast_info(a.handle, &room.info) == BALLAST_INVALID_ARGUMENT);

    std::memset(room.bytes, 0xa5, sizeof room.bytes);
    room.pick.size = 100;
    CHECK(a.pick("k", room.pick) == BALLAST_OK);
    CHECK(room.pick.size == 100);
    for (std::size_t i = sizeof(ballast_pick_t); i < 200; ++i)
      CHECK(room.bytes[i] == 0xa5);
    CHECK(ballast_abandon(a.handle, &room.pick) == BALLAST_OK);
    room.pick.size = 63;
    CHECK(a.pick("k", room.pick) == BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_report(a.handle, &room.pick, BALLAST_SUCCESS, 1) == BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_format_address(&room.pick, nullptr, 0) == 0);
    const ballast_pick_t* tried[] = {&room.pick};
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.tried = tried;
    options.tried_count = 1;
    CHECK(a.pick("k", pick, &options) == BALLAST_INVALID_ARGUMENT);
  }
  published.publisher().tick();
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a pick that is full of rubbish") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  const Attached a(published.directory());
  std::uint64_t state = 1;
  for (int i = 0; i < 20'000; ++i) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    if (i % 2 == 0) {
      REQUIRE(a.pick("k", pick) == BALLAST_OK);
      REQUIRE(ballast_abandon(a.handle, &pick) == BALLAST_OK);
    }
    auto* bytes = reinterpret_cast<unsigned char*>(&pick);
    for (int change = 0; change < 1 + i % 8; ++change) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      bytes[4 + (state >> 33) % (sizeof pick - 4)] = static_cast<unsigned char>(state >> 56);
    }
    // Whose it is, is part of it: what is not of this handle is refused or has been reported.
    pick.row_incarnation ^= 0x40000000;
    const auto status = ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1);
    CHECK((status == BALLAST_WRONG_HANDLE || status == BALLAST_ALREADY_REPORTED ||
           (status == BALLAST_OK && pick.row == BALLAST_NO_ROW)));
    char token[BALLAST_STICKY_TEXT];
    static_cast<void>(ballast_sticky_token(a.handle, a.service, &pick, token, sizeof token));
    char text[BALLAST_ADDRESS_TEXT];
    CHECK(ballast_format_address(&pick, text, sizeof text) < sizeof text);
    const ballast_pick_t* tried[] = {&pick};
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.tried = tried;
    options.tried_count = 1;
    ballast_pick_t next = BALLAST_PICK_INIT;
    CHECK(a.pick("k", next, &options) == BALLAST_OK);
    CHECK(ballast_abandon(a.handle, &next) == BALLAST_OK);
  }
  CHECK(published.in_flight() == 0);
}
