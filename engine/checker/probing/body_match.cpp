// The only unit that sees RE2.
#include "engine/checker/probing/body_match.hpp"

#include <re2/re2.h>

#include <algorithm>

#include "engine/checker/probing/note.hpp"
#include "engine/checker/probing/verdict.hpp"

namespace ballast::checker {

namespace {

// Memory of one expression, its cache of states included.
constexpr std::int64_t kRegexMemory = 1 << 20;

re2::RE2::Options regex_options() {
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(kRegexMemory);
  options.set_encoding(re2::RE2::Options::EncodingLatin1);  // a body is bytes
  return options;
}

}  // namespace

struct BodyRule::Regex {
  explicit Regex(const std::string& expression) : compiled(expression, regex_options()) {}
  re2::RE2 compiled;
};

std::optional<std::string> judge_regex(const std::string& expression) {
  const re2::RE2 compiled(expression, regex_options());
  if (compiled.ok()) return std::nullopt;
  return compiled.error();
}

BodyRule::BodyRule(const CheckSettings& check)
    : contains_(check.body_contains),
      regex_(check.body_regex.empty() ? nullptr : std::make_unique<Regex>(check.body_regex)),
      max_bytes_(check.max_body_bytes) {}
BodyRule::~BodyRule() = default;

void BodyMatch::begin() {
  end();
  found_ = rule_.contains_.empty();
  taken_ = 0;
}

void BodyMatch::on_body(std::string_view bytes) {
  bytes = bytes.substr(0, rule_.max_bytes_ - taken_);
  taken_ += bytes.size();
  if (beginning_.size() <= kMaxNoteBytes) {
    beginning_.append(bytes.substr(0, kMaxNoteBytes + 1 - beginning_.size()));
  }
  if (rule_.regex_ != nullptr) {
    kept_.append(bytes);
  } else if (!found_) {
    // The text may begin in what came before and end in what comes now.
    const std::string& text = rule_.contains_;
    kept_.append(bytes.substr(0, text.size() - 1));
    found_ = kept_.find(text) != std::string::npos || bytes.find(text) != std::string_view::npos;
    const std::size_t tail = text.size() - 1;
    if (bytes.size() >= tail) {
      kept_ = bytes.substr(bytes.size() - tail);
    } else if (kept_.size() > tail) {
      kept_.erase(0, kept_.size() - tail);
    }
  }
}

bool BodyMatch::matches() const {
  if (rule_.regex_ == nullptr) return found_;
  const bool contains = kept_.find(rule_.contains_) != std::string::npos;
  const re2::RE2& regex = rule_.regex_->compiled;
  return contains && regex.ok() && re2::RE2::PartialMatch(kept_, regex);
}

std::string BodyMatch::note() const {
  return to_note(beginning_);
}

void BodyMatch::end() {
  beginning_ = std::string();
  kept_ = std::string();
}

}  // namespace ballast::checker
