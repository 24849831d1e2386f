// Keys for services in plain memory, and where they go: for tests that compare placements before
// and after something about an instance has changed.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/hash.hpp"
#include "engine/ketama.hpp"
#include "engine/strategy.hpp"
#include "tests/support/plain_service.hpp"

namespace ballast::tests {

inline constexpr std::size_t kKeys = 20'000;

inline std::vector<std::uint32_t> equal(std::size_t count) {
  return std::vector<std::uint32_t>(count, 1);
}

inline std::uint64_t hash_of(engine::Strategy strategy, std::size_t key) {
  const std::string text = "key" + std::to_string(key);
  return strategy == engine::Strategy::ketama ? engine::ketama_hash(text) : engine::key_hash(text);
}

inline std::vector<std::uint32_t> where_keys_go(PlainService& service) {
  PlainPicker picker(service);
  std::vector<std::uint32_t> places;
  for (std::size_t key = 0; key < kKeys; ++key) {
    const engine::Choice choice = picker.pick(hash_of(service.policy.strategy, key));
    REQUIRE(choice.result == engine::PickResult::ok);
    places.push_back(choice.slot);
  }
  return places;
}

}  // namespace ballast::tests
