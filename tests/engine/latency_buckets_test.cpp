// That every time goes into the bucket that its bounds say.
#include "engine/latency_buckets.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using ballast::engine::kLatencyBoundsUs;
using ballast::engine::latency_bucket;

namespace {

std::size_t by_looking_through(std::uint32_t us) {
  const auto* const bound = std::lower_bound(kLatencyBoundsUs.begin(), kLatencyBoundsUs.end(), us);
  return static_cast<std::size_t>(bound - kLatencyBoundsUs.begin());
}

}  // namespace

TEST_CASE("bounds ascend") {
  CHECK(std::is_sorted(kLatencyBoundsUs.begin(), kLatencyBoundsUs.end()));
  CHECK(std::adjacent_find(kLatencyBoundsUs.begin(), kLatencyBoundsUs.end()) ==
        kLatencyBoundsUs.end());
}

TEST_CASE("a time goes where looking through the bounds puts it") {
  for (std::uint32_t us = 0; us < 300'000; ++us)
    REQUIRE(latency_bucket(us) == by_looking_through(us));
  for (const std::uint32_t bound : kLatencyBoundsUs) {
    for (const std::uint32_t us : {bound - 1, bound, bound + 1})
      CHECK(latency_bucket(us) == by_looking_through(us));
  }
  for (unsigned bit = 0; bit < 32; ++bit) {
    const std::uint32_t us = std::uint32_t{1} << bit;
    CHECK(latency_bucket(us - 1) == by_looking_through(us - 1));
    CHECK(latency_bucket(us) == by_looking_through(us));
  }
  CHECK(latency_bucket(UINT32_MAX) == ballast::shm::kLatencyBuckets - 1);
}
