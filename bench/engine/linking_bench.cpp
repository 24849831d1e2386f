// What it costs to link libballast in one way or another: pick and report through the shared
// library, through the static one, and optimised together with it, in turns in one process.
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/engine/linked_loop.hpp"
#include "bench/support/keys.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"

namespace ballast::bench {

namespace {

struct Running {
  LinkedLoop functions;
  void* loop;
  std::vector<Key> keys = make_keys(KeyOrder::runs);

  Running(const LinkedLoop& which, const std::string& directory)
      : functions(which), loop(functions.open(directory.c_str(), kServiceName)) {
    if (loop == nullptr) throw std::runtime_error(functions.error());
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() { functions.close(loop); }
};

Burst burst_of(const LinkedLoop& which, const std::string& directory) {
  const auto running = std::make_shared<Running>(which, directory);
  return [running](std::uint64_t n) {
    running->functions.run(running->loop, running->keys.data(), n);
  };
}

}  // namespace

void add_linking_cases(Suite& suite) {
  suite.add("pick.c_api_linked", [](Rows& rows) {
    Namespace made(100, engine::Strategy::maglev);
    PairedPlan plan;
    plan.base_operations = kKeyCount;
    plan.subject_operations = kKeyCount;
    const auto measure = [&](const char* name, const LinkedLoop& subject) {
      const PairedResult r = run_paired(plan, [&](unsigned) {
        return Contenders{burst_of(ballast_bench_loop_shared(), made.directory()),
                          burst_of(subject, made.directory())};
      });
      rows.add(
          {std::string("pick.c_api_linked_ns/") + name, r.subject_ns, "ns", Better::lower, {}});
      rows.add(
          {std::string("pick.c_api_linked_over_shared/") + name, r.ratio, "x", Better::lower, {}});
    };
    measure("shared", ballast_bench_loop_shared());  // the control: near 1
    measure("static", ballast_bench_loop_static());
#ifdef BALLAST_BENCH_LTO
    measure("lto", ballast_bench_loop_lto());
#endif
  });
}

}  // namespace ballast::bench
