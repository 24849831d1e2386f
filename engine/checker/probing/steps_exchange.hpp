// A conversation given step by step: bytes to send, and bytes that must come, each somewhere in
// what has come since the one before. Over a stream; over datagrams, where every answer is one, it
// must be in the next. Owned by the prober, one for every instance that is checked so.
#pragma once

#include <string>
#include <vector>

#include "engine/checker/probing/exchange.hpp"

namespace ballast::checker {

class StepsExchange final : public Exchange {
 public:
  // What may come before what is expected; beyond it the answer counts as another.
  static constexpr std::size_t kMaxUnmatchedBytes = 16 * 1024;

  // `steps`, at least one, must outlive the exchange.
  explicit StepsExchange(const std::vector<ExchangeStep>& steps, bool datagrams = false)
      : steps_(steps), datagrams_(datagrams) {}

  [[nodiscard]] Payload begin(bool new_connection) override;
  [[nodiscard]] bool answered() const noexcept override { return answered_; }
  [[nodiscard]] Step on_bytes(std::string_view bytes) override;
  [[nodiscard]] Step on_close() override;
  [[nodiscard]] Unasked on_unasked(std::string_view bytes) override;
  [[nodiscard]] CheckResult on_timeout() override;

 private:
  // Passes over what is to be sent from here on, and returns it.
  [[nodiscard]] Payload take_sends();
  [[nodiscard]] Step finish(Reason reason, bool keep = false);
  [[nodiscard]] CheckResult unexpected() const;

  const std::vector<ExchangeStep>& steps_;
  bool datagrams_;
  bool answered_ = false;
  std::size_t next_ = 0;
  std::size_t unasked_bytes_ = 0;
  std::string unmatched_;  // what has come and is not accounted for yet
};

}  // namespace ballast::checker
