// Whatever a dead checker or a mad process left in the files, the next checker either says why it
// cannot go on from there or repairs it: once the settings are applied, every service is whole.
#include <cstdint>

#include "engine/generation_writer.hpp"
#include "tests/fuzz/damaged_namespace.hpp"

namespace {

using ballast::fuzz::DamagedNamespace;

void adopt(const std::string& directory) {
  auto lease = ballast::shm::Lease::acquire(directory, ballast::shm::Lease::Wait::no);
  if (!lease) return;
  const auto settings = ballast::fuzz::settings();
  auto publisher = ballast::checker::Publisher::open(std::move(*lease), settings);
  if (!publisher) return;
  if (publisher->apply(settings)) {
    const auto& table = publisher->segment().table;
    for (std::size_t i = 0; i < table.services.size(); ++i) {
      const auto id =
          ballast::shm::unpack_identity(table.services[i].identity.load(std::memory_order_relaxed));
      if (id.phase != ballast::shm::Phase::live) continue;
      if (!ballast::engine::is_whole(table, i)) ballast::fuzz::die("a service is not whole");
    }
  }
  static_cast<void>(publisher->tick());
  publisher->leave();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Made anew for each input: a checker that adopts may replace and remove files.
  DamagedNamespace files;
  FuzzedDataProvider input(data, size);
  files.damage_at_will(input);
  adopt(files.directory());
  return 0;
}
