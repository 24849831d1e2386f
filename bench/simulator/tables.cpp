// Running the strategies and dividing their figures.
#include "bench/simulator/tables.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <stdexcept>
#include <vector>

#include "bench/simulator/simulation.hpp"
#include "bench/simulator/strategies.hpp"

namespace ballast::bench::sim {

namespace {

constexpr const char* kOverBest = "sim.adaptive_worst_over_best";
constexpr const char* kOverRoundRobin = "sim.adaptive_over_round_robin_uneven";
constexpr const char* kOverPerWorker = "sim.shared_over_per_worker_64";
constexpr std::uint32_t kManyWorkers = 64;

// Shown where there is no room for all.
constexpr const char* kCompared[] = {"round_robin", "least_connections", "least_response_time",
                                     "adaptive"};

const Strategy& find_strategy(const std::string& name) {
  for (const Strategy& strategy : strategies()) {
    if (strategy.name == name) return strategy;
  }
  throw std::invalid_argument("no strategy '" + name + "'");
}

// The figures of one strategy, one a seed.
struct Figures {
  std::vector<double> p50_ms;
  std::vector<double> p99_ms;
  std::vector<double> p999_ms;
  std::vector<double> error_percent;
};

std::vector<double> divide(const std::vector<double>& by, const std::vector<double>& what) {
  std::vector<double> ratios;
  ratios.reserve(what.size());
  for (std::size_t i = 0; i < what.size(); ++i)
    ratios.push_back(what[i] / by[i]);
  return ratios;
}

// Seed by seed, the lowest p99 of any fixed strategy.
std::vector<double> best_fixed(const std::map<std::string, Figures>& figures, std::size_t seeds) {
  std::vector<double> best(seeds, std::numeric_limits<double>::infinity());
  for (const Strategy& strategy : strategies()) {
    if (strategy.kind != Kind::fixed) continue;
    const auto& p99 = figures.at(strategy.name).p99_ms;
    for (std::size_t i = 0; i < seeds; ++i)
      best[i] = std::min(best[i], p99[i]);
  }
  return best;
}

}  // namespace

Plan quick_plan() {
  Plan plan;
  plan.scale.seconds = 2;
  plan.scale.warm_up_seconds = 0.5;
  plan.seeds = 1;
  return plan;
}

void add_scenario(Rows& rows, const Plan& plan, const std::string& scenario,
                  std::uint32_t workers) {
  std::map<std::string, Figures> figures;
  bool uneven = false;
  for (std::uint32_t i = 0; i < plan.seeds; ++i) {
    const std::uint64_t seed = plan.first_seed + i;
    const Scenario made = make_scenario(scenario, workers, seed, plan.scale);
    uneven = made.uneven;
    for (const Strategy& strategy : strategies()) {
      const auto chooser = strategy.make({plan.scale.backends, workers, seed});
      const Result result = simulate(made, *chooser);
      Figures& of = figures[strategy.name];
      of.p50_ms.push_back(result.quantile_ms(0.5));
      of.p99_ms.push_back(result.quantile_ms(0.99));
      of.p999_ms.push_back(result.quantile_ms(0.999));
      of.error_percent.push_back(result.error_ratio() * 100);
    }
  }
  const std::string place = "/" + scenario + "/w" + std::to_string(workers);
  const auto add = [&](const std::string& what, const std::string& unit, const std::string& name,
                       const std::vector<double>& values) {
    rows.add({what + place + (name.empty() ? "" : "/" + name), spread_of(values), unit,
              Better::lower, std::nullopt});
  };
  for (const Strategy& strategy : strategies()) {
    const Figures& of = figures.at(strategy.name);
    add("sim.p50_ms", "ms", strategy.name, of.p50_ms);
    add("sim.p99_ms", "ms", strategy.name, of.p99_ms);
    add("sim.p999_ms", "ms", strategy.name, of.p999_ms);
    add("sim.errors_percent", "%", strategy.name, of.error_percent);
  }
  const auto& adaptive = figures.at("adaptive").p99_ms;
  add(kOverBest, "x", "", divide(best_fixed(figures, plan.seeds), adaptive));
  const auto over_round_robin = divide(figures.at("round_robin").p99_ms, adaptive);
  add(uneven ? kOverRoundRobin : "sim.adaptive_over_round_robin_even", "x", "", over_round_robin);
  for (const Strategy& strategy : strategies()) {
    if (strategy.kind != Kind::per_worker) continue;
    const auto ratios =
        divide(figures.at(strategy.name).p99_ms, figures.at(strategy.shared_name).p99_ms);
    const bool counts = uneven && workers == kManyWorkers;
    add(counts ? kOverPerWorker : "sim.shared_over_per_worker", "x", strategy.shared_name, ratios);
  }
}

void add_intervals(Rows& rows, const Plan& plan, const std::string& scenario) {
  for (const std::uint64_t interval_us : {200U, 2'000U, 5'000U, 10'000U, 20'000U, 50'000U}) {
    for (const char* name : kCompared) {
      std::vector<double> p99_ms;
      for (std::uint32_t i = 0; i < plan.seeds; ++i) {
        const std::uint64_t seed = plan.first_seed + i;
        const Scenario made = make_scenario(scenario, kManyWorkers, seed, plan.scale);
        Sizes sizes{plan.scale.backends, kManyWorkers, seed};
        sizes.load_interval_ns = interval_us * 1000;
        const auto chooser = find_strategy(name).make(sizes);
        p99_ms.push_back(simulate(made, *chooser).quantile_ms(0.99));
      }
      rows.add(
          {"sim.p99_ms_by_interval/" + scenario + "/" + std::to_string(interval_us) + "us/" + name,
           spread_of(p99_ms), "ms", Better::lower, std::nullopt});
    }
  }
}

void add_elsewhere(Rows& rows, const Plan& plan) {
  struct Variant {
    const char* name;
    void (*change)(Scale& scale);
    std::uint64_t load_interval_ns = Sizes{}.load_interval_ns;
  };
  const auto short_work = [](Scale& scale) {
    scale.work_ms = 1;
    scale.seconds = scale.warm_up_seconds + (scale.seconds - scale.warm_up_seconds) / 5;
  };
  const Variant variants[] = {
      {"30_percent_load", [](Scale& scale) { scale.utilisation = 0.3; }},
      {"90_percent_load", [](Scale& scale) { scale.utilisation = 0.9; }},
      {"1_server_each", [](Scale& scale) { scale.servers = 1; }},
      {"16_servers_each",
       [](Scale& scale) {
         scale.servers = 16;
         scale.seconds = scale.warm_up_seconds + (scale.seconds - scale.warm_up_seconds) / 2;
       }},
      {"work_of_1_ms", short_work},
      {"work_of_1_ms_looks_every_0.5_ms", short_work, 500'000},
      {"work_of_100_ms",
       [](Scale& scale) {
         scale.work_ms = 100;
         scale.limit_ms *= 5;
         scale.seconds *= 3;
       }},
      {"16_backends", [](Scale& scale) { scale.backends = 16; }},
  };
  for (const Variant& variant : variants) {
    Plan changed = plan;
    variant.change(changed.scale);
    for (const char* scenario : {"equal", "quarter_half_speed", "antagonist", "heavy_tail"}) {
      for (const char* name : kCompared) {
        const Scenario made = make_scenario(scenario, kManyWorkers, plan.first_seed, changed.scale);
        const auto chooser = find_strategy(name).make(
            {changed.scale.backends, kManyWorkers, plan.first_seed, variant.load_interval_ns});
        const double p99_ms = simulate(made, *chooser).quantile_ms(0.99);
        rows.add({std::string("sim.elsewhere_p99_ms/") + variant.name + "/" + scenario + "/" + name,
                  spread_of({p99_ms}), "ms", Better::lower, std::nullopt});
      }
    }
  }
}

void add_goals(Rows& rows) {
  rows.add_worst(kOverBest, Better::lower, {"<= 1.10x", 1.10});
  rows.add_worst(kOverRoundRobin, Better::lower, {"<= 0.50x", 0.50});
  rows.add_worst(kOverPerWorker, Better::lower, {"<= 1.00x", 1.00});
}

}  // namespace ballast::bench::sim
