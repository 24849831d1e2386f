// A prober on a loop of its own, and all that it has told.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/checker/probing/prober.hpp"
#include "tests/support/loops.hpp"

namespace ballast::tests {

class Probing {
 public:
  explicit Probing(checker::Backend backend, std::size_t max_streams = 0) {
    checker::LoopOptions options;
    options.backend = backend;
    options.max_streams = max_streams;
    auto made = checker::make_loop(options);
    REQUIRE(made);
    loop = std::move(*made);
    checker::ProberOptions prober_options;
    prober_options.log = [this](std::string_view line) { log.emplace_back(line); };
    prober = std::make_unique<checker::Prober>(
        *loop, prober_options,
        [this](checker::InstanceId id, const checker::Verdict& verdict) {
          verdicts[id].push_back(verdict);
          if (on_verdict) on_verdict(id, verdict);
        },
        [this](checker::InstanceId id, const checker::CheckResult& result) {
          checks[id].push_back(result);
        });
  }

  void add(checker::InstanceId id, const shm::Endpoint& endpoint,
           const checker::CheckSettings& check, checker::Health known = checker::Health::unknown) {
    checker::InstanceSettings instance;
    instance.endpoint = endpoint;
    instance.text = endpoint.to_text();
    REQUIRE(prober->add(id, instance, check, known));
  }

  void until(const std::function<bool()>& done) { turn_until(*loop, done); }
  void until_verdicts(checker::InstanceId id, std::size_t n) {
    until([&] { return verdicts[id].size() >= n; });
  }
  void until_checks(checker::InstanceId id, std::size_t n) {
    until([&] { return checks[id].size() >= n; });
  }

  std::unique_ptr<checker::Loop> loop;
  std::unique_ptr<checker::Prober> prober;
  std::map<checker::InstanceId, std::vector<checker::Verdict>> verdicts;
  std::map<checker::InstanceId, std::vector<checker::CheckResult>> checks;
  std::function<void(checker::InstanceId, const checker::Verdict&)> on_verdict;
  std::vector<std::string> log;
};

inline checker::CheckSettings quick() {
  checker::CheckSettings check;
  check.interval = checker::Milliseconds(20);
  check.fast_interval = checker::Milliseconds(5);
  check.timeout = std::chrono::seconds(20);
  return check;
}

}  // namespace ballast::tests
