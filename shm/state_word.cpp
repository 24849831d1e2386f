// The words people read for what a state word says.
#include "shm/state_word.hpp"

namespace ballast::shm {

const char* to_text(Health health) noexcept {
  switch (health) {
    case Health::unknown:
      return "unknown";
    case Health::up:
      return "up";
    case Health::down:
      return "down";
  }
  return "invalid";
}

const char* to_text(Admin admin) noexcept {
  switch (admin) {
    case Admin::ready:
      return "ready";
    case Admin::drain:
      return "drain";
    case Admin::maintenance:
      return "maintenance";
  }
  return "invalid";
}

const char* to_text(Reason reason) noexcept {
  static constexpr const char* kText[kReasonCount] = {
      "none",         "not_checked", "passed",     "connect_refused", "connect_timeout",
      "unreachable",  "reset",       "closed",     "timeout",         "bad_status",
      "bad_response", "admin",       "tls_failed", "bad_certificate", "bad_body",
      "unexpected",   "not_serving", "agent_down", "bad_exit"};
  const auto index = static_cast<unsigned>(reason);
  return index < kReasonCount ? kText[index] : "invalid";
}

}  // namespace ballast::shm
