// Widths first, lines after; what has no room is left out before.
#include "tools/ballast/table.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace ballast::tools {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kNoteIndent = 4;

// Characters, not bytes: names are ASCII, but a damaged file may hold anything.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

std::vector<std::size_t> TextTable::widths() const {
  std::vector<std::size_t> widths;
  widths.reserve(columns_.size());
  for (const Column& column : columns_)
    widths.push_back(width_of(column.title));
  for (const Row& row : rows_) {
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(row.cells[i].text));
    }
  }
  return widths;
}

void TextTable::leave_out(std::size_t column) {
  const auto at = static_cast<std::ptrdiff_t>(column);
  columns_.erase(columns_.begin() + at);
  for (Row& row : rows_)
    row.cells.erase(row.cells.begin() + at);
}

bool TextTable::fit(std::size_t width, std::size_t indent, unsigned most) {
  const auto fits = [&] {
    std::size_t sum = indent;
    for (const std::size_t one : widths())
      sum += one + kGap;
    return sum <= width + kGap;
  };
  for (unsigned spare = 1; spare <= most && !fits(); ++spare) {
    for (std::size_t i = columns_.size(); i-- > 0;) {
      if (columns_[i].spare == spare) leave_out(i);
    }
  }
  return fits();
}

std::string TextTable::render(std::size_t indent) const {
  const std::vector<std::size_t> widths = this->widths();
  std::string out;
  const auto append = [&](std::size_t i, const Cell& cell, bool last) {
    const std::string padding(widths[i] - width_of(cell.text), ' ');
    if (columns_[i].right) out += padding;
    if (cell.colour != nullptr) out += cell.colour;
    out += cell.text;
    if (cell.colour != nullptr) out += "\x1b[0m";
    if (last) return;
    if (!columns_[i].right) out += padding;
    out.append(kGap, ' ');
  };
  out.append(indent, ' ');
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    append(i, columns_[i].title, i + 1 == columns_.size());
  }
  out += '\n';
  for (const Row& row : rows_) {
    out.append(indent, ' ');
    for (std::size_t i = 0; i < row.cells.size(); ++i)
      append(i, row.cells[i], i + 1 == row.cells.size());
    out += '\n';
    if (!row.note.empty()) out += std::string(indent + kNoteIndent, ' ') + row.note + '\n';
  }
  return out;
}

std::string folded(const std::string& text, std::size_t width, std::size_t indent) {
  if (width == 0) return text;
  std::string out;
  std::size_t column = 0;
  // Word by word, where a word is all up to a comma and the blank behind it, or the line's end.
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at;
    while (end < text.size() && text[end] != '\n' &&
           (text[end] != ' ' || end == at || std::strchr(",;:", text[end - 1]) == nullptr))
      ++end;
    const std::string word = text.substr(at, end - at);
    if (column > indent && column + 1 + word.size() > width) {
      out += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (column != 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
    if (end < text.size() && text[end] == '\n') {
      out += '\n';
      column = 0;
    }
    at = end + 1;
  }
  return out;
}

}  // namespace ballast::tools
