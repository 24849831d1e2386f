// The nearest word is found for slips of the hand and not for coincidences.
#include "engine/text/spelling.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

using ballast::engine::edit_distance;
using ballast::engine::nearest_word;

TEST_CASE("each kind of slip costs one") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("weight", "weight") == 0);
  CHECK(edit_distance("weigt", "weight") == 1);    // left out
  CHECK(edit_distance("weightt", "weight") == 1);  // doubled
  CHECK(edit_distance("waight", "weight") == 1);   // replaced
  CHECK(edit_distance("wieght", "weight") == 1);   // swapped
  CHECK(edit_distance("Weight", "weight") == 0);   // case is no slip at all
  CHECK(edit_distance("kitten", "sitting") == 3);
}

TEST_CASE("the nearest word, if one is near enough") {
  constexpr std::array<std::string_view, 4> words{"dump", "workers", "interval", "rise"};
  CHECK(nearest_word("dmup", words) == "dump");
  CHECK(nearest_word("worker", words) == "workers");
  CHECK(nearest_word("intervall", words) == "interval");
  CHECK(nearest_word("raise", words) == "rise");
  CHECK(nearest_word("xylophone", words).empty());
  CHECK(nearest_word("", words).empty());
  CHECK(nearest_word("r", words).empty());
  CHECK(nearest_word(std::string(100'000, 'a'), words).empty());
}
