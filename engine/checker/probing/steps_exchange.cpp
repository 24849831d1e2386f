// Steps are gone through in order; nothing looks back.
#include "engine/checker/probing/steps_exchange.hpp"

#include <cerrno>
#include <utility>

#include "engine/checker/probing/connect_exchange.hpp"
#include "engine/checker/probing/note.hpp"

namespace ballast::checker {

Payload StepsExchange::begin(bool /*new_connection*/) {
  next_ = 0;
  answered_ = false;
  unasked_bytes_ = 0;
  unmatched_ = std::string();
  return take_sends();
}

Payload StepsExchange::take_sends() {
  std::string bytes;
  while (next_ < steps_.size() && steps_[next_].kind == ExchangeStep::Kind::send)
    bytes += steps_[next_++].bytes;
  if (bytes.empty()) return nullptr;
  return std::make_shared<const std::string>(std::move(bytes));
}

Exchange::Step StepsExchange::on_bytes(std::string_view bytes) {
  answered_ = true;
  Step step;
  unmatched_.append(bytes.substr(0, kMaxUnmatchedBytes + 1));
  while (next_ < steps_.size()) {
    const std::string& expected = steps_[next_].bytes;
    const std::size_t at = unmatched_.find(expected);
    if (at == std::string::npos) {
      if (datagrams_ || unmatched_.size() > kMaxUnmatchedBytes) return finish(Reason::unexpected);
      return step;
    }
    unmatched_.erase(0, datagrams_ ? unmatched_.size() : at + expected.size());
    ++next_;
    if (Payload reply = take_sends()) {
      step.reply = std::move(reply);
      if (next_ < steps_.size()) {
        unmatched_.clear();  // what is expected next is an answer to what is said now
        return step;
      }
    } else if (datagrams_ && next_ < steps_.size()) {
      return step;
    }
  }
  Payload last = std::move(step.reply);
  step = finish(Reason::passed, true);
  step.reply = std::move(last);
  return step;
}

Exchange::Step StepsExchange::on_close() {
  return finish(unmatched_.empty() ? Reason::closed : Reason::unexpected);
}

Exchange::Unasked StepsExchange::on_unasked(std::string_view bytes) {
  unasked_bytes_ += bytes.size();
  Unasked unasked;
  unasked.enough = unasked_bytes_ > ConnectExchange::kMaxUnaskedBytes;
  return unasked;
}

CheckResult StepsExchange::on_timeout() {
  return unmatched_.empty() ? CheckResult{} : unexpected();
}

CheckResult StepsExchange::unexpected() const {
  CheckResult result;
  result.reason = Reason::unexpected;
  result.note = to_note(unmatched_);
  return result;
}

Exchange::Step StepsExchange::finish(Reason reason, bool keep) {
  Step step;
  step.done = true;
  step.keep = keep;
  if (reason == Reason::unexpected) {
    step.result = unexpected();
  } else {
    step.result.reason = reason;
  }
  unmatched_ = std::string();  // nothing is held between checks
  return step;
}

}  // namespace ballast::checker
