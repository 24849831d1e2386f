// The words by which the checker divides a service's traffic, and the draw.
#include "engine/group_word.hpp"

#include <doctest/doctest.h>

namespace ballast::engine {
namespace {

struct Words {
  shm::Word64 shares[2] = {0, 0};
  explicit Words(const GroupEnds& ends) {
    const auto packed = pack(ends);
    shares[0] = packed[0];
    shares[1] = packed[1];
  }
};

TEST_CASE("every number falls to one group, and each group to as many as its share") {
  const Words words({100, 100, 40'000, 40'000, 65'000, 65'535, 65'535, 65'535});
  std::array<std::uint32_t, shm::kMaxGroups> hits{};
  for (std::uint32_t number = 0; number <= 65'535; ++number)
    ++hits[draw_group(words.shares, 8, static_cast<std::uint16_t>(number))];
  CHECK(hits == std::array<std::uint32_t, 8>{100, 0, 39'900, 0, 25'000, 536, 0, 0});
}

TEST_CASE("the whole, nothing, and fewer groups than the division knows") {
  const Words whole({65'535, 65'535, 65'535, 65'535, 65'535, 65'535, 65'535, 65'535});
  const Words none({});
  for (const std::uint16_t number : std::array<std::uint16_t, 4>{0, 1, 32'768, 65'535}) {
    CHECK(draw_group(whole.shares, 8, number) == 0);
    CHECK(draw_group(none.shares, 8, number) == 0);
    CHECK(draw_group(none.shares, 1, number) == 0);
  }
  const Words second({0, 65'535, 65'535, 65'535, 65'535, 65'535, 65'535, 65'535});
  CHECK(draw_group(second.shares, 8, 0) == 1);
  CHECK(draw_group(second.shares, 8, 65'535) == 1);
  CHECK(draw_group(second.shares, 1, 0) == 0);
  CHECK(draw_group(second.shares, 99, 0) == 1);
}

TEST_CASE("panic holds for the groups that it names") {
  const std::uint64_t word = pack_panic(PanicMode::all, 0b1000'0001);
  CHECK(panic_of(word, 0) == PanicMode::all);
  CHECK(panic_of(word, 1) == PanicMode::none);
  CHECK(panic_of(word, 7) == PanicMode::all);
  CHECK(panic_of(pack_panic(PanicMode::fail, 2), 1) == PanicMode::fail);
  CHECK(panic_of(0, 0) == PanicMode::none);
  CHECK(panic_of(~std::uint64_t{0}, 0) == PanicMode::none);  // damaged
}

TEST_CASE("what falls to each group adds up to the whole, and of weights as well") {
  std::atomic<std::uint64_t> words[2];
  const auto store = [&words](const std::array<std::uint64_t, 2>& packed) {
    words[0] = packed[0];
    words[1] = packed[1];
  };
  store(pack(GroupEnds{16384, 16384, 32768, 32768, 65535, 65535, 65535, 65535}));
  const std::uint32_t shares[] = {16384, 0, 16384, 0, 32768, 0, 0, 0};
  for (std::size_t g = 0; g < shm::kMaxGroups; ++g)
    CHECK(share_of_group(words, g) == shares[g]);
  store({0xffff0000ffff, 0});  // two divisions mixed
  for (std::size_t g = 0; g < shm::kMaxGroups; ++g)
    CHECK(share_of_group(words, g) <= 65536);

  store(pack_parts({64, 0, 64 * 1000, 1, 0, 0, 0, std::uint64_t{1} << 40}));
  CHECK(part_of_group(words, 0) == 1);
  CHECK(part_of_group(words, 1) == 0);
  CHECK(part_of_group(words, 2) == 1);
  CHECK(part_of_group(words, 3) == 1);
  CHECK(part_of_group(words, 7) == 65535);
  store(pack_parts({300, 100, 0, 0, 0, 0, 0, 0}));
  CHECK(part_of_group(words, 0) == 49151);
  CHECK(part_of_group(words, 1) == 16384);
  store(pack_parts({}));
  CHECK(part_of_group(words, 0) == 0);
}

}  // namespace
}  // namespace ballast::engine
