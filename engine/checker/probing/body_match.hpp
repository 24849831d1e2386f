// What the body of an HTTP response must have for its check to pass: a text, a regular expression,
// or both. A rule is made once and shared by all instances that are checked by it; a match is one
// instance's, and reads a body as it comes. Only what a regular expression is to look at is kept,
// and only until the check ends. Pure. Regular expressions are RE2's, which take linear time
// whatever the expression and the body.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/checker/probing/http_response.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

// What is wrong with an expression; nothing if it can be used.
[[nodiscard]] std::optional<std::string> judge_regex(const std::string& expression);

class BodyRule {
 public:
  // An expression that is wrong fits no body.
  explicit BodyRule(const CheckSettings& check);
  ~BodyRule();
  BodyRule(const BodyRule&) = delete;
  BodyRule& operator=(const BodyRule&) = delete;

 private:
  friend class BodyMatch;
  struct Regex;

  std::string contains_;          // empty: anything
  std::unique_ptr<Regex> regex_;  // null: anything
  std::size_t max_bytes_;
};

class BodyMatch final : public HttpResponse::BodyReader {
 public:
  // `rule` must outlive the match.
  explicit BodyMatch(const BodyRule& rule) : rule_(rule) {}

  void begin();
  void on_body(std::string_view bytes) override;
  // Whether the body that has been read fits the rule.
  [[nodiscard]] bool matches() const;
  // How the body begins.
  [[nodiscard]] std::string note() const;
  // Lets go of the body.
  void end();

 private:
  const BodyRule& rule_;
  bool found_ = false;     // the text
  std::size_t taken_ = 0;  // bytes, at most the rule's
  std::string beginning_;  // for the note
  std::string kept_;       // all for an expression, else what the text may begin in
};

}  // namespace ballast::checker
