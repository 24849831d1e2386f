// Widths first, lines after.
#include "tools/ballast/table.hpp"

#include <algorithm>

namespace ballast::tools {
namespace {

// Characters, not bytes: names are ASCII, but a damaged file may hold anything.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

std::string TextTable::render(std::size_t indent) const {
  std::vector<std::size_t> widths;
  widths.reserve(columns_.size());
  for (const Column& column : columns_)
    widths.push_back(width_of(column.title));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(row[i].text));
    }
  }
  std::string out;
  const auto append = [&](std::size_t i, const Cell& cell, bool last) {
    const std::string padding(widths[i] - width_of(cell.text), ' ');
    if (columns_[i].right) out += padding;
    if (cell.colour != nullptr) out += cell.colour;
    out += cell.text;
    if (cell.colour != nullptr) out += "\x1b[0m";
    if (!last) out += columns_[i].right ? "  " : padding + "  ";
  };
  out.append(indent, ' ');
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    append(i, columns_[i].title, i + 1 == columns_.size());
  }
  out += '\n';
  for (const auto& row : rows_) {
    out.append(indent, ' ');
    for (std::size_t i = 0; i < row.size(); ++i)
      append(i, row[i], i + 1 == row.size());
    out += '\n';
  }
  return out;
}

}  // namespace ballast::tools
