// One instance as a placement sees it: what it is called, how much it should get, and the slot that
// lookup tables name it by. A value type that the checker builds for each rebuild; never mapped.
#pragma once

#include <cstdint>
#include <string>

namespace ballast::engine {

// The entry of a lookup table that names no instance.
inline constexpr std::uint16_t kNoSlot = 0xffff;

struct Member {
  std::uint16_t slot = kNoSlot;  // index of the instance in the table; below kNoSlot
  std::string text;              // address as configured, "10.0.0.1:80"; this is what is hashed
  std::uint32_t weight = 1;      // share relative to the others; 0 gets nothing
};

}  // namespace ballast::engine
