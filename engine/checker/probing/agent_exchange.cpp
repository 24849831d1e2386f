// Collects one line, whatever pieces it comes in, and never more than a line may have.
#include "engine/checker/probing/agent_exchange.hpp"

#include <algorithm>
#include <utility>

#include "engine/checker/probing/agent_line.hpp"

namespace ballast::checker {

Payload AgentExchange::begin(bool /*new_connection*/) {
  answered_ = false;
  line_ = std::string();
  return send_;
}

Exchange::Step AgentExchange::on_bytes(std::string_view bytes) {
  answered_ = true;
  const std::size_t end = bytes.find_first_of("\r\n");
  const std::string_view part = bytes.substr(0, end);
  const bool too_long = part.size() > kMaxAgentLineBytes - line_.size();
  line_ += part.substr(0, kMaxAgentLineBytes - line_.size());
  if (!too_long && end == std::string_view::npos) return {};
  if (!too_long) return finish();
  Step step;
  step.done = true;
  step.result.reason = Reason::bad_response;
  step.result.note = "more than " + std::to_string(kMaxAgentLineBytes) + " bytes in a line";
  line_ = std::string();
  return step;
}

Exchange::Step AgentExchange::on_close() {
  if (!line_.empty()) return finish();
  Step step;
  step.done = true;
  step.result.reason = Reason::closed;
  return step;
}

Exchange::Unasked AgentExchange::on_unasked(std::string_view /*bytes*/) {
  Unasked unasked;
  unasked.enough = true;
  return unasked;
}

Exchange::Step AgentExchange::finish() {
  const AgentLine line = parse_agent_line(std::exchange(line_, std::string()));
  Step step;
  step.done = true;
  step.result.note = line.note;
  if (!line.understood) {
    step.result.reason = Reason::bad_response;
    return step;
  }
  step.result.reason = line.report.up == false ? Reason::agent_down : Reason::passed;
  step.result.agent = line.report;
  return step;
}

}  // namespace ballast::checker
