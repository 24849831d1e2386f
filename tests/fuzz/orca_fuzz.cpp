// Any bytes may come as a backend's report of its load. Reading them must end, and whatever is
// accepted lies within the limits of the word that keeps it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/orca.hpp"

namespace {

using namespace ballast::engine;

void require(bool condition) {
  if (!condition) std::abort();
}

void read(std::string_view header) {
  constexpr ReportedLoad kUntouched{1, 2, 3};
  ReportedLoad load = kUntouched;
  if (parse_orca(header, load) == OrcaResult::ok) {
    require(pack(load) != 0);
    require(unpack_reported_load(pack(load)) == load);
    require(load.qps_tenths != 0 || load.error_ppm == 0);
  } else {
    require(load == kUntouched);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  read(input);
  read("TEXT " + std::string(input));
  read("TEXT cpu_utilization=" + std::string(input));
  return 0;
}
