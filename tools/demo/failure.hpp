// How the demo stops early: an exception with one line for the person who started it. Everything
// that it owns (processes, files) is given back on the way out.
#pragma once

#include <stdexcept>

namespace ballast::tools::demo {

// Something could not start or did not happen in time.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A signal asked the demo to end.
class Interrupted : public std::runtime_error {
 public:
  Interrupted() : std::runtime_error("interrupted") {}
};

}  // namespace ballast::tools::demo
