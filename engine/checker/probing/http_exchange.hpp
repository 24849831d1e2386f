// A request and its response, over HTTP/1.1: check after check on one connection where the server
// lets it be kept. Owned by the prober, one for every instance that is checked so.
#pragma once

#include "engine/checker/probing/exchange.hpp"
#include "engine/checker/probing/http_response.hpp"

namespace ballast::checker {

class HttpExchange final : public Exchange {
 public:
  // `check` must outlive the exchange.
  HttpExchange(const CheckSettings& check, const InstanceSettings& instance);

  [[nodiscard]] Payload begin(bool new_connection) override;
  [[nodiscard]] bool answered() const noexcept override { return response_.started(); }
  [[nodiscard]] Step on_bytes(std::string_view bytes) override;
  [[nodiscard]] Step on_close() override;
  [[nodiscard]] Unasked on_unasked(std::string_view bytes) override;

 private:
  const CheckSettings& check_;
  Payload request_;
  HttpResponse response_;
};

}  // namespace ballast::checker
