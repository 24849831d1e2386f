// The one place where foreign bytes become words.
#include "engine/checker/probing/note.hpp"

#include "engine/checker/probing/verdict.hpp"

namespace ballast::checker {

std::string to_note(std::string_view bytes) {
  constexpr std::string_view kMore = "...";
  std::string note;
  bool gap = false;
  for (const char c : bytes) {
    const bool white = c == ' ' || (c >= '\t' && c <= '\r');
    if (white) {
      gap = !note.empty();
      continue;
    }
    if (gap) note += ' ';
    gap = false;
    note += c > ' ' && c <= '~' ? c : '?';
    if (note.size() > kMaxNoteBytes) {
      note.resize(kMaxNoteBytes - kMore.size());
      return note += kMore;
    }
  }
  return note;
}

}  // namespace ballast::checker
