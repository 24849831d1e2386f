// How soon a killed server is known: from kill(2) to the prober's verdict, for one instance and for
// many that die at once (one process that listens on as many addresses). Checks are an hour apart,
// so only the sentinel can see it. The server's process, the kernel tearing it down and this
// process share the machine's cores.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/checker/probing/prober.hpp"
#include "tests/support/tiny_server.hpp"

namespace {

using namespace ballast;
using namespace ballast::checker;
using Clock = std::chrono::steady_clock;

std::vector<shm::Endpoint> endpoints(std::size_t n) {
  std::vector<shm::Endpoint> all;
  shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
  for (std::size_t i = 0; i < n; ++i) {
    endpoint.address[1] = 1;
    endpoint.address[2] = static_cast<std::uint8_t>(i / 250);
    endpoint.address[3] = static_cast<std::uint8_t>(i % 250 + 1);
    all.push_back(endpoint);
  }
  return all;
}

// Milliseconds from the kill until all `n` verdicts have been told.
double one_run(Backend backend, std::size_t n) {
  LoopOptions options;
  options.backend = backend;
  auto loop = make_loop(options);
  if (!loop) {
    std::fprintf(stderr, "%s\n", loop.error().to_text().c_str());
    std::exit(77);
  }
  const auto all = endpoints(n);
  tests::TinyServer server(tests::Behaviour::good, all);
  std::size_t up = 0;
  std::size_t down = 0;
  Prober prober(
      **loop, {}, [&](InstanceId, const Verdict& verdict) { verdict.healthy ? ++up : ++down; },
      nullptr);
  CheckSettings check;
  check.interval = std::chrono::hours(1);
  check.fast_interval = std::chrono::hours(1);
  check.timeout = std::chrono::seconds(30);
  for (std::size_t i = 0; i < n; ++i)
    prober.add(i, InstanceSettings{all[i], "", 1}, check);
  while (up < n)
    (*loop)->run_once(std::chrono::seconds(1));
  // Let the last sends' completions and the server's last turn pass.
  for (int i = 0; i < 3; ++i)
    (*loop)->run_once(std::chrono::milliseconds(5));
  const auto begin = Clock::now();
  server.kill(false);
  while (down < n)
    (*loop)->run_once(std::chrono::seconds(1));
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void measure(const char* name, Backend backend, std::size_t n, int runs) {
  std::vector<double> ms;
  for (int i = 0; i < runs; ++i)
    ms.push_back(one_run(backend, n));
  std::sort(ms.begin(), ms.end());
  std::printf("%-9s n=%-5zu runs=%-3d min %.2f  median %.2f  p90 %.2f  max %.2f ms\n", name, n,
              runs, ms.front(), ms[ms.size() / 2], ms[ms.size() * 9 / 10], ms.back());
}

}  // namespace

int main() {
  for (const auto& [name, backend] :
       {std::pair{"io_uring", Backend::io_uring}, std::pair{"epoll", Backend::epoll}}) {
    measure(name, backend, 1, 50);
    measure(name, backend, 1000, 15);
  }
  return 0;
}
