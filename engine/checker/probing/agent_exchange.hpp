// The conversation with an instance's agent: connect, say the configured text if there is one, read
// one line. The line is over at its first CR or LF, or when the agent closes. Passed unless it says
// that the instance is down; what else it says goes with the result. Owned by the prober, one for
// every agent that is asked.
#pragma once

#include <string>

#include "engine/checker/probing/exchange.hpp"

namespace ballast::checker {

class AgentExchange final : public Exchange {
 public:
  // `send` may be empty: the agent speaks first.
  explicit AgentExchange(const std::string& send)
      : send_(send.empty() ? nullptr : std::make_shared<const std::string>(send)) {}

  [[nodiscard]] Payload begin(bool new_connection) override;
  [[nodiscard]] bool answered() const noexcept override { return answered_; }
  [[nodiscard]] Step on_bytes(std::string_view bytes) override;
  [[nodiscard]] Step on_close() override;
  [[nodiscard]] Unasked on_unasked(std::string_view bytes) override;

 private:
  [[nodiscard]] Step finish();

  Payload send_;
  bool answered_ = false;
  std::string line_;
};

}  // namespace ballast::checker
