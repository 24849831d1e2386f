// A configuration file as text, and complaints that point into it. A Diagnostic is made by whatever
// judges the file (config.cpp) and shown by ballastd; nothing here prints.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ballast::tools {

// A stretch of a file's bytes.
struct Span {
  std::size_t offset = 0;
  std::size_t length = 1;
};

// One error. `line` is the whole of it in one line, for a log; `text` adds the source lines with a
// caret each, for a person. Neither ends in a newline.
struct Diagnostic {
  std::string line;
  std::string text;
  // 1-based; 0: the file as a whole. Columns count characters.
  std::size_t line_number = 0;
  std::size_t column = 0;
};

class SourceText {
 public:
  SourceText(std::string name, std::string text);

  struct Note {
    Span span;
    std::string text;
  };

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::size_t line_of(std::size_t offset) const;  // 1-based

  // The byte offset of a 1-based line and column, clamped to the text.
  [[nodiscard]] std::size_t offset_of(std::size_t line, std::size_t column) const;

  // "NAME:LINE:COLUMN: MESSAGE: ADVICE", then each note's source line and caret. Columns count
  // characters, not bytes. Long lines are cut to a window around the caret.
  [[nodiscard]] Diagnostic diagnose(const std::string& message, const std::string& advice,
                                    const std::vector<Note>& notes) const;

  // What must hold before a recursive parser may see the text: valid UTF-8 and brackets nested no
  // deeper than kMaxNesting. nullopt when it holds.
  [[nodiscard]] std::optional<Diagnostic> check_text() const;

  static constexpr std::size_t kMaxNesting = 32;

 private:
  struct Shown {
    std::string line;     // the source line, cut to the window
    std::string padding;  // what precedes the caret, tabs kept
    std::size_t width;    // of the underline
  };
  [[nodiscard]] Shown show(Span span) const;
  [[nodiscard]] std::size_t column_of(std::size_t offset) const;
  [[nodiscard]] std::optional<std::size_t> first_bad_utf8() const;
  [[nodiscard]] std::optional<std::size_t> first_too_deep() const;

  std::string name_;
  std::string text_;
  std::vector<std::size_t> line_starts_;
};

// Where the comment or the string ends that begins at `at` of a text in TOML: its last character,
// or the newline at which it breaks off, or beyond the text. `at` itself where none begins.
[[nodiscard]] std::size_t last_of_opaque(std::string_view text, std::size_t at);

// A complaint about a file that could not be read, or about the file as a whole.
[[nodiscard]] Diagnostic diagnose_file(const std::string& name, const std::string& message,
                                       const std::string& advice);

}  // namespace ballast::tools
