// Property tests: `CHECK(holds("name", [](...) {...}))` runs rapidcheck with a fixed seed, so that
// a run is the same everywhere; set RC_PARAMS (for example "seed=7 max_success=1000") to search on.
#pragma once

#include <rapidcheck.h>

#include <cstdlib>
#include <string>
#include <utility>

#include "tests/support/sanitized.hpp"

namespace ballast::tests {

template <class Property>
bool holds(const std::string& name, Property&& property) {
  setenv("RC_PARAMS", kSanitized ? "seed=20260722 max_success=25" : "seed=20260722 max_success=100",
         /*overwrite=*/0);
  return rc::check(name, std::forward<Property>(property));
}

}  // namespace ballast::tests
