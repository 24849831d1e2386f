// Whatever lies in the three files when a worker or a tool opens them, and whatever happens to them
// while it works: attaching, picking, reporting and reading end with a status or with numbers.
#include <cstdint>
#include <string>

#include "engine/ballast.h"
#include "shm/segment.hpp"
#include "tests/fuzz/damaged_namespace.hpp"
#include "tests/support/read_everything.hpp"

namespace {

using ballast::fuzz::DamagedNamespace;

void require(bool condition, const char* what) {
  if (!condition) ballast::fuzz::die(what);
}

void pick_and_report(ballast_t* handle, ballast_service_t service, FuzzedDataProvider& input) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  ballast_pick_t again = BALLAST_PICK_INIT;
  const auto key = input.ConsumeIntegral<std::uint16_t>();
  if (ballast_pick(handle, service, &key, sizeof key, nullptr, &pick) != BALLAST_OK) return;
  char text[BALLAST_ADDRESS_TEXT];
  require(ballast_format_address(&pick, text, sizeof text) < sizeof text, "an address too long");
  sockaddr_storage address;
  socklen_t length = 0;
  static_cast<void>(ballast_pick_sockaddr(&pick, &address, &length));
  const ballast_pick_t* tried[] = {&pick};
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.tried = tried;
  options.tried_count = 1;
  if (ballast_pick(handle, service, &key, sizeof key, &options, &again) == BALLAST_OK)
    static_cast<void>(ballast_report(handle, &again, BALLAST_RESET, 7));
  static_cast<void>(ballast_report(handle, &pick, BALLAST_SUCCESS, BALLAST_NO_LATENCY));
}

// A token of whatever was picked, its pick, and a report that brings a load.
void be_sticky(ballast_t* handle, ballast_service_t service, FuzzedDataProvider& input) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  const auto key = input.ConsumeIntegral<std::uint16_t>();
  if (ballast_pick(handle, service, &key, sizeof key, nullptr, &pick) != BALLAST_OK) return;
  pick.slot += input.ConsumeIntegralInRange<std::uint32_t>(0, 1);
  char token[BALLAST_STICKY_TEXT];
  const auto made = ballast_sticky_token(handle, service, &pick, token, sizeof token);
  require((made == BALLAST_OK) == (token[0] != '\0'), "a token beside an error");
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.sticky = token;
  options.sticky_length = BALLAST_STICKY_TEXT - 1;
  ballast_pick_t again = BALLAST_PICK_INIT;
  if (ballast_pick(handle, service, &key, sizeof key, &options, &again) == BALLAST_OK) {
    ballast_result_t result = BALLAST_RESULT_INIT;
    result.load = "TEXT cpu_utilization=0.5";
    result.load_length = 24;
    static_cast<void>(ballast_report_full(handle, &again, &result));
  }
  static_cast<void>(ballast_abandon(handle, &pick));
}

void work(const std::string& directory, DamagedNamespace& files, FuzzedDataProvider& input) {
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory.c_str();
  ballast_t* handle = nullptr;
  if (ballast_attach(&options, &handle) != BALLAST_OK) {
    require(ballast_last_error()[0] != '\0', "a failure without a word");
    return;
  }
  ballast_service_t services[4] = {};
  const char* const names[] = {"maglev", "ketama", "round_robin", "none such"};
  for (unsigned i = 0; i < 4; ++i)
    static_cast<void>(ballast_find_service(handle, names[i], &services[i]));
  for (unsigned round = 0; round < 3; ++round) {
    for (const ballast_service_t service : services) {
      pick_and_report(handle, service, input);
      be_sticky(handle, service, input);
      static_cast<void>(ballast_epoch(handle, service));
    }
    files.damage_at_will(input);
  }
  ballast_info_t info = BALLAST_INFO_INIT;
  require(ballast_info(handle, &info) == BALLAST_OK, "no info");
  static_cast<void>(ballast_warning(handle));
  ballast_detach(handle);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static DamagedNamespace files;
  FuzzedDataProvider input(data, size);
  files.damage_at_will(input);
  const auto tool = ballast::shm::InspectedSegment::open(files.directory(), files.segment(),
                                                         ballast::shm::BootCheck::skipped);
  if (tool) static_cast<void>(ballast::tests::read_everything(tool->table, tool->workers));
  work(files.directory(), files, input);
  files.undo();
  return 0;
}
