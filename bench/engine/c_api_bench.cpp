// What a user of libballast pays for a request: ballast_pick and ballast_report through the shared
// library, address copied out, the pick and its outcome with its latency counted in the row. Beside
// the same private table as the bare pick.
#include <memory>
#include <stdexcept>
#include <string>

#include "bench/engine/cases.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"
#include "engine/ballast.h"

namespace ballast::bench {

namespace {

constexpr std::uint64_t kLatencyUs = 250;

#ifdef BALLAST_BENCH_STATIC
const std::string kPair = "pick.c_api_pair_static";
#else
const std::string kPair = "pick.c_api_pair";
#endif

struct Attached {
  Worker worker;
  PrivateTable floor;
  ballast_t* handle = nullptr;
  ballast_service_t service = 0;

  Attached(Namespace& made, unsigned rank)
      : worker(made.directory(), made.publisher().segment_id(), KeyOrder::runs, rank),
        floor(worker.view()) {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = made.directory().c_str();
    if (ballast_attach(&options, &handle) != BALLAST_OK ||
        ballast_find_service(handle, kServiceName, &service) != BALLAST_OK) {
      throw std::runtime_error(ballast_last_error());
    }
    if (const char* warning = ballast_warning(handle)) throw std::runtime_error(warning);
  }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached() { ballast_detach(handle); }

  void pick_floor(std::uint64_t operations) noexcept {
    over_keys(worker.keys, operations,
              [this](const Key& key) { return floor.table.pick(key.bytes, key.size); });
  }
  void pick_and_report(std::uint64_t operations) noexcept {
    over_keys(worker.keys, operations, [this](const Key& key) {
      ballast_pick_t pick = BALLAST_PICK_INIT;
      if (ballast_pick(handle, service, key.bytes, key.size, nullptr, &pick) == BALLAST_OK)
        ballast_report(handle, &pick, BALLAST_SUCCESS, kLatencyUs);
      return pick.slot;
    });
  }
};

PairedResult pair_over_floor(engine::Strategy strategy, std::size_t instances, unsigned processes) {
  Namespace made(instances, strategy);
  PairedPlan plan;
  plan.processes = processes;
  plan.base_operations = 4 * kKeyCount;
  plan.subject_operations = kKeyCount;
  return run_paired(plan, [&](unsigned rank) {
    const auto attached = std::make_shared<Attached>(made, rank);
    return Contenders{[attached](std::uint64_t n) { attached->pick_floor(n); },
                      [attached](std::uint64_t n) { attached->pick_and_report(n); }};
  });
}

}  // namespace

void add_c_api_cases(Suite& suite) {
  suite.add(kPair + "_over_floor", [](Rows& rows) {
    for (const std::size_t instances : {100U, 1000U}) {
      for (const unsigned processes : {1U, 2U}) {
        const PairedResult r = pair_over_floor(engine::Strategy::maglev, instances, processes);
        const std::string where =
            "/n" + std::to_string(instances) + "/" + std::to_string(processes) + "p";
        rows.add({kPair + "_over_floor" + where, r.ratio, "x", Better::lower, {}});
        rows.add({kPair + "_ns" + where, r.subject_ns, "ns", Better::lower, {}});
      }
    }
    rows.add_worst(kPair + "_over_floor", Better::lower, {"<= 5x", 5});
    for (const auto strategy : {engine::Strategy::ketama, engine::Strategy::round_robin}) {
      const PairedResult r = pair_over_floor(strategy, 1000, 1);
      rows.add({kPair + "_" + engine::to_text(strategy) + "_ns/n1000/1p",
                r.subject_ns,
                "ns",
                Better::lower,
                {}});
    }
  });
}

}  // namespace ballast::bench
