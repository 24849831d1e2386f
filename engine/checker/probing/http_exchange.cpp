// What HttpResponse reads, as a check's result.
#include "engine/checker/probing/http_exchange.hpp"

#include <memory>

#include "engine/checker/probing/outcome.hpp"

namespace ballast::checker {

HttpExchange::HttpExchange(const CheckSettings& check, const InstanceSettings& instance)
    : check_(check), request_(std::make_shared<const std::string>(make_request(instance, check))) {}

Payload HttpExchange::begin(bool /*new_connection*/) {
  response_.reset();
  return request_;
}

Exchange::Step HttpExchange::on_bytes(std::string_view bytes) {
  Step step;
  const std::size_t used = response_.feed(bytes);
  if (!response_.done()) return step;
  step.done = true;
  step.keep = response_.keep_alive() && used == bytes.size();
  step.result = judge_response(check_, response_);
  return step;
}

Exchange::Step HttpExchange::on_close() {
  Step step;
  step.done = true;
  response_.finish();
  if (response_.failed()) {
    step.result.reason = Reason::closed;
  } else {
    step.result = judge_response(check_, response_);
  }
  return step;
}

// Between checks nobody has asked for anything: a "408 Request Timeout" before an idle close, or a
// server that has lost its place. Either way the connection is of no more use.
Exchange::Unasked HttpExchange::on_unasked(std::string_view /*bytes*/) {
  Unasked unasked;
  unasked.lost = true;
  return unasked;
}

}  // namespace ballast::checker
