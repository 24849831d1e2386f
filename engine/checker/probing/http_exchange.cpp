// What HttpResponse reads, as a check's result.
#include "engine/checker/probing/http_exchange.hpp"

#include <cstring>
#include <memory>

#include "engine/checker/probing/outcome.hpp"

namespace ballast::checker {

namespace {

std::unique_ptr<char[]> copy_of(const std::string& text) {
  auto copy = std::make_unique<char[]>(text.size() + 1);
  std::memcpy(copy.get(), text.c_str(), text.size() + 1);
  return copy;
}

}  // namespace

HttpExchange::HttpExchange(const Recipe& recipe, const InstanceSettings& instance)
    : recipe_(recipe),
      host_(recipe.request.by_instance() ? copy_of(host_of(instance)) : nullptr),
      body_(recipe.body == nullptr ? nullptr : std::make_unique<BodyMatch>(*recipe.body)),
      response_({recipe.settings.method == "HEAD", recipe.settings.max_body_bytes, body_.get()}) {}

Payload HttpExchange::begin(bool /*new_connection*/) {
  response_.reset();
  if (body_ != nullptr) body_->begin();
  if (host_ == nullptr) return recipe_.request.whole();
  return std::make_shared<const std::string>(recipe_.request.for_host(host_.get()));
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
  CheckResult result = judge_response(recipe_.settings, response_);
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
