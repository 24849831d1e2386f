// A fuzzer's input as a source of numbers and pieces, for the targets that do one thing after
// another as the input says. What is not there any more is 0, or empty.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/checker/probing/verdict.hpp"

namespace ballast::fuzz {

class Pieces {
 public:
  Pieces(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
  std::uint8_t number() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  std::string_view piece(std::size_t bytes) {
    const std::string_view some = rest_.substr(0, std::min(bytes, rest_.size()));
    rest_.remove_prefix(some.size());
    return some;
  }
  [[nodiscard]] std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view rest_;
};

inline void require(bool condition) {
  if (!condition) std::abort();
}

inline void require_printable(std::string_view note) {
  require(note.size() <= checker::kMaxNoteBytes);
  require(std::all_of(note.begin(), note.end(), [](char c) { return c >= ' ' && c <= '~'; }));
}

}  // namespace ballast::fuzz
