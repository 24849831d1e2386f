// The ring and its indexed lookup against the plain way (sort, drop duplicates, binary search), and
// what happens to keys when an instance is unusable. tests/engine/ketama_nginx_test.cpp compares
// with nginx itself.
#include "engine/ketama.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fleet.hpp"
#include "tests/support/property.hpp"

using namespace ballast::engine;
using ballast::tests::fleet;

namespace {

KetamaRing build(const std::vector<Member>& members) {
  auto ring = build_ketama(members);
  REQUIRE(ring.has_value());
  return *ring;
}

std::uint32_t crc_of(const std::string& base, std::uint32_t previous) {
  std::string bytes = base;
  for (int i = 0; i < 4; ++i)
    bytes += static_cast<char>(previous >> (8 * i));
  return crc32(bytes);
}

// The points as the description in docs/placement.md has them, word for word.
std::vector<std::pair<std::uint32_t, std::uint16_t>> plain_points(const std::vector<Member>& all) {
  std::map<std::uint32_t, std::uint16_t> points;
  for (const Member& m : all) {
    const auto colon = m.text.rfind(':');
    const std::string base = m.text.substr(0, colon) + '\0' + m.text.substr(colon + 1);
    std::uint32_t hash = 0;
    for (std::uint32_t i = 0; i < 160 * m.weight; ++i) {
      hash = crc_of(base, hash);
      points.emplace(hash, m.slot);  // the first with this hash stays
    }
  }
  return {points.begin(), points.end()};
}

std::size_t plain_find(const std::vector<std::uint32_t>& points, std::uint32_t hash) {
  const auto at = std::lower_bound(points.begin(), points.end(), hash);
  return at == points.end() ? 0 : static_cast<std::size_t>(at - points.begin());
}

// The first of the key's points, going round, whose instance is another than `down`.
std::uint16_t pick(const KetamaRing& ring, std::uint32_t hash, std::uint16_t down = kNoSlot) {
  std::size_t at = find_ketama(ring.points, ring.index, hash);
  for (std::size_t i = 0; i < ring.slots.size(); ++i, at = (at + 1) % ring.slots.size()) {
    if (ring.slots[at] != down) return ring.slots[at];
  }
  return kNoSlot;
}

}  // namespace

TEST_CASE("the ring equals the plain one") {
  CHECK(ballast::tests::holds("rings", [] {
    auto members = fleet(*rc::gen::inRange<std::size_t>(0, 40));
    for (Member& m : members)
      m.weight = *rc::gen::inRange(0U, 8U);
    const KetamaRing ring = build(members);
    const auto points = plain_points(members);
    RC_ASSERT(ring.points.size() == points.size());
    RC_ASSERT(ring.slots.size() == points.size());
    for (std::size_t i = 0; i < points.size(); ++i) {
      RC_ASSERT(ring.points[i] == points[i].first);
      RC_ASSERT(ring.slots[i] == points[i].second);
    }
  }));
}

TEST_CASE("of points that coincide the first member in the list keeps its own") {
  const auto members = fleet(1000);
  const KetamaRing ring = build(members);
  const auto points = plain_points(members);
  CHECK(points.size() < 160000);  // some do coincide
  REQUIRE(ring.points.size() == points.size());
  bool equal = true;
  for (std::size_t i = 0; i < points.size(); ++i)
    equal &= ring.slots[i] == points[i].second;
  CHECK(equal);

  auto reversed = members;
  std::reverse(reversed.begin(), reversed.end());
  const KetamaRing other = build(reversed);
  CHECK(other.points == ring.points);
  std::size_t differing = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    differing += other.slots[i] != ring.slots[i] ? 1 : 0;
  }
  CHECK(differing == 160000 - points.size());
}

TEST_CASE("the index finds what a binary search finds") {
  for (std::size_t count : {1U, 2U, 3U, 10U, 1000U}) {
    CAPTURE(count);
    const KetamaRing ring = build(fleet(count));
    std::vector<std::uint32_t> hashes = {0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    for (std::uint32_t point : ring.points) {
      for (std::uint32_t near : {point - 1, point, point + 1})
        hashes.push_back(near);
    }
    std::mt19937 random(7);
    for (int i = 0; i < 100000; ++i)
      hashes.push_back(static_cast<std::uint32_t>(random()));
    bool equal = true;
    for (std::uint32_t hash : hashes) {
      equal &= find_ketama(ring.points, ring.index, hash) == plain_find(ring.points, hash);
    }
    CHECK(equal);
    CHECK(pick(ring, ring.points.back() + 1) == ring.slots.front());  // round the end
  }
}

TEST_CASE("sparse and lopsided rings are searched alike") {
  CHECK(ballast::tests::holds("any ring", [] {
    KetamaRing ring;
    ring.points = *rc::gen::unique<std::vector<std::uint32_t>>(rc::gen::arbitrary<std::uint32_t>());
    std::sort(ring.points.begin(), ring.points.end());
    const int bits = *rc::gen::inRange(0, 8);
    for (std::uint64_t i = 0; i < std::uint64_t{1} << bits; ++i) {
      const auto first = static_cast<std::uint32_t>(i << (32 - bits));
      ring.index.push_back(static_cast<std::uint32_t>(
          std::lower_bound(ring.points.begin(), ring.points.end(), first) - ring.points.begin()));
    }
    const auto hash = *rc::gen::arbitrary<std::uint32_t>();
    RC_ASSERT(find_ketama(ring.points, ring.index, hash) == plain_find(ring.points, hash));
  }));
}

TEST_CASE("lookups work on atomic arrays") {
  const KetamaRing ring = build(fleet(3));
  std::vector<std::atomic<std::uint32_t>> points(ring.points.size());
  std::vector<std::atomic<std::uint32_t>> index(ring.index.size());
  for (std::size_t i = 0; i < points.size(); ++i) {
    ballast::shm::put(points[i], ring.points[i]);
  }
  for (std::size_t i = 0; i < index.size(); ++i)
    ballast::shm::put(index[i], ring.index[i]);
  for (std::uint32_t hash = 0; hash < 0xff000000U; hash += 0x00654321U) {
    CHECK(find_ketama(points, index, hash) == find_ketama(ring.points, ring.index, hash));
  }
}

TEST_CASE("garbage in the arrays gives an index in range") {
  std::mt19937 random(11);
  for (std::size_t size : {0U, 1U, 5U, 100U}) {
    for (std::size_t buckets : {0U, 1U, 3U, 64U}) {
      std::vector<std::uint32_t> points(size);
      std::vector<std::uint32_t> index(buckets);
      for (auto& word : points)
        word = static_cast<std::uint32_t>(random());
      for (auto& word : index)
        word = static_cast<std::uint32_t>(random() % 200);
      for (int i = 0; i < 1000; ++i) {
        const auto at = find_ketama(points, index, static_cast<std::uint32_t>(random()));
        CHECK(at < std::max<std::size_t>(size, 1));
      }
    }
  }
}

TEST_CASE("host and port are told apart as nginx does") {
  const auto base = [](std::string_view host, std::string_view port) {
    return crc32_update(kCrc32Start, std::string(host) + '\0' + std::string(port));
  };
  CHECK(ketama_base("10.0.0.1:80") == base("10.0.0.1", "80"));
  CHECK(ketama_base("10.0.0.1") == base("10.0.0.1", ""));
  CHECK(ketama_base("backend:") == base("backend", ""));
  CHECK(ketama_base("backend:http") == base("backend:http", ""));
  CHECK(ketama_base("[::1]:8080") == base("[::1]", "8080"));
  CHECK(ketama_base("[::1]") == base("[::1]", ""));
  CHECK(ketama_base("8080") == base("8080", ""));
  CHECK(ketama_base("unix:/run/a.sock") == base("/run/a.sock", ""));
  CHECK(ketama_base("UNIX:/run/a:80") == base("/run/a:80", ""));
  CHECK(ketama_base("") == base("", ""));
}

TEST_CASE("only the keys of an unusable instance move, and they spread by weight") {
  const KetamaRing ring = build(fleet(10, 4));
  std::map<std::uint16_t, int> gained;
  int lost = 0;
  for (int k = 0; k < 100000; ++k) {
    const auto hash = ketama_hash("key-" + std::to_string(k));
    const auto before = pick(ring, hash);
    const auto after = pick(ring, hash, 3);
    if (before != 3) {
      REQUIRE(after == before);
    } else {
      REQUIRE(after != 3);
      REQUIRE(after != kNoSlot);
      ++gained[after];
      ++lost;
    }
  }
  CHECK(gained.size() == 9);
  for (const auto& [slot, keys] : gained)
    CHECK(keys < 2 * lost / 9);
  // A ring without the instance says the same, since its points alone are missing there.
  auto rest = fleet(10, 4);
  rest.erase(rest.begin() + 3);
  const KetamaRing smaller = build(rest);
  for (int k = 0; k < 10000; ++k) {
    const auto hash = ketama_hash("key-" + std::to_string(k));
    CHECK(pick(ring, hash, 3) == pick(smaller, hash));
  }
}

TEST_CASE("an empty ring, and one that would be too large") {
  CHECK(build(fleet(0)).points.empty());
  const KetamaRing ring = build(fleet(5, 0));
  CHECK(ring.points.empty());
  CHECK(pick(ring, 5) == kNoSlot);
  CHECK_FALSE(build_ketama(fleet(105, 1000)).has_value());
}

TEST_CASE("shares follow weights") {
  auto members = fleet(10);
  for (std::size_t i = 0; i < members.size(); ++i) {
    members[i].weight = static_cast<std::uint32_t>(i + 1);
  }
  const KetamaRing ring = build(members);
  std::vector<double> share(members.size(), 0);
  for (std::size_t i = 0; i < ring.points.size(); ++i) {
    const std::uint32_t before = i == 0 ? ring.points.back() : ring.points[i - 1];
    share[ring.slots[i]] += (ring.points[i] - before) / 4294967296.0;
  }
  // 160 w intervals of about exponential length: standard deviation of 1 / sqrt(160 w).
  for (std::size_t i = 0; i < share.size(); ++i) {
    const double w = static_cast<double>(i + 1);
    CHECK(std::abs(share[i] / (w / 55) - 1) < 4 / std::sqrt(160 * w));
  }
}
