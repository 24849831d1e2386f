// What it costs the checker to build a lookup table of 65537 entries from nothing and to publish
// it: all of it is one change of membership, as seen from the moment the members are known.
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/support/clock.hpp"
#include "bench/support/namespace.hpp"
#include "engine/generation_writer.hpp"
#include "engine/placement.hpp"

namespace ballast::bench {

namespace {

constexpr std::size_t kRounds = 15;
constexpr std::size_t kRebuilds = 20;  // in a round

double ms_since(std::uint64_t from) {
  return static_cast<double>(monotonic_ns() - from) / 1e6;
}

struct Figures {
  std::vector<double> whole, build, publish;
};

Figures rebuild(engine::Strategy strategy, std::size_t instances) {
  Namespace made(instances, strategy);
  const auto& segment = made.publisher().segment();
  std::vector<engine::Member> members;
  const checker::Settings settings = settings_of(instances, strategy);
  for (const auto& instance : made.publisher().instances()) {
    members.push_back({instance.slot, settings.services[0].instances[instance.instance].text, 1});
  }
  Figures out;
  for (std::size_t round = 0; round <= kRounds; ++round) {
    std::vector<double> whole, build, publish;
    for (std::size_t i = 0; i < kRebuilds; ++i) {
      std::vector<engine::Member> copy = members;
      const std::uint64_t from = monotonic_ns();
      const auto placement = engine::build_placement(strategy, std::move(copy));
      build.push_back(ms_since(from));
      const std::uint64_t built = monotonic_ns();
      if (!placement || !engine::publish_placement(segment.table, 0, {&*placement, 1}, {})) {
        throw std::runtime_error("the placement does not fit into its buffer");
      }
      publish.push_back(ms_since(built));
      whole.push_back(ms_since(from));
    }
    if (round == 0) continue;  // warming up
    out.whole.push_back(median(whole));
    out.build.push_back(median(build));
    out.publish.push_back(median(publish));
  }
  return out;
}

void add_rows(Rows& rows, const std::string& id, engine::Strategy strategy, std::size_t instances,
              std::optional<Goal> goal) {
  const Figures f = rebuild(strategy, instances);
  rows.add({id, spread_of(f.whole), "ms", Better::lower, std::move(goal)});
  rows.add({id + "/build", spread_of(f.build), "ms", Better::lower, {}});
  rows.add({id + "/publish", spread_of(f.publish), "ms", Better::lower, {}});
}

}  // namespace

void add_rebuild_cases(Suite& suite) {
  suite.add("rebuild.n1000_ms", [](Rows& rows) {
    add_rows(rows, "rebuild.n1000_ms", engine::Strategy::maglev, 1000, Goal{"<= 1.0 ms", 1.0});
    add_rows(rows, "rebuild.n100_ms", engine::Strategy::maglev, 100, {});
    add_rows(rows, "rebuild.ketama_n1000_ms", engine::Strategy::ketama, 1000, {});
  });
}

}  // namespace ballast::bench
