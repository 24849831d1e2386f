// What tests of the checker's loop have in common: turning it until something holds, on each
// backend that this machine has, with checks that come so seldom that only what is under test can
// have brought them about.
#pragma once

#include <doctest/doctest.h>

#include <chrono>
#include <functional>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"
#include "tests/support/skip.hpp"

namespace ballast::tests {

// The limit only keeps a broken build from hanging.
inline void turn_until(checker::Loop& loop, const std::function<bool()>& done) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done()) {
    REQUIRE_MESSAGE(std::chrono::steady_clock::now() < limit, "nothing happened for 60 s");
    loop.run_once(std::chrono::milliseconds(20));
  }
}

inline void on_each_backend(const std::function<void(checker::Backend)>& body) {
  using checker::Backend;
  SUBCASE("io_uring") {
    const auto probe = checker::make_loop({Backend::io_uring, 0, nullptr});
    if (!probe) return skip("on epoll only: " + probe.error().to_text());
    CHECK((*probe)->backend() == Backend::io_uring);
    body(Backend::io_uring);
  }
  SUBCASE("epoll") {
    body(Backend::epoll);
  }
}

// Only a sentinel or a first check can bring anything about with these.
inline checker::CheckSettings hourly() {
  checker::CheckSettings check;
  check.interval = std::chrono::hours(1);
  check.fast_interval = std::chrono::hours(1);
  check.timeout = std::chrono::seconds(20);
  return check;
}

}  // namespace ballast::tests
