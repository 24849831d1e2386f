// Any bytes may stand in a file of targets. Reading them must end, and either all of it is
// accepted, within the limits of instances, or there is one short line that says why not.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/checker/discovery/file_targets.hpp"

namespace {

using namespace ballast::checker;

void require(bool condition) {
  if (!condition) std::abort();
}

void read(std::string_view text) {
  const Discovered found = parse_file_targets("f", text);
  require(found.error.size() < 1000);
  for (const char c : found.error)
    require(c >= 0x20 && c < 0x7F);
  require(found.error.empty() || (found.instances.empty() && found.note.empty()));
  require(found.error.empty() || found.error.starts_with("f:"));
  for (std::size_t i = 0; i < found.instances.size(); ++i) {
    const InstanceSettings& one = found.instances[i];
    require(one.endpoint.family != ballast::shm::Family::none && one.endpoint.port != 0);
    require(one.text == one.endpoint.to_text());
    require(one.weight >= 1 && one.weight <= kMaxWeight && one.tier <= kMaxTier);
    require(one.zone.size() <= kMaxZoneBytes);
    if (i > 0) require(found.instances[i - 1].endpoint.to_words() < one.endpoint.to_words());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  read(input);
  read(R"([{"targets":["10.0.0.1:80",")" + input + R"("]}])");
  read(R"([{"targets":["10.0.0.1:80"],"labels":{)" + input + "}}]");
  return 0;
}
