// A request and its response, over HTTP/1.1: check after check on one connection where the server
// lets it be kept. Owned by the prober, one for every instance that is checked so.
#pragma once

#include <memory>

#include "engine/checker/probing/body_match.hpp"
#include "engine/checker/probing/exchange.hpp"
#include "engine/checker/probing/http_response.hpp"
#include "engine/checker/probing/recipe.hpp"

namespace ballast::checker {

class HttpExchange final : public Exchange {
 public:
  // `recipe` must outlive the exchange.
  HttpExchange(const Recipe& recipe, const InstanceSettings& instance);

  [[nodiscard]] Payload begin(bool new_connection) override;
  [[nodiscard]] bool answered() const noexcept override { return response_.started(); }
  [[nodiscard]] Step on_bytes(std::string_view bytes) override;
  [[nodiscard]] Step on_close() override;
  [[nodiscard]] Unasked on_unasked(std::string_view bytes) override;

 private:
  [[nodiscard]] CheckResult judge();

  const Recipe& recipe_;
  // The host to ask for, if it is the instance's own. The request is made of it anew for each
  // check: ten thousand of them kept would be megabytes, and never in the processor's caches.
  std::unique_ptr<char[]> host_;
  std::unique_ptr<BodyMatch> body_;
  HttpResponse response_;
};

}  // namespace ballast::checker
