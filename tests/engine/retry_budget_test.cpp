// The retry budget's arithmetic.
#include "engine/retry_budget.hpp"

#include <doctest/doctest.h>

namespace ballast::engine {

TEST_CASE("a share of what is in flight, and never less than the minimum") {
  CHECK(retry_limit(0, 20, 3) == 3);
  CHECK(retry_limit(15, 20, 3) == 3);
  CHECK(retry_limit(19, 20, 3) == 3);
  CHECK(retry_limit(20, 20, 3) == 4);
  CHECK(retry_limit(1000, 20, 3) == 200);
  CHECK(retry_limit(1000, 100, 3) == 1000);
  CHECK(retry_limit(1000, 0, 3) == 3);
  CHECK(retry_limit(0, 20, 0) == 0);
  CHECK(retry_limit(UINT64_MAX, 100, 3) == UINT32_MAX);
}

}  // namespace ballast::engine
