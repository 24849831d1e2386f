// How config.cpp walks TOML: finding keys, judging their types, complaining at the right place. A
// part of that unit, apart for its size: nothing else includes it, since toml11 is slow to compile.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <toml.hpp>
#include <tuple>

#include "tools/ballastd/config.hpp"
#include "tools/ballastd/toml_text.hpp"
#include "tools/common/spelling.hpp"

namespace ballast::tools {

using Value = toml::basic_value<toml::discard_comments, std::unordered_map, std::vector>;
using Table = Value::table_type;
using Words = std::span<const std::string_view>;

inline bool contains(Words words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

inline std::string listed(Words words) {
  std::string out;
  for (const std::string_view word : words)
    out += (out.empty() ? "" : ", ") + std::string(word);
  return out;
}

// Where toml11 found a value. Its public location() counts lines from the start of the file each
// time; the region behind it gives the offset for nothing.
inline Span span_of(const Value& value) {
  const auto* region = dynamic_cast<const toml::detail::region*>(toml::detail::get_region(value));
  if (region == nullptr) return {0, 1};
  const auto line_end = std::find(region->first(), region->last(), '\n');
  return {static_cast<std::size_t>(region->first() - region->begin()),
          static_cast<std::size_t>(line_end - region->first())};
}

inline std::string type_name(const Value& value) {
  switch (value.type()) {
    case toml::value_t::boolean:
      return "a boolean";
    case toml::value_t::integer:
      return "a whole number";
    case toml::value_t::floating:
      return "a number with a fraction";
    case toml::value_t::string:
      return "a string";
    case toml::value_t::array:
      return "an array";
    case toml::value_t::table:
      return "a table";
    default:
      return "a date or time";
  }
}

class TomlReader {
 public:
  explicit TomlReader(const SourceText& source) : source_(source) {}

 protected:
  // Names the table in which a misplaced key would be right; empty if there is none.
  using Home = std::string (*)(const std::string& key, const std::string& path);

  // The errors so far in the order of the file, and how many more there were.
  std::vector<Diagnostic> take_errors() {
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

  void complain(const Complaint& complaint, std::vector<SourceText::Note> notes) {
    // Drawing one costs a walk along its line, which may be as long as the file.
    if (errors_.size() >= 4 * kMaxConfigErrors) {
      ++undrawn_;
    } else {
      errors_.push_back(source_.diagnose(complaint.message, complaint.advice, notes));
    }
  }
  void complain(const Value& at, const Complaint& complaint) {
    complain(complaint, {{span_of(at), "here"}});
  }

  Span key_span(const Value& value, const std::string& key) const {
    return find_key(source_.text(), span_of(value), key);
  }

  void complain_of_file(const Complaint& complaint) {
    errors_.push_back(diagnose_file(source_.name(), complaint.message, complaint.advice));
  }

  // Refuses every key of `table` that is not in `known`, and says whether there was none. `where`
  // names the table for people.
  bool judge_keys(const Value& table, const std::string& path, const std::string& where,
                  Words known, Home home_of) {
    bool all_known = true;
    for (const auto& [key, value] : table.as_table()) {
      if (contains(known, key)) continue;
      all_known = false;
      std::string advice;
      const std::string_view nearest = nearest_word(key, known);
      if (!nearest.empty()) {
        advice = "did you mean " + in_quotes(nearest) + "?";
      } else if (const std::string home = home_of(key, path); !home.empty()) {
        advice = "it belongs in " + home;
      } else {
        advice = "the keys here are " + listed(known);
      }
      complain({"unknown key " + in_quotes(key) + " in " + where, advice},
               {{key_span(value, key), nearest.empty() ? "" : std::string(nearest)}});
    }
    return all_known;
  }

  const Value* find(const Value& table, const char* key) {
    const auto& entries = table.as_table();
    const auto found = entries.find(key);
    return found == entries.end() ? nullptr : &found->second;
  }

  void wrong_type(const Value& value, const std::string& what, const std::string& wanted) {
    complain(value, {what + " is " + type_name(value), "it must be " + wanted});
  }

  std::optional<std::string> read_string(const Value& table, const char* key, const char* wanted) {
    const Value* value = find(table, key);
    if (value == nullptr) return std::nullopt;
    if (value->is_string()) return value->as_string().str;
    wrong_type(*value, key, wanted);
    return std::nullopt;
  }

  void read_number(const Value& table, const char* key, std::uint32_t low, std::uint32_t high,
                   std::uint32_t& out) {
    const Value* value = find(table, key);
    if (value == nullptr) return;
    if (!value->is_integer()) {
      wrong_type(*value, key, "a whole number, such as " + std::string(key) + " = 1");
      return;
    }
    const auto number = value->as_integer();
    if (number < low || number > high) {
      const Span at = span_of(*value);  // as written: toml11 has clamped what overflows
      complain(*value, {std::string(key) + " " + source_.text().substr(at.offset, at.length) +
                            " is out of range",
                        "use " + std::to_string(low) + " to " + std::to_string(high)});
      return;
    }
    out = static_cast<std::uint32_t>(number);
  }

  // Reads one of a fixed set of words.
  template <typename T, std::size_t N>
  void read_choice(const Value& table, const char* key,
                   const std::array<std::pair<std::string_view, T>, N>& choices, T& out) {
    std::array<std::string_view, N> words;
    for (std::size_t i = 0; i < N; ++i)
      words[i] = choices[i].first;
    const auto text = read_string(table, key, "a string");
    if (!text) return;
    for (const auto& [word, value] : choices) {
      if (word == *text) {
        out = value;
        return;
      }
    }
    const std::string_view nearest = nearest_word(*text, words);
    complain(*find(table, key), {"unknown " + std::string(key) + " " + in_quotes(*text),
                                 nearest.empty() ? "use one of " + listed(words)
                                                 : "did you mean " + in_quotes(nearest) + "?"});
  }

  // A duration within limits; true when the key is there and right.
  bool read_duration(const Value& table, const char* key, checker::Milliseconds low,
                     checker::Milliseconds high, checker::Milliseconds& out) {
    const auto text = read_string(table, key, "a string with a unit, such as \"2s\"");
    if (!text) return false;
    const auto parsed = parse_duration(*text);
    if (!parsed.ok()) {
      complain(*find(table, key), parsed.complaint());
      return false;
    }
    if (parsed.value() < low || parsed.value() > high) {
      complain(*find(table, key), {std::string(key) + " " + in_quotes(*text) + " is out of range",
                                   "use " + std::to_string(low.count()) + "ms to " +
                                       std::to_string(high.count() / 1000) + "s"});
      return false;
    }
    out = parsed.value();
    return true;
  }

 private:
  const SourceText& source_;
  std::vector<Diagnostic> errors_;
  std::size_t undrawn_ = 0;  // errors that were only counted
};

}  // namespace ballast::tools
