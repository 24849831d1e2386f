// A flood of one kind is held back, counted and told of; other kinds are not touched by it.
#include "tools/ballastd/log_limiter.hpp"

#include <doctest/doctest.h>

namespace ballast::tools {
namespace {

using std::chrono::milliseconds;

const LogLimiter::Time kStart{std::chrono::hours(5)};

std::uint64_t admit_many(LogLimiter& limiter, const char* kind, int count, LogLimiter::Time now) {
  std::uint64_t admitted = 0;
  for (int i = 0; i < count; ++i)
    admitted += limiter.admit(kind, now) ? 1 : 0;
  return admitted;
}

}  // namespace

TEST_CASE("a burst gets through, and then so many a second") {
  LogLimiter limiter;
  CHECK(admit_many(limiter, "down", 1000, kStart) == LogLimiter::kBurst);
  CHECK(admit_many(limiter, "down", 1000, kStart + milliseconds(1000)) == LogLimiter::kPerSecond);
  CHECK(limiter.admit("up", kStart) == 0);
}

TEST_CASE("the next line says how many were held back") {
  LogLimiter limiter;
  CHECK(admit_many(limiter, "down", 250, kStart) == LogLimiter::kBurst);
  CHECK(limiter.admit("down", kStart + milliseconds(500)) == 250 - LogLimiter::kBurst);
  CHECK(limiter.admit("down", kStart + milliseconds(500)) == 0);
}

TEST_CASE("if no line comes any more, that is said all the same, once") {
  LogLimiter limiter;
  CHECK(admit_many(limiter, "down", 250, kStart) == LogLimiter::kBurst);
  CHECK(limiter.take_overdue(kStart + milliseconds(100)).empty());  // it may go on
  const auto overdue = limiter.take_overdue(kStart + milliseconds(2000));
  REQUIRE(overdue.size() == 1);
  CHECK(overdue[0].first == "down");
  CHECK(overdue[0].second == 250 - LogLimiter::kBurst);
  CHECK(limiter.take_overdue(kStart + milliseconds(9000)).empty());
}

TEST_CASE("kinds without end share one allowance") {
  LogLimiter limiter;
  std::uint64_t admitted = 0;
  for (int i = 0; i < 10'000; ++i)
    admitted += limiter.admit("kind" + std::to_string(i), kStart) ? 1 : 0;
  CHECK(admitted == LogLimiter::kMostKinds + LogLimiter::kBurst);
}

TEST_CASE("a clock that goes back gives nothing and takes nothing") {
  LogLimiter limiter;
  CHECK(admit_many(limiter, "down", 1000, kStart) == LogLimiter::kBurst);
  CHECK(admit_many(limiter, "down", 10, kStart - milliseconds(5000)) == 0);
}

}  // namespace ballast::tools
