// What the config_* units share when they judge a file: finding keys, judging their types,
// complaining at the right place. One walk a file; it collects the errors and goes on after each,
// so that one run shows as many as possible.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ballastd/config_tree.hpp"
#include "tools/ballastd/config_values.hpp"
#include "tools/ballastd/source_text.hpp"

namespace ballast::tools {

using Words = std::span<const std::string_view>;

[[nodiscard]] bool contains(Words words, std::string_view word);
// "a, b, c".
[[nodiscard]] std::string listed(Words words);

class ConfigWalk {
 public:
  // `source` must outlive the walk.
  explicit ConfigWalk(const SourceText& source) : source_(source) {}

  // The errors so far in the order of the file, and how many more there were.
  [[nodiscard]] std::vector<Diagnostic> take_errors();

  void complain(const Complaint& complaint, const std::vector<SourceText::Note>& notes);
  void complain(const ConfigValue& at, const Complaint& complaint);
  void complain_of_file(const Complaint& complaint);

  // Where the key of a value is written.
  [[nodiscard]] Span key_span(const ConfigValue& value, std::string_view key) const;
  // A value as the file spells it.
  [[nodiscard]] std::string spelling(const ConfigValue& value) const;

  // Refuses every key of `table` that is not in `known`, and says whether there was none. `service`
  // is the service that the table is of, as in its header ("service.checkout"), or empty; `where`
  // names the table for people.
  bool judge_keys(const ConfigValue& table, const std::string& service, const std::string& where,
                  Words known);

  // Refuses `key` if it is there: it would silently do nothing.
  void refuse(const ConfigValue& table, std::string_view key, const std::string& unless,
              const std::string& remedy);

  void wrong_type(const ConfigValue& value, std::string_view what, const std::string& wanted);
  // Whether `value` is a table; complains if it is not.
  bool want_table(const ConfigValue& value, std::string_view what, const std::string& header);

  // The value of a string key; nothing if it is missing or (after a complaint) of another type.
  std::optional<std::string> read_string(const ConfigValue& table, std::string_view key,
                                         const char* wanted);

 private:
  const SourceText& source_;
  std::vector<Diagnostic> errors_;
  std::size_t undrawn_ = 0;  // errors that were only counted
};

}  // namespace ballast::tools
