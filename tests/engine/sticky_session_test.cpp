// Sticky sessions through the shared library: a token leads a client back to its instance while
// that may be used, in every process and on every host with the key, and the pick says when not.
#include <ballast.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <ballast.hpp>
#include <cstring>
#include <string>

#include "shm/state_word.hpp"

#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"
#include "tests/support/sticky_key.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;
using tests::StickyKeyFile;
using tests::with_sticky_keys;

namespace {

std::string token_of(const Attached& a, const ballast_pick_t& pick) {
  char text[BALLAST_STICKY_TEXT];
  REQUIRE(ballast_sticky_token(a.handle, a.service, &pick, text, sizeof text) == BALLAST_OK);
  REQUIRE(std::strlen(text) == BALLAST_STICKY_TEXT - 1);
  return text;
}

}  // namespace

TEST_CASE("a token is made of a pick, the same one each time") {
  const StickyKeyFile key;
  Published published(
      with_sticky_keys(settings_of({service_of("web", Strategy::maglev, 10)}), key));
  const Attached a(published.directory());
  const Attached b(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", pick) == BALLAST_OK);
  const std::string token = token_of(a, pick);
  CHECK(token == token_of(a, pick));
  CHECK(token == token_of(b, pick));
  CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
  CHECK(token == token_of(a, pick));  // also once it is reported
}

TEST_CASE("no token without a key, and none of what is no pick") {
  const StickyKeyFile key;
  Published published(settings_of({service_of("web", Strategy::maglev, 10)}));
  const Attached a(published.directory());
  ballast_pick_t pick = BALLAST_PICK_INIT;
  REQUIRE(a.pick("k", pick) == BALLAST_OK);
  char text[BALLAST_STICKY_TEXT] = "something";
  const auto make = [&](ballast_service_t service, const ballast_pick_t* of, std::size_t size) {
    return ballast_sticky_token(a.handle, service, of, text, size);
  };
  CHECK(make(a.service, &pick, sizeof text) == BALLAST_NO_STICKY_KEY);
  CHECK(text[0] == '\0');
  published.apply(with_sticky_keys(published.settings(), key));
  CHECK(make(a.service, &pick, sizeof text) == BALLAST_OK);
  CHECK(make(a.service, &pick, sizeof text - 1) == BALLAST_INVALID_ARGUMENT);
  CHECK(text[0] == '\0');
  CHECK(make(a.service + 1, &pick, sizeof text) == BALLAST_INVALID_ARGUMENT);
  CHECK(make(a.service, nullptr, sizeof text) == BALLAST_INVALID_ARGUMENT);
  CHECK(ballast_sticky_token(a.handle, a.service, &pick, nullptr, 99) == BALLAST_INVALID_ARGUMENT);
  CHECK(ballast_sticky_token(nullptr, a.service, &pick, text, sizeof text) == BALLAST_NOT_ATTACHED);
  ballast_pick_t none = BALLAST_PICK_INIT;
  CHECK(make(a.service, &none, sizeof text) == BALLAST_INVALID_ARGUMENT);
  CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
}

namespace {

// A pick with a token, reported at once.
struct Visit {
  ballast_status_t status = BALLAST_OK;
  ballast_pick_t pick = BALLAST_PICK_INIT;
  std::string address;

  [[nodiscard]] int reason() const { return pick.reason; }
};

Visit pick_with(const Attached& a, const std::string& key, const std::string& token) {
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.sticky = token.data();
  options.sticky_length = token.size();
  Visit outcome;
  outcome.status = a.pick(key, outcome.pick, &options);
  if (outcome.status == BALLAST_OK) {
    char text[BALLAST_ADDRESS_TEXT];
    ballast_format_address(&outcome.pick, text, sizeof text);
    outcome.address = text;
    CHECK(ballast_report(a.handle, &outcome.pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  }
  return outcome;
}

// The client's first request.
struct Client {
  std::string token;
  std::string address;
  std::uint32_t slot = 0;
  std::uint32_t incarnation = 0;
};

Client first_request(const Attached& a, const std::string& key) {
  const Visit outcome = pick_with(a, key, "");
  REQUIRE(outcome.status == BALLAST_OK);
  return {token_of(a, outcome.pick), outcome.address, outcome.pick.slot, outcome.pick.incarnation};
}

// Comes back to the client's instance, whatever the key.
void check_honoured(const Attached& a, const Client& client) {
  for (int i = 0; i < 20; ++i) {
    const Visit outcome = pick_with(a, "other" + std::to_string(i), client.token);
    REQUIRE(outcome.status == BALLAST_OK);
    CHECK(outcome.address == client.address);
    CHECK(outcome.reason() == BALLAST_STICKY);
    CHECK(outcome.pick.attempts == 1);
  }
}

// Falls where it would without a token, and says so.
void check_lost(const Attached& a, const std::string& token) {
  for (int i = 0; i < 20; ++i) {
    const std::string key = "other" + std::to_string(i);
    const Visit outcome = pick_with(a, key, token);
    REQUIRE(outcome.status == BALLAST_OK);
    CHECK(outcome.reason() == BALLAST_STICKY_LOST);
    CHECK(outcome.address == pick_with(a, key, "").address);
  }
}

void set_admin(Published& published, std::uint32_t slot, shm::Admin admin) {
  shm::Word64& word = published.publisher().segment().table.states[slot];
  shm::State state = shm::unpack(word);
  state.admin = admin;
  state.usable = state.plain = admin == shm::Admin::ready;
  word = shm::pack(state);
}

checker::Settings ten(const StickyKeyFile& key, Strategy strategy = Strategy::maglev) {
  return with_sticky_keys(settings_of({service_of("web", strategy, 10)}), key);
}

}  // namespace

TEST_CASE("a token leads back, with every strategy and in every process") {
  const StickyKeyFile key;
  for (const auto& [strategy, name] : engine::kStrategies) {
    CAPTURE(std::string(name));
    Published published(ten(key, strategy));
    const Attached a(published.directory());
    const Attached b(published.directory());
    for (int i = 0; i < 10; ++i) {
      const Client client = first_request(a, "user" + std::to_string(i));
      check_honoured(a, client);
      check_honoured(b, client);
      CHECK(first_request(b, "x").token.size() == client.token.size());
    }
    CHECK(published.in_flight() == 0);
  }
}

TEST_CASE("health comes first, and the token is good again afterwards") {
  const StickyKeyFile key;
  Published published(ten(key));
  const Attached a(published.directory());
  const Client client = first_request(a, "user");
  SUBCASE("down") {
    std::size_t instance = 0;
    while (published.find(0, instance).slot != client.slot)
      ++instance;
    published.set_usable(0, instance, false);
    check_lost(a, client.token);
    published.set_usable(0, instance, true);
  }
  for (const shm::Admin admin : {shm::Admin::drain, shm::Admin::maintenance}) {
    set_admin(published, client.slot, admin);
    check_lost(a, client.token);
    set_admin(published, client.slot, shm::Admin::ready);
    check_honoured(a, client);
  }
  check_honoured(a, client);
}

TEST_CASE("limits hold for sticky clients too") {
  const StickyKeyFile key;
  auto settings = ten(key);
  settings.services[0].policy.max_in_flight = 2;
  Published published(settings);
  const Attached a(published.directory());
  const Client client = first_request(a, "user");
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.sticky = client.token.data();
  options.sticky_length = client.token.size();
  ballast_pick_t held[2] = {BALLAST_PICK_INIT, BALLAST_PICK_INIT};
  for (ballast_pick_t& pick : held) {
    REQUIRE(a.pick("k", pick, &options) == BALLAST_OK);
    CHECK(pick.slot == client.slot);
  }
  const Visit third = pick_with(a, "user", client.token);
  CHECK(third.status == BALLAST_OK);
  CHECK(third.reason() == BALLAST_STICKY_LOST);
  CHECK(third.pick.slot != client.slot);
  for (ballast_pick_t& pick : held)
    CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
  check_honoured(a, client);
}

TEST_CASE("a token survives reloads, growth and other checkers") {
  const StickyKeyFile key;
  Published published(ten(key));
  const Attached a(published.directory());
  const Client client = first_request(a, "user");
  const auto find = [&] { return pick_with(a, "k", client.token); };
  SUBCASE("a reload that adds instances") {
    published.apply(with_sticky_keys(settings_of({service_of("web", Strategy::maglev, 13)}), key));
  }
  SUBCASE("a change of strategy") {
    published.apply(ten(key, Strategy::ketama));
  }
  SUBCASE("growth into another segment") {
    const auto before = published.publisher().segment_id();
    published.apply(
        with_sticky_keys(settings_of({service_of("web", Strategy::maglev, 2000)}), key));
    REQUIRE(published.publisher().segment_id() != before);
  }
  SUBCASE("another checker") {
    published.restart();
  }
  SUBCASE("another checker, after a reload") {
    published.restart();
    published.apply(with_sticky_keys(settings_of({service_of("web", Strategy::maglev, 13)}), key));
    published.restart();
  }
  CHECK(find().reason() == BALLAST_STICKY);
  check_honoured(a, client);
  check_honoured(Attached(published.directory()), client);
}

TEST_CASE(
    "an instance that leaves takes its tokens along, and one that comes back has them again") {
  const StickyKeyFile key;
  Published published(ten(key));
  const Attached a(published.directory());
  const Client client = first_request(a, "user");
  auto without = published.settings();
  std::erase_if(without.services[0].instances,
                [&](const auto& instance) { return instance.text == client.address; });
  REQUIRE(without.services[0].instances.size() == 9);
  published.apply(without);
  check_lost(a, client.token);
  published.apply(ten(key));
  check_honoured(a, client);
}

TEST_CASE("another host with the same key leads to the same address, whatever its slots") {
  const StickyKeyFile key;
  Published here(ten(key));
  // Other services first, other instances too, and the ten in the opposite order.
  auto web = service_of("web", Strategy::ketama, 25);
  std::reverse(web.instances.begin(), web.instances.end());
  Published there(
      with_sticky_keys(settings_of({service_of("api", Strategy::maglev, 7), web}), key));
  const Attached a(here.directory());
  const Attached b(there.directory());
  int moved = 0;
  for (int i = 0; i < 30; ++i) {
    const Client client = first_request(a, "user" + std::to_string(i));
    check_honoured(b, client);
    moved += pick_with(b, "k", client.token).pick.slot != client.slot ? 1 : 0;
    // And what the other host makes is good here, if the instance is there.
    Client renewed = client;
    renewed.token = token_of(b, pick_with(b, "k", client.token).pick);
    check_honoured(a, renewed);
  }
  CHECK(moved > 0);
  // An address that is no member of the other.
  const Client only_there = first_request(b, "user");
  const Visit outcome = pick_with(a, "k", only_there.token);
  CHECK((outcome.reason() == BALLAST_STICKY) == (outcome.address == only_there.address));
}

TEST_CASE("hosts that gave their slots alike make the same tokens") {
  const StickyKeyFile key;
  Published here(ten(key));
  Published there(ten(key));
  const Attached a(here.directory());
  const Attached b(there.directory());
  CHECK(first_request(a, "user").token == first_request(b, "user").token);
}

TEST_CASE("a token of another key or another service opens nothing") {
  const StickyKeyFile key("1a");
  const StickyKeyFile other("2b");
  Published here(ten(key));
  Published there(ten(other));
  const Attached a(here.directory());
  const Attached b(there.directory());
  check_lost(b, first_request(a, "user").token);

  // The same addresses under another name, in the same table.
  auto api = service_of("api", Strategy::maglev, 10);
  here.apply(with_sticky_keys(settings_of({service_of("web", Strategy::maglev, 10), api}), key));
  const Attached c(here.directory(), "api");
  check_lost(c, first_request(a, "user").token);

  Published without(settings_of({service_of("web", Strategy::maglev, 10)}));
  check_lost(Attached(without.directory()), first_request(a, "user").token);
}

TEST_CASE("a key is rotated without losing a session") {
  const StickyKeyFile key;
  const std::string before = StickyKeyFile::key_of("1a");
  const std::string after = StickyKeyFile::key_of("2b");
  Published published(ten(key));
  const Attached a(published.directory());
  const Client client = first_request(a, "user");

  key.write(after + "\n" + before + "\n");
  published.apply(ten(key));
  check_honoured(a, client);
  const Client renewed = first_request(a, "user");
  CHECK(renewed.address == client.address);
  CHECK(renewed.token != client.token);
  check_honoured(a, renewed);

  key.write(after + "\n");
  published.apply(ten(key));
  check_lost(a, client.token);
  check_honoured(a, renewed);
}

TEST_CASE("a key file that cannot be used leaves everything as it was") {
  const StickyKeyFile key;
  Published published(ten(key));
  const Attached a(published.directory());
  const Client client = first_request(a, "user");
  key.write("not a key");
  const shm::Status applied = published.publisher().apply(
      with_sticky_keys(settings_of({service_of("web", Strategy::maglev, 3)}), key));
  REQUIRE_FALSE(applied);
  CHECK(applied.error().to_text().find(key.path()) != std::string::npos);
  check_honoured(a, client);
  CHECK(published.publisher().instances().size() == 10);
}

TEST_CASE("what was tried is not picked again, not even by its token") {
  const StickyKeyFile key;
  Published published(ten(key));
  const Attached a(published.directory());
  ballast_pick_t first = BALLAST_PICK_INIT;
  REQUIRE(a.pick("user", first) == BALLAST_OK);
  const std::string token = token_of(a, first);
  const ballast_pick_t* tried[] = {&first};
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.tried = tried;
  options.tried_count = 1;
  options.sticky = token.data();
  options.sticky_length = token.size();
  ballast_pick_t second = BALLAST_PICK_INIT;
  REQUIRE(a.pick("user", second, &options) == BALLAST_OK);
  CHECK(second.slot != first.slot);
  CHECK(second.reason == BALLAST_STICKY_LOST);
  CHECK(ballast_abandon(a.handle, &first) == BALLAST_OK);
  CHECK(ballast_abandon(a.handle, &second) == BALLAST_OK);
}

TEST_CASE("anything may be sent as a token") {
  const StickyKeyFile key;
  Published published(ten(key));
  const Attached a(published.directory());
  const Client client = first_request(a, "user");
  for (const std::string& token :
       {std::string("x"), std::string(32, 'A'), std::string(33, 'A'), std::string(100'000, '-'),
        std::string(32, '\0'), client.token + "=", client.token.substr(1), "\"" + client.token}) {
    check_lost(a, token);
  }
}

TEST_CASE("options of the release before tokens") {
  const StickyKeyFile key;
  Published published(ten(key));
  const Attached a(published.directory());
  const Client client = first_request(a, "user");
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  // What lies behind its end is somebody else's memory.
  options.sticky = reinterpret_cast<const char*>(8);
  options.sticky_length = 1'000'000;
  ballast_pick_t pick = BALLAST_PICK_INIT;
  for (const std::size_t size : {std::size_t{24}, std::size_t{32}}) {
    options.size = size;
    REQUIRE(a.pick("user", pick, &options) == BALLAST_OK);
    CHECK(pick.reason == BALLAST_FIRST_CHOICE);
    CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
  }
  options.size = 23;
  CHECK(a.pick("user", pick, &options) == BALLAST_INVALID_ARGUMENT);
  options.size = sizeof options;
  options.sticky = nullptr;
  CHECK(a.pick("user", pick, &options) == BALLAST_INVALID_ARGUMENT);
  struct Newer {
    ballast_pick_options_t known = BALLAST_PICK_OPTIONS_INIT;
    std::uint64_t added = 0;
  } newer;
  newer.known.size = sizeof newer;
  newer.known.sticky = client.token.data();
  newer.known.sticky_length = client.token.size();
  REQUIRE(a.pick("other", pick, &newer.known) == BALLAST_OK);
  CHECK(pick.reason == BALLAST_STICKY);
  CHECK(ballast_abandon(a.handle, &pick) == BALLAST_OK);
  newer.added = 1;
  CHECK(a.pick("other", pick, &newer.known) == BALLAST_INVALID_ARGUMENT);
}

TEST_CASE("in C++") {
  const StickyKeyFile key;
  Published published(ten(key));
  auto balancer = Balancer::in_directory(published.directory());
  auto web = balancer.service("web");
  const Pick first = web.pick("user");
  REQUIRE(first);
  const std::string cookie = web.sticky_token(first);
  CHECK(cookie.size() == 32);
  const Pick second = web.pick("anything", cookie);
  REQUIRE(second);
  CHECK(second.reason() == Reason::sticky);
  CHECK(second.address() == first.address());
  CHECK(web.sticky_token(second) == cookie);
  CHECK(web.pick("user", "").reason() == Reason::first_choice);
  CHECK(web.pick("user", "stale").reason() == Reason::sticky_lost);
  CHECK(web.sticky_token(Pick()).empty());
}
