// The shortest conversation: that the connection stands is all of the answer. On a connection that
// is watched afterwards the server may talk, as SMTP and SSH do, but not without end. Owned by the
// prober, one for every instance that is checked so.
#pragma once

#include "engine/checker/probing/exchange.hpp"

namespace ballast::checker {

class ConnectExchange final : public Exchange {
 public:
  // What a server may say unasked on a connection before we hang up.
  static constexpr std::size_t kMaxUnaskedBytes = 4096;

  [[nodiscard]] Payload begin(bool new_connection) override {
    if (new_connection) unasked_bytes_ = 0;
    return nullptr;
  }
  [[nodiscard]] bool connecting_is_all() const noexcept override { return true; }
  [[nodiscard]] bool answered() const noexcept override { return false; }
  [[nodiscard]] Step on_bytes(std::string_view) override { return {}; }
  [[nodiscard]] Step on_close() override {
    Step step;
    step.done = true;
    step.result.reason = Reason::closed;
    return step;
  }
  [[nodiscard]] Unasked on_unasked(std::string_view bytes) override {
    unasked_bytes_ += bytes.size();
    Unasked unasked;
    unasked.enough = unasked_bytes_ > kMaxUnaskedBytes;
    return unasked;
  }

 private:
  std::size_t unasked_bytes_ = 0;
};

}  // namespace ballast::checker
