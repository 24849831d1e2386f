// How long a dead server goes on being picked. A process that serves one instance, or a thousand,
// is killed with SIGKILL; the real checker, with its default settings and in its own process,
// notices; the time ends when the last of two workers has had every key of a dead instance go
// elsewhere. The workers are pinned to two processors. For the figures that count they rest after a
// pick that still falls on the dead, as workers do that wait for requests: 50 us where one instance
// dies, 500 us where a thousand do (waking 20,000 times a second would take the processors from the
// dying process and the checker, and double the figure). The rest is part of the figure. Beside
// them stand the figures of workers that never rest: on a machine of two processors the dying
// process, the checker and both workers then fight for them, and it is the scheduler that is
// measured.
#include <string>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/engine/death_watch.hpp"
#include "bench/support/live_checker.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/processes.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

constexpr std::size_t kStaying = 9;  // instances of another process, that live on

checker::Settings settings_for(const std::vector<shm::Endpoint>& dying,
                               const std::vector<shm::Endpoint>& staying) {
  checker::Settings settings;
  settings.max_workers = 16;
  checker::ServiceSettings service;
  service.name = kServiceName;
  for (const auto* list : {&dying, &staying}) {
    for (const shm::Endpoint& endpoint : *list)
      service.instances.push_back({endpoint, endpoint.to_text(), 1});
  }
  settings.services.push_back(std::move(service));
  return settings;
}

double death_ms(std::size_t dying_count, std::size_t staying_count, Rest rest) {
  const tests::TempDir directory;
  const std::vector<shm::Endpoint> dying = endpoints_of(dying_count, 1);
  const std::vector<shm::Endpoint> staying = endpoints_of(staying_count, 2);
  tests::TinyServer victim(tests::Behaviour::good, dying);
  const tests::TinyServer survivor(tests::Behaviour::good, staying);
  const checker::Settings settings = settings_for(dying, staying);
  const Child checker([&] { run_checker(directory.path(), settings); });
  const std::uint64_t id = wait_until_up(directory.path(), dying_count + staying_count);

  return watch_death(directory.path(), id, dying, rest, [&] { victim.kill(/*wait=*/false); });
}

void bench_death(Rows& rows, const std::string& id, std::size_t dying, std::size_t rounds,
                 Rest rest, const Goal& goal) {
  std::vector<double> resting, spinning;
  for (std::size_t round = 0; round < rounds; ++round) {
    resting.push_back(death_ms(dying, kStaying, rest));
    spinning.push_back(death_ms(dying, kStaying, Rest{}));
  }
  rows.add({id, spread_of(resting), "ms", Better::lower, goal});
  rows.add({id + "/spinning_workers", spread_of(spinning), "ms", Better::lower, {}});
}

}  // namespace

void add_death_cases(Suite& suite) {
  suite.add("death.one_ms", [](Rows& rows) {
    bench_death(rows, "death.one_ms", 1, 21, Rest{50'000}, {"<= 2 ms", 2});
  });
  suite.add("death.thousand_ms", [](Rows& rows) {
    bench_death(rows, "death.thousand_ms", 1000, 11, Rest{500'000}, {"<= 30 ms", 30});
  });
}

}  // namespace ballast::bench
