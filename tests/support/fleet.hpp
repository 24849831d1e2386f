// Members for tests of placement.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/member.hpp"

namespace ballast::tests {

// `count` members 10.0.x.y:80 of one weight, in slots from 0.
inline std::vector<engine::Member> fleet(std::size_t count, std::uint32_t weight = 1) {
  std::vector<engine::Member> members;
  for (std::size_t i = 0; i < count; ++i) {
    members.push_back(
        {static_cast<std::uint16_t>(i),
         "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + ":80", weight});
  }
  return members;
}

}  // namespace ballast::tests
