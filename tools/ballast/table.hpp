// Columns that line up. Numbers go to the right, words to the left; colour takes no width.
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
  };
  struct Cell {
    Cell(std::string value) : text(std::move(value)) {}
    Cell(const char* value) : text(value) {}
    Cell(std::string value, const char* escape) : text(std::move(value)), colour(escape) {}

    std::string text;
    const char* colour = nullptr;  // an escape sequence, or null
  };

  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns.
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }

  // The title line, then the rows, each after `indent` and with no blanks at its end.
  [[nodiscard]] std::string render(std::size_t indent) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace ballast::tools
