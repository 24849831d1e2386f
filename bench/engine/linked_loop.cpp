// The loop itself; BALLAST_BENCH_LOOP is the name of the function that gives it. See
// linked_loop.hpp.
#include "bench/engine/linked_loop.hpp"

#include "engine/ballast.h"

namespace ballast::bench {
namespace {

struct Loop {
  ballast_t* handle = nullptr;
  ballast_service_t service = 0;
  std::uint64_t next = 0;
};

void* open(const char* directory, const char* service) {
  auto* loop = new Loop;
  ballast_options_t options = BALLAST_OPTIONS_INIT;
  options.directory = directory;
  if (ballast_attach(&options, &loop->handle) == BALLAST_OK &&
      ballast_find_service(loop->handle, service, &loop->service) == BALLAST_OK &&
      ballast_warning(loop->handle) == nullptr) {
    return loop;
  }
  ballast_detach(loop->handle);
  delete loop;
  return nullptr;
}

void run(void* opaque, const Key* keys, std::uint64_t operations) {
  Loop& loop = *static_cast<Loop*>(opaque);
  for (std::uint64_t i = 0; i < operations; ++i) {
    const Key& key = keys[loop.next++ % kKeyCount];
    ballast_pick_t pick = BALLAST_PICK_INIT;
    if (ballast_pick(loop.handle, loop.service, key.bytes, key.size, nullptr, &pick) == BALLAST_OK)
      ballast_report(loop.handle, &pick, BALLAST_SUCCESS, 250);
    asm volatile("" : : "r"(&pick) : "memory");  // whoever connects would read it
  }
}

void close(void* opaque) {
  auto* loop = static_cast<Loop*>(opaque);
  ballast_detach(loop->handle);
  delete loop;
}

}  // namespace
}  // namespace ballast::bench

extern "C" __attribute__((visibility("default"))) ballast::bench::LinkedLoop BALLAST_BENCH_LOOP() {
  using namespace ballast::bench;
  return {&open, &ballast_last_error, &run, &close};
}
