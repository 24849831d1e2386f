// Prober to publisher, the shortest way.
#include "bench/support/live_checker.hpp"

#include <chrono>
#include <stdexcept>

#include "bench/support/namespace.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/probing/prober.hpp"

namespace ballast::bench {

void run_checker(const std::string& directory, const checker::Settings& settings,
                 const std::function<void(checker::Loop&)>& beside) {
  const auto publisher = open_publisher(directory, settings);
  auto loop = checker::make_loop({});
  if (!loop) throw std::runtime_error(loop.error().to_text());
  const auto& instances = publisher->instances();
  checker::Prober prober(
      **loop, {},
      [&](checker::InstanceId id, const checker::Verdict& verdict) {
        const checker::PublishedInstance& instance = instances[id];
        publisher->set_health(instance.slot, instance.incarnation,
                              verdict.healthy ? shm::Health::up : shm::Health::down,
                              verdict.check.reason);
      },
      [&](checker::InstanceId id, const checker::CheckResult& check) {
        const checker::PublishedInstance& instance = instances[id];
        publisher->record_check(instance.slot, instance.incarnation, check.passed(),
                                static_cast<std::uint32_t>(check.latency.count()));
      });
  for (std::size_t i = 0; i < instances.size(); ++i) {
    const checker::ServiceSettings& service = settings.services[instances[i].service];
    prober.add(i, service.instances[instances[i].instance], service.check, instances[i].health);
  }
  (*loop)->every(std::chrono::milliseconds(100), [&] { publisher->tick(); });
  if (beside) beside(**loop);
  (*loop)->run();
  throw std::runtime_error("the checker's loop ended");
}

}  // namespace ballast::bench
