// Whom an answer is for: the client, what it called its request, and the verb.
#pragma once

#include <string>

#include "engine/checker/control/control_server.hpp"

namespace ballast::checker {

struct Asker {
  ClientId client = 0;
  std::string id;  // as JSON; empty: none
  const char* verb = "";
};

}  // namespace ballast::checker
