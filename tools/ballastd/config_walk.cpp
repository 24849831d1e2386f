// Complaints, and what every table is asked.
#include "tools/ballastd/config_walk.hpp"

#include <algorithm>
#include <tuple>

#include "tools/ballastd/config.hpp"
#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/peer_words.hpp"
#include "tools/ballastd/toml_text.hpp"

namespace ballast::tools {

const ConfigValue* ConfigValue::find(std::string_view key) const {
  for (const ConfigEntry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

const char* type_name(ConfigValue::Type type) noexcept {
  switch (type) {
    case ConfigValue::Type::boolean:
      return "a boolean";
    case ConfigValue::Type::integer:
      return "a whole number";
    case ConfigValue::Type::floating:
      return "a number with a fraction";
    case ConfigValue::Type::string:
      return "a string";
    case ConfigValue::Type::array:
      return "an array";
    case ConfigValue::Type::table:
      return "a table";
    case ConfigValue::Type::date:
      break;
  }
  return "a date or time";
}

bool contains(Words words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string listed(Words words) {
  std::string out;
  for (const std::string_view word : words)
    out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

std::vector<Diagnostic> ConfigWalk::take_errors() {
  std::sort(errors_.begin(), errors_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.line_number, a.column, a.line) < std::tie(b.line_number, b.column, b.line);
  });
  if (errors_.size() > kMaxConfigErrors) {
    const std::size_t more = errors_.size() - kMaxConfigErrors + undrawn_;
    errors_.resize(kMaxConfigErrors);
    errors_.push_back(diagnose_file(source_.name(), std::to_string(more) + " more errors",
                                    "correct those above first"));
  }
  return std::move(errors_);
}

void ConfigWalk::complain(const Complaint& complaint, const std::vector<SourceText::Note>& notes) {
  // Drawing one costs a walk along its line, which may be as long as the file.
  if (errors_.size() >= 4 * kMaxConfigErrors) {
    ++undrawn_;
  } else {
    errors_.push_back(source_.diagnose(complaint.message, complaint.advice, notes));
  }
}

void ConfigWalk::complain(const ConfigValue& at, const Complaint& complaint) {
  this->complain(complaint, {{at.span, "here"}});
}

void ConfigWalk::complain_of_file(const Complaint& complaint) {
  errors_.push_back(diagnose_file(source_.name(), complaint.message, complaint.advice));
}

Span ConfigWalk::key_span(const ConfigValue& value, std::string_view key) const {
  return find_key(source_.text(), value.span, key);
}

std::string ConfigWalk::spelling(const ConfigValue& value) const {
  return source_.text().substr(value.span.offset, value.span.length);
}

bool ConfigWalk::judge_keys(const ConfigValue& table, const std::string& service,
                            const std::string& where, Words known) {
  bool all_known = true;
  for (const auto& [key, value] : table.entries) {
    if (contains(known, key)) continue;
    all_known = false;
    std::string advice;
    const std::string_view nearest = meant_word(key, known);
    if (!nearest.empty()) {
      advice = "did you mean " + in_quotes(nearest) + "?";
    } else if (const std::string home = home_of(key, service); !home.empty()) {
      advice = "it belongs in " + home;
    } else {
      advice = "the keys here are " + listed(known);
    }
    complain({"unknown key " + in_quotes(key) + " in " + where, advice},
             {{key_span(value, key), std::string(nearest)}});
  }
  return all_known;
}

void ConfigWalk::refuse(const ConfigValue& table, std::string_view key, const std::string& unless,
                        const std::string& remedy) {
  const ConfigValue* value = table.find(key);
  if (value == nullptr) return;
  complain({std::string(key) + " has no meaning unless " + unless, "remove it, or " + remedy},
           {{key_span(*value, key), "here"}});
}

void ConfigWalk::wrong_type(const ConfigValue& value, std::string_view what,
                            const std::string& wanted) {
  complain(value, {std::string(what) + " is " + type_name(value.type), "it must be " + wanted});
}

bool ConfigWalk::want_table(const ConfigValue& value, std::string_view what,
                            const std::string& header) {
  if (value.is(ConfigValue::Type::table)) return true;
  wrong_type(value, what, "a table: [" + header + "]");
  return false;
}

std::optional<std::string> ConfigWalk::read_string(const ConfigValue& table, std::string_view key,
                                                   const char* wanted) {
  const ConfigValue* value = table.find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is(ConfigValue::Type::string)) return value->string;
  wrong_type(*value, key, wanted);
  return std::nullopt;
}

}  // namespace ballast::tools
