// Sticky sessions through the shared library: a token leads a client back to its instance while
// that may be used, in every process and on every host with the key, and the pick says when not.
#include <ballast.h>
#include <doctest/doctest.h>

#include <cstring>
#include <string>

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
