// What the command-line tool makes of damaged files: every byte of the headers and records of a
// populated namespace turned in turn. It shows numbers or says why not, in one line.
#include <doctest/doctest.h>

#include <cstddef>
#include <string>

#include "engine/inspect/snapshot.hpp"
#include "shm/paths.hpp"
#include "tests/support/damage.hpp"
#include "tests/support/published.hpp"
#include "tools/ballast/render.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Damage;

namespace {

void dump(const std::string& directory) {
  const auto snapshot = inspect::read_snapshot(directory);
  if (!snapshot) {
    const std::string text = snapshot.error().to_text();
    CHECK(text.find(directory) != std::string::npos);
    CHECK(text.find('\n') == std::string::npos);
    return;
  }
  CHECK(tools::dump_text(*snapshot, tools::Colours::no).ends_with('\n'));
  CHECK(tools::workers_json(*snapshot).ends_with('\n'));
  CHECK(tools::dump_json(*snapshot).ends_with('\n'));
}

void sweep(Damage& damage, std::size_t begin, std::size_t bytes, const std::string& directory) {
  for (std::size_t at = begin; at < begin + bytes; ++at) {
    const unsigned char was = damage.original()[at];
    for (const unsigned char value :
         {static_cast<unsigned char>(~was), static_cast<unsigned char>(was ^ 1U << at % 8)}) {
      damage.bytes()[at] = value;
      dump(directory);
    }
    damage.bytes()[at] = was;
  }
}

}  // namespace

TEST_CASE("dumping files with any byte of headers and records turned") {
  tests::Published published(tests::settings_of({tests::service_of("a", Strategy::maglev, 2),
                                                 tests::service_of("b", Strategy::ketama, 2, 10)},
                                                2));
  const std::string& directory = published.directory();
  const std::uint64_t id = published.publisher().segment_id();
  {
    Damage locator(shm::locator_path(directory));
    sweep(locator, 0, offsetof(shm::Locator, reserved), directory);
  }
  for (const std::string& path :
       {shm::table_path(directory, id), shm::workers_path(directory, id)}) {
    Damage damage(path);
    sweep(damage, 0, offsetof(shm::FileHeader, reserved), directory);
    const auto& header = *reinterpret_cast<const shm::FileHeader*>(damage.original().data());
    for (std::uint64_t i = 0; i < header.section_count; ++i) {
      const shm::Section& section = header.sections[i];
      if (section.id == shm::kArenaSection || section.id == shm::kRowsSection) continue;
      sweep(damage, section.offset, section.stride, directory);
    }
  }
  const auto snapshot = inspect::read_snapshot(directory);
  REQUIRE(snapshot);
  CHECK(snapshot->warnings.empty());
  CHECK(snapshot->services.size() == 2);
}
