// The scenarios, one function each.
#include "bench/simulator/scenario.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <stdexcept>

#include "bench/simulator/random.hpp"

namespace ballast::bench::sim {

namespace {

using Kind = Change::Kind;

// What a scenario function fills in besides the changes.
struct Draft {
  Scenario scenario;
  double utilisation = 1;  // over that of the scale
  double capacity = 1;     // what they can do, as a share of what they could at full speed
  // The rate at a moment over the mean rate; the mean over time must be 1.
  std::function<double(double seconds)> rate = [](double) { return 1.0; };
  double highest_rate = 1;
  std::function<double(Random&)> work = [](Random& random) { return random.exponential(1); };

  void change(double seconds, std::uint32_t backend, Kind kind, double value) {
    if (seconds >= scenario.scale.seconds) return;
    const auto at_ns = static_cast<std::uint64_t>(seconds * 1e9);
    auto& changes = scenario.changes;
    const auto after = std::upper_bound(
        changes.begin(), changes.end(), at_ns,
        [](std::uint64_t time, const Change& other) { return time < other.at_ns; });
    changes.insert(after, {at_ns, backend, kind, value});
  }
  [[nodiscard]] double from() const { return scenario.scale.warm_up_seconds; }
  [[nodiscard]] double until() const { return scenario.scale.seconds; }
  [[nodiscard]] std::uint32_t backends() const { return scenario.scale.backends; }
};

void equal(Draft&, Random&) {}

void equal_shared(Draft& draft, Random&) {
  draft.scenario.discipline = Discipline::shared;
}

void quarter_half_speed(Draft& draft, Random&) {
  draft.scenario.uneven = true;
  draft.capacity = 0.875;
  for (std::uint32_t b = 0; b < draft.backends() / 4; ++b)
    draft.change(0, b * 4, Kind::speed, 0.5);
}

void one_ten_times_slower(Draft& draft, Random&) {
  draft.scenario.uneven = true;
  draft.change(0, 3, Kind::speed, 0.1);
}

// When one backend goes bad, and when it is well again: most of the time that counts.
double trouble_begins(const Draft& draft) {
  return draft.from() + (draft.until() - draft.from()) * 0.05;
}
double trouble_ends(const Draft& draft) {
  return draft.from() + (draft.until() - draft.from()) * 0.85;
}

// One backend answers everything at once with an error.
void fails_fast(Draft& draft, Random&) {
  draft.scenario.uneven = true;
  draft.change(trouble_begins(draft), 3, Kind::fails, 1);
  draft.change(trouble_ends(draft), 3, Kind::fails, 0);
}

// An eighth of the backends runs at three tenths of its speed, another eighth every second: other
// programs on the same hosts.
void antagonist(Draft& draft, Random& random) {
  draft.scenario.uneven = true;
  draft.capacity = 1 - 0.7 / 8;
  std::vector<std::uint32_t> all(draft.backends());
  for (std::uint32_t b = 0; b < all.size(); ++b)
    all[b] = b;
  for (double t = 0; t < draft.until(); t += 1) {
    if (t > 0) {
      for (std::uint32_t i = 0; i < all.size() / 8; ++i)
        draft.change(t, all[i], Kind::speed, 1);
    }
    for (std::uint32_t i = 0; i < all.size() / 8; ++i) {
      std::swap(all[i], all[i + random.below(static_cast<std::uint32_t>(all.size()) - i)]);
      draft.change(t, all[i], Kind::speed, 0.3);
    }
  }
}

// Five sevenths of the usual load on average; for 50 ms in every 500 ms three times that.
void bursts(Draft& draft, Random&) {
  draft.utilisation = 5.0 / 7;
  draft.highest_rate = 3;
  draft.rate = [](double seconds) {
    return std::fmod(seconds, 0.5) < 0.05 ? 3.0 : (0.5 - 0.05 * 3) / 0.45;
  };
}

// A rolling restart: every 250 ms the next backend goes for half a second and comes back at a fifth
// of its speed, which rises to all of it within two seconds.
void cold_starts(Draft& draft, Random&) {
  draft.capacity = 0.9;
  std::uint32_t backend = 0;
  for (double t = 0.5; t < draft.until(); t += 0.25, backend = (backend + 1) % draft.backends()) {
    draft.change(t, backend, Kind::usable, 0);
    draft.change(t + 0.5, backend, Kind::speed, 0.2);
    draft.change(t + 0.5, backend, Kind::usable, 1);
    for (int step = 1; step <= 8; ++step)
      draft.change(t + 0.5 + 0.25 * step, backend, Kind::speed, 0.2 + 0.1 * step);
  }
}

// Bounded Pareto, index 1.5, the longest 1000 times the shortest: one request in a thousand takes a
// quarter of a second where the mean is 10 ms.
double pareto(Random& random) {
  constexpr double kIndex = 1.5;
  constexpr double kRange = 1000;
  const double top = 1 - std::pow(kRange, -kIndex);
  static const double mean = kIndex / (kIndex - 1) * (1 - std::pow(kRange, 1 - kIndex)) / top;
  return std::pow(1 - (1 - random.unit()) * top, -1 / kIndex) / mean;
}

void heavy_tail(Draft& draft, Random&) {
  draft.work = pareto;
}

void heavy_tail_shared(Draft& draft, Random&) {
  draft.work = pareto;
  draft.scenario.discipline = Discipline::shared;
}

// One backend accepts and never answers.
void hang(Draft& draft, Random&) {
  draft.scenario.uneven = true;
  draft.change(trouble_begins(draft), 3, Kind::speed, 0);
  draft.change(trouble_ends(draft), 3, Kind::speed, 1);
}

struct Named {
  const char* name;
  void (*fill)(Draft&, Random&);
};
constexpr Named kScenarios[] = {
    {"equal", equal},
    {"equal_shared", equal_shared},
    {"quarter_half_speed", quarter_half_speed},
    {"one_ten_times_slower", one_ten_times_slower},
    {"fails_fast", fails_fast},
    {"antagonist", antagonist},
    {"bursts", bursts},
    {"cold_starts", cold_starts},
    {"heavy_tail", heavy_tail},
    {"heavy_tail_shared", heavy_tail_shared},
    {"hang", hang},
};

void add_requests(Draft& draft, std::uint32_t workers, Random& random) {
  const Scale& scale = draft.scenario.scale;
  const double full = scale.backends * scale.servers / (scale.work_ms / 1e3);
  const double mean_rate = full * draft.capacity * draft.utilisation * scale.utilisation;
  double now = 0;
  while (true) {
    now += random.exponential(1 / (mean_rate * draft.highest_rate));  // thinned below
    if (now >= scale.seconds) break;
    if (random.unit() * draft.highest_rate > draft.rate(now)) continue;
    draft.scenario.requests.push_back(
        {static_cast<std::uint64_t>(now * 1e9), random.next(), random.below(workers),
         static_cast<float>(draft.work(random) * scale.work_ms * 1e6)});
  }
}

}  // namespace

const std::vector<std::string>& scenario_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Named& named : kScenarios)
      all.emplace_back(named.name);
    return all;
  }();
  return names;
}

Scenario make_scenario(const std::string& name, std::uint32_t workers, std::uint64_t seed,
                       const Scale& scale) {
  const auto* found = std::find_if(std::begin(kScenarios), std::end(kScenarios),
                                   [&](const Named& named) { return name == named.name; });
  if (found == std::end(kScenarios)) throw std::invalid_argument("no scenario '" + name + "'");
  Random random(seed);
  Draft draft;
  draft.scenario.name = name;
  draft.scenario.scale = scale;
  found->fill(draft, random);
  add_requests(draft, workers, random);
  return std::move(draft.scenario);
}

}  // namespace ballast::bench::sim
