// A request and its response, over HTTP/1.1: check after check on one connection where the server
// lets it be kept. Owned by the prober, one for every instance that is checked so.
#pragma once

#include <memory>

#include "engine/checker/probing/body_match.hpp"
#include "engine/checker/probing/exchange.hpp"
#include "engine/checker/probing/http_response.hpp"

namespace ballast::checker {

class HttpExchange final : public Exchange {
 public:
  // `check` and `rule` must outlive the exchange; without a rule the body may be anything.
  HttpExchange(const CheckSettings& check, const BodyRule* rule, const InstanceSettings& instance);

  [[nodiscard]] Payload begin(bool new_connection) override;
  [[nodiscard]] bool answered() const noexcept override { return response_.started(); }
  [[nodiscard]] Step on_bytes(std::string_view bytes) override;
  [[nodiscard]] Step on_close() override;
  [[nodiscard]] Unasked on_unasked(std::string_view bytes) override;

 private:
  [[nodiscard]] CheckResult judge();

  const CheckSettings& check_;
  Payload request_;
  std::unique_ptr<BodyMatch> body_;
  HttpResponse response_;
};

}  // namespace ballast::checker
