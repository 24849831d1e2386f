// Columns that line up, and lines that fold, for a terminal of any width. Numbers go to the right,
// words to the left; colour takes no width.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace ballast::tools {

class TextTable {
 public:
  struct Column {
    std::string title;
    bool right = false;
    unsigned spare = 0;  // left out where there is no room, 1 before 2; 0: never
  };
  struct Cell {
    Cell(std::string value) : text(std::move(value)) {}
    Cell(const char* value) : text(value) {}
    Cell(std::string value, const char* escape) : text(std::move(value)), colour(escape) {}

    std::string text;
    const char* colour = nullptr;  // an escape sequence, or null
  };

  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns. `note`, if any, gets a line of its own below the row.
  void add(std::vector<Cell> cells, std::string note = {}) {
    rows_.push_back({std::move(cells), std::move(note)});
  }

  // Leaves out the columns that can be spared, up to `most`, until lines are `width` characters at
  // most with `indent`; false if they still are not.
  bool fit(std::size_t width, std::size_t indent, unsigned most);

  // The title line, then the rows, each after `indent` and with no blanks at its end.
  [[nodiscard]] std::string render(std::size_t indent) const;

 private:
  struct Row {
    std::vector<Cell> cells;
    std::string note;
  };

  [[nodiscard]] std::vector<std::size_t> widths() const;
  void leave_out(std::size_t column);

  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

// The lines of `text`, broken after commas, semicolons and colons where they are longer than
// `width`, and indented by `indent` from there on. 0: as they are.
[[nodiscard]] std::string folded(const std::string& text, std::size_t width, std::size_t indent);

}  // namespace ballast::tools
