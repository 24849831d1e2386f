// What HttpResponse reads, as a check's result.
#include "engine/checker/probing/http_exchange.hpp"

#include <memory>

#include "engine/checker/probing/outcome.hpp"

namespace ballast::checker {

HttpExchange::HttpExchange(const CheckSettings& check, const BodyRule* rule,
                           const InstanceSettings& instance)
    : check_(check),
      request_(std::make_shared<const std::string>(make_request(instance, check))),
      body_(rule == nullptr ? nullptr : std::make_unique<BodyMatch>(*rule)),
      response_({check.method == "HEAD", check.max_body_bytes, body_.get()}) {}

Payload HttpExchange::begin(bool /*new_connection*/) {
  response_.reset();
  if (body_ != nullptr) body_->begin();
  return request_;
}

Exchange::Step HttpExchange::on_bytes(std::string_view bytes) {
  Step step;
  const std::size_t used = response_.feed(bytes);
  if (!response_.done()) return step;
  step.done = true;
  step.keep = response_.keep_alive() && used == bytes.size();
  step.result = judge();
  return step;
}

CheckResult HttpExchange::judge() {
  CheckResult result = judge_response(check_, response_);
  if (body_ == nullptr) return result;
  if (result.passed() && !body_->matches()) {
    result.reason = Reason::bad_body;
    result.note = body_->note();
  }
  body_->end();
  return result;
}

Exchange::Step HttpExchange::on_close() {
  Step step;
  step.done = true;
  response_.finish();
  if (response_.failed()) {
    step.result.reason = Reason::closed;
  } else {
    step.result = judge();
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
