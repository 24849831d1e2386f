// One check's conversation with an instance, apart from how bytes travel: what to say, and what the
// answers mean. The prober owns one for every instance that is checked over a stream, opens and
// closes the connection (plain or TLS), keeps the deadline, and passes bytes through. An exchange
// lives as long as its instance's check settings and serves check after check, one at a time. Pure
// but for its own memory: no I/O, no clock. What it is fed may be hostile: every implementation
// bounds what it keeps.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

class Exchange {
 public:
  // What bytes of the peer led to.
  struct Step {
    Payload reply;      // to be sent now; null: nothing
    bool done = false;  // the check is over, `result` says how (without its latency)
    bool keep = false;  // when done: this connection may serve the next check
    // The check is not over, but the connection is, and the peer has not looked at the question: as
    // if it had ended unanswered.
    bool lost = false;
    CheckResult result;
  };

  // What came while no check was under way, on a connection that is kept.
  struct Unasked {
    Payload reply;        // protocol housekeeping (a ping's answer); null: nothing
    bool lost = false;    // the connection is of no more use, as if the peer had closed it
    bool enough = false;  // to be closed too, but by our own choice: no sign of anything
    // The server says by itself that something has changed: check again at once.
    bool changed = false;
  };

  virtual ~Exchange() = default;
  Exchange() = default;
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // A check begins, on a new connection or on the one that was kept. Returns what to say first;
  // null: the peer speaks first.
  [[nodiscard]] virtual Payload begin(bool new_connection) = 0;
  // True where the connection is all of the answer (a bare TCP check): the check ends with it.
  [[nodiscard]] virtual bool connecting_is_all() const noexcept { return false; }
  // Whether any byte of an answer has come since `begin`. If not, and a kept connection ends, the
  // peer has never seen the question.
  [[nodiscard]] virtual bool answered() const noexcept = 0;

  [[nodiscard]] virtual Step on_bytes(std::string_view bytes) = 0;
  // The peer has closed in order during the check. Always done, never kept.
  [[nodiscard]] virtual Step on_close() = 0;
  [[nodiscard]] virtual Unasked on_unasked(std::string_view bytes) = 0;
  // The time for the check is over, on a connection that stands. For those who can tell more than
  // that nothing came in time (none: timeout).
  [[nodiscard]] virtual CheckResult on_timeout() { return {}; }
};

}  // namespace ballast::checker
