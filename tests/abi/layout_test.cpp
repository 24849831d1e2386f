// Guards the ABI between processes: the sizes and offsets of every mapped struct must be those of
// the golden file. A change here is a change of format: raise kMajor, tell docs/layout.md, and
// write the golden file again with `BALLAST_WRITE_GOLDEN=1 meson test -C build abi/layout`.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "shm/generation.hpp"
#include "shm/layout.hpp"
#include "shm/state_word.hpp"

using namespace ballast::shm;

namespace {

std::string dump() {
  std::ostringstream out;
  out << "major " << kMajor << "\nminor " << kMinor << "\nlayout_hash " << std::hex << kLayoutHash
      << "\nmagic locator " << kLocatorMagic << "\nmagic table " << kTableMagic
      << "\nmagic workers " << kWorkersMagic << "\nsuperseded_bit " << kSupersededBit << std::dec
      << '\n';
#define BALLAST_DUMP_SIZE(type, bytes) out << "size " #type " " << sizeof(type) << '\n';
#define BALLAST_DUMP_FIELD(type, field, at) \
  out << "field " #type "." #field " " << offsetof(type, field) << '\n';
  BALLAST_LAYOUT_SIZES(BALLAST_DUMP_SIZE)
  BALLAST_LAYOUT_FIELDS(BALLAST_DUMP_FIELD)
#undef BALLAST_DUMP_SIZE
#undef BALLAST_DUMP_FIELD
  const State state{0x01020304, 500, Health::down, Admin::drain, Reason::bad_status, true};
  out << "state_word " << std::hex << pack(state) << std::dec << '\n';
  for (unsigned i = 0; i < kReasonCount; ++i) {
    out << "reason " << i << ' ' << to_text(static_cast<Reason>(i)) << '\n';
  }
  return out.str();
}

}  // namespace

TEST_CASE("the layout is the golden one") {
  if (std::getenv("BALLAST_WRITE_GOLDEN") != nullptr) std::ofstream(BALLAST_GOLDEN) << dump();
  std::ifstream file(BALLAST_GOLDEN);
  REQUIRE_MESSAGE(file.is_open(), BALLAST_GOLDEN);
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  CHECK(golden == dump());
}

TEST_CASE("a state word comes back as it was packed") {
  for (unsigned reason = 0; reason < kReasonCount; ++reason) {
    const State state{~0U,  65535, Health::up, Admin::maintenance, static_cast<Reason>(reason),
                      false};
    CHECK(unpack(pack(state)) == state);
  }
  // Any bits are a state: what is out of range reads as its zero value.
  CHECK(unpack(~std::uint64_t{0}).reason == Reason::none);
  CHECK(unpack(~std::uint64_t{0}).health == Health::unknown);
}
