// Finds the word that someone probably meant: for misspelt keys in the configuration, verbs on the
// command line and requests to the control socket. Pure.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace ballast::engine {

// Damerau-Levenshtein distance (optimal string alignment: insertions, deletions, substitutions and
// swaps of neighbours, each costing one), ignoring the case of ASCII letters. Time and memory are
// O(a * b), so callers pass words, not files.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `words`, the first of equals; empty when none is near enough to be what was meant:
// at most one edit for words of up to four letters, two up to eight, three above that.
[[nodiscard]] std::string_view nearest_word(std::string_view word,
                                            std::span<const std::string_view> words);

}  // namespace ballast::engine
