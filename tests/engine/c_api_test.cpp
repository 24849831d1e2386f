// What ballast.h promises, through the shared library: typed outcomes, sizes of structs, reports.
#include <arpa/inet.h>
#include <ballast.h>
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

ballast_status_t attach_to(const std::string& directory) {
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory.c_str();
  ballast_t* handle = nullptr;
  const auto status = ballast_attach(&options, &handle);
  CHECK((handle == nullptr) == (status != BALLAST_OK));
  ballast_detach(handle);
  return status;
}

}  // namespace

TEST_CASE("a pick names an instance, counts as in flight, and its report ends that") {
  Published published(settings_of({service_of("web", Strategy::maglev, 10)}));
  Attached a(published.directory());
  CHECK(ballast_warning(a.handle) == nullptr);
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("user:1", pick) == BALLAST_OK);
  CHECK(pick.reason == BALLAST_FIRST_CHOICE);
  CHECK(pick.attempts == 1);
  CHECK(pick.family == 4);
  CHECK(pick.port == 8080);
  CHECK(pick.epoch == ballast_epoch(a.handle, a.service));
  CHECK(pick.segment == published.publisher().segment_id());
  char text[BALLAST_ADDRESS_TEXT];
  const std::size_t length = ballast_format_address(&pick, text, sizeof text);
  CHECK(length == std::strlen(text));
  CHECK(std::string(text).starts_with("127.1.0."));
  char cut[6];
  CHECK(ballast_format_address(&pick, cut, sizeof cut) == length);
  CHECK(std::string(cut) == "127.1");
  sockaddr_storage address{};
  socklen_t address_length = 0;
  REQUIRE(ballast_pick_sockaddr(&pick, &address, &address_length) == BALLAST_OK);
  CHECK(address_length == sizeof(sockaddr_in));
  CHECK(ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port) == 8080);

  CHECK(published.totals(pick.slot).in_flight() == 1);
  CHECK(ballast_report(a.handle, &pick, BALLAST_SERVER_ERROR, 1500) == BALLAST_OK);
  CHECK(published.totals(pick.slot).in_flight() == 0);
  CHECK(published.totals(pick.slot).values[shm::kServerError] == 1);
  CHECK(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_ALREADY_REPORTED);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("latencies count with outcomes that tell how long work takes") {
  Published published(settings_of({service_of("web", Strategy::maglev, 1)}));
  Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  for (int outcome = BALLAST_SUCCESS; outcome <= BALLAST_ABANDONED; ++outcome) {
    REQUIRE(a.pick("k", pick) == BALLAST_OK);
    CHECK(ballast_report(a.handle, &pick, static_cast<ballast_outcome_t>(outcome),
                         std::uint64_t{1} << outcome) == BALLAST_OK);
  }
  const auto values = published.totals(pick.slot).values;
  CHECK(values[shm::kLatencySumUs] ==
        (1U << BALLAST_SUCCESS | 1U << BALLAST_TIMEOUT | 1U << BALLAST_OVERLOAD));
  CHECK(values[shm::kLatencyCount] == 3);
}

TEST_CASE("the same key goes to the same instance from every handle") {
  Published published(settings_of({service_of("web", Strategy::maglev, 50)}));
  Attached a(published.directory());
  Attached b(published.directory());
  for (int i = 0; i < 1000; ++i) {
    const std::string key = "key" + std::to_string(i);
    ballast_pick_t first = BALLAST_PICK_INIT;
    ballast_pick_t second = BALLAST_PICK_INIT;
    REQUIRE(a.pick(key, first) == BALLAST_OK);
    REQUIRE(b.pick(key, second) == BALLAST_OK);
    CHECK(first.slot == second.slot);
    CHECK(first.row != second.row);
    REQUIRE(ballast_report(b.handle, &first, BALLAST_SUCCESS, 1) == BALLAST_WRONG_HANDLE);
    REQUIRE(ballast_report(a.handle, &first, BALLAST_SUCCESS, 1) == BALLAST_OK);
    REQUIRE(ballast_abandon(b.handle, &second) == BALLAST_OK);
  }
  CHECK(published.in_flight() == 0);
}

TEST_CASE("each thing that can be wrong has an outcome of its own") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  SUBCASE("nothing attached") {
    CHECK(ballast_pick(nullptr, 0, "k", 1, nullptr, &pick) == BALLAST_NOT_ATTACHED);
    CHECK(ballast_report(nullptr, &pick, BALLAST_SUCCESS, 1) == BALLAST_NOT_ATTACHED);
    ballast_service_t service = 0;
    CHECK(ballast_find_service(nullptr, "web", &service) == BALLAST_NOT_ATTACHED);
    CHECK(ballast_epoch(nullptr, 0) == 0);
    CHECK(ballast_warning(nullptr) == nullptr);
    ballast_info_t info = BALLAST_INFO_INIT;
    CHECK(ballast_info(nullptr, &info) == BALLAST_NOT_ATTACHED);
    ballast_detach(nullptr);
  }
  SUBCASE("arguments that cannot be") {
    CHECK(ballast_attach(nullptr, nullptr) == BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_pick(a.handle, a.service, "k", 1, nullptr, nullptr) == BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_pick(a.handle, a.service, nullptr, 1, nullptr, &pick) ==
          BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_pick(a.handle, 77, "k", 1, nullptr, &pick) == BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_ALREADY_REPORTED);
    REQUIRE(a.pick("", pick) == BALLAST_OK);
    CHECK(ballast_report(a.handle, &pick, static_cast<ballast_outcome_t>(0), 1) ==
          BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_report(a.handle, &pick, static_cast<ballast_outcome_t>(9), 1) ==
          BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
    ballast_service_t service = 0;
    CHECK(ballast_find_service(a.handle, "", &service) == BALLAST_INVALID_ARGUMENT);
    CHECK(ballast_find_service(a.handle, std::string(64, 'x').c_str(), &service) ==
          BALLAST_INVALID_ARGUMENT);
    pick.family = 0;
    sockaddr_storage address{};
    socklen_t length = 0;
    CHECK(ballast_pick_sockaddr(&pick, &address, &length) == BALLAST_INVALID_ARGUMENT);
  }
  SUBCASE("a namespace that is no name, but a way out of the directory") {
    const std::string longest(63, 'x');
    for (const std::string& name :
         {std::string("../x"), std::string(".."), std::string("."), std::string("a/b"),
          std::string("/etc"), std::string(), std::string("a b"), std::string("\033[2J"),
          longest + "x", std::string(100'000, 'x')}) {
      CAPTURE(name.substr(0, 70));
      ballast_options_t options = BALLAST_OPTIONS_INIT;
      options.name_space = name.c_str();
      auto* handle = a.handle;
      CHECK(ballast_attach(&options, &handle) == BALLAST_INVALID_ARGUMENT);
      CHECK(handle == nullptr);
      const std::string said = ballast_last_error();
      CHECK(said.find("is no namespace's name") != std::string::npos);
      CHECK(said.find("`directory`") != std::string::npos);
      CHECK(said.find('\033') == std::string::npos);
    }
    for (const std::string& name : {longest, std::string("no-such_name.9")}) {
      ballast_options_t options = BALLAST_OPTIONS_INIT;
      options.name_space = name.c_str();
      ballast_t* handle = nullptr;
      CHECK(ballast_attach(&options, &handle) == BALLAST_NOT_FOUND);
    }
  }
  SUBCASE("no checker has run") {
    CHECK(attach_to(published.directory() + "/none") == BALLAST_NOT_FOUND);
    CHECK(std::string(ballast_last_error()).find("start ballastd") != std::string::npos);
  }
  SUBCASE("every instance is down, until one is up again") {
    for (std::size_t i = 0; i < 3; ++i)
      published.set_usable(0, i, false);
    CHECK(a.pick("k", pick) == BALLAST_NO_INSTANCE);
    CHECK(ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_ALREADY_REPORTED);
    published.set_usable(0, 1, true);
    for (int i = 0; i < 100; ++i) {
      REQUIRE(a.pick(std::to_string(i), pick) == BALLAST_OK);
      CHECK(pick.slot == published.find(0, 1).slot);
      CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
    }
  }
  SUBCASE("a service that is not there yet, comes, goes, and comes back") {
    ballast_service_t late = 0;
    CHECK(ballast_find_service(a.handle, "late", &late) == BALLAST_SERVICE_UNKNOWN);
    CHECK(ballast_pick(a.handle, late, "k", 1, nullptr, &pick) == BALLAST_SERVICE_UNKNOWN);
    const auto web = service_of("web", Strategy::maglev, 3);
    const auto other = service_of("other", Strategy::maglev, 2, 100);
    const auto with = service_of("late", Strategy::maglev, 2, 10);
    published.apply(settings_of({web, with}));
    CHECK(ballast_pick(a.handle, late, "k", 1, nullptr, &pick) == BALLAST_OK);
    CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
    published.apply(settings_of({web}));
    CHECK(ballast_pick(a.handle, late, "k", 1, nullptr, &pick) == BALLAST_SERVICE_UNKNOWN);
    published.apply(settings_of({web, other}));  // takes its record
    CHECK(ballast_pick(a.handle, late, "k", 1, nullptr, &pick) == BALLAST_SERVICE_UNKNOWN);
    published.apply(settings_of({web, other, with}));
    REQUIRE(ballast_pick(a.handle, late, "k", 1, nullptr, &pick) == BALLAST_OK);
    CHECK((pick.slot == published.find(2, 0).slot || pick.slot == published.find(2, 1).slot));
    CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
    ballast_service_t again = 0;
    CHECK(ballast_find_service(a.handle, "late", &again) == BALLAST_OK);
    CHECK(again == late);
  }
  SUBCASE("a pick of a handle that is gone") {
    {
      Attached gone(published.directory());
      REQUIRE(gone.pick("k", pick) == BALLAST_OK);
      CHECK(published.in_flight() == 1);
    }
    CHECK(published.in_flight() == 0);
    CHECK(published.totals(pick.slot).values[shm::kAbandoned] == 1);
    Attached next(published.directory());
    CHECK(ballast_report(next.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_WRONG_HANDLE);
  }
}

TEST_CASE("structs of other releases") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  const std::string directory = published.directory();
  struct NewerOptions {
    ballast_options_t known;
    std::uint64_t added;
  } options{};
  options.known = BALLAST_OPTIONS_INIT;
  options.known.directory = directory.c_str();
  options.known.size = sizeof options;
  ballast_t* handle = nullptr;
  CHECK(ballast_attach(&options.known, &handle) == BALLAST_OK);
  ballast_detach(handle);
  options.added = 1;  // asks for what this library does not know
  CHECK(ballast_attach(&options.known, &handle) == BALLAST_INVALID_ARGUMENT);
  options.known.size = sizeof(ballast_options_t) - 8;
  CHECK(ballast_attach(&options.known, &handle) == BALLAST_INVALID_ARGUMENT);
  CHECK(handle == nullptr);

  Attached a(directory);
  struct NewerPick {
    ballast_pick_t known;
    std::uint64_t added;
  } pick{};
  pick.known = BALLAST_PICK_INIT;
  pick.known.size = sizeof pick;
  pick.added = 42;
  CHECK(a.pick("k", pick.known) == BALLAST_OK);
  CHECK(pick.added == 42);
  CHECK(pick.known.size == sizeof pick);
  CHECK(ballast_report(a.handle, &pick.known, BALLAST_SUCCESS, 1) == BALLAST_OK);
  pick.known.size = 0;
  CHECK(a.pick("k", pick.known) == BALLAST_INVALID_ARGUMENT);
  pick.known.size = sizeof(ballast_pick_t) - 1;
  CHECK(a.pick("k", pick.known) == BALLAST_INVALID_ARGUMENT);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("the hash of a key is the published one") {
  CHECK(ballast_key_hash("user:12345", 10) == 0xee6ddce90ffee5b3U);  // docs/hash-vectors.md
  CHECK(ballast_key_hash(nullptr, 0) == 0x2d06800538d394c2U);
}

TEST_CASE("what was tried is not picked again") {
  Published published(settings_of({service_of("web", Strategy::maglev, 4)}));
  Attached a(published.directory());
  ballast_pick_t picks[4] = {BALLAST_PICK_INIT, BALLAST_PICK_INIT, BALLAST_PICK_INIT,
                             BALLAST_PICK_INIT};
  const ballast_pick_t* tried[4];
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.tried = tried;
  for (std::size_t i = 0; i < 4; ++i) {
    options.tried_count = i;
    REQUIRE(a.pick("key", picks[i], &options) == BALLAST_OK);
    CHECK(picks[i].reason == (i == 0 ? BALLAST_FIRST_CHOICE : BALLAST_MOVED_EXCLUDED));
    for (std::size_t j = 0; j < i; ++j)
      CHECK(picks[i].slot != picks[j].slot);
    tried[i] = &picks[i];
  }
  options.tried_count = 4;
  ballast_pick_t fifth = BALLAST_PICK_INIT;
  CHECK(a.pick("key", fifth, &options) == BALLAST_NO_INSTANCE);
  options.tried_count = BALLAST_MAX_TRIED + 1;
  CHECK(a.pick("key", fifth, &options) == BALLAST_INVALID_ARGUMENT);
  for (auto& pick : picks)
    CHECK(ballast_report(a.handle, &pick, BALLAST_SUCCESS, BALLAST_NO_LATENCY) == BALLAST_OK);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("when all rows are taken picks work uncounted, and a row is taken once there is one") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}, 1));
  std::optional<Attached> first(published.directory());
  Attached second(published.directory());
  REQUIRE(ballast_warning(second.handle) != nullptr);
  CHECK(std::string(ballast_warning(second.handle)).find("max_workers") != std::string::npos);
  ballast_info_t info = BALLAST_INFO_INIT;
  REQUIRE(ballast_info(second.handle, &info) == BALLAST_OK);
  CHECK(info.row == BALLAST_NO_ROW);
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(second.pick("k", pick) == BALLAST_OK);
  CHECK(pick.row == BALLAST_NO_ROW);
  CHECK(published.in_flight() == 0);
  CHECK(ballast_report(second.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(ballast_report(second.handle, &pick, BALLAST_SUCCESS, 1) == BALLAST_ALREADY_REPORTED);
  first.reset();
  int picks = 0;
  while (ballast_warning(second.handle) != nullptr && picks < 3000) {
    ++picks;
    REQUIRE(second.pick("k", pick) == BALLAST_OK);
    REQUIRE(ballast_abandon(second.handle, &pick) == BALLAST_OK);
  }
  CHECK(picks < 3000);
  REQUIRE(second.pick("k", pick) == BALLAST_OK);
  CHECK(published.in_flight() == 1);
  CHECK(ballast_abandon(second.handle, &pick) == BALLAST_OK);
}
