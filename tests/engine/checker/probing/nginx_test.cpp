// The prober against nginx as Debian ships it: a killed server, a restarted one, a reload, and a
// worker that is killed under a master that lives. Only the first is a death.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/checker/probing/prober.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/nginx.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::checker {
namespace {

struct Watcher {
  Watcher(std::uint16_t port, Milliseconds interval) {
    auto made = make_loop({});
    REQUIRE(made);
    loop = std::move(*made);
    prober = std::make_unique<Prober>(
        *loop, ProberOptions{},
        [this](InstanceId, const Verdict& verdict) { verdicts.push_back(verdict); },
        [this](InstanceId, const CheckResult& result) { checks.push_back(result); });
    CheckSettings check;
    check.interval = interval;
    check.fast_interval = Milliseconds(10);
    check.timeout = std::chrono::seconds(20);
    prober->add(1, InstanceSettings{tests::local_endpoint(port), "", 1}, check);
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }

  std::unique_ptr<Loop> loop;
  std::unique_ptr<Prober> prober;
  std::vector<Verdict> verdicts;
  std::vector<CheckResult> checks;
};

std::string http_block(std::uint16_t port) {
  return "server { listen 127.0.0.1:" + std::to_string(port) +
         "; location / { return 200 ok; } }\n";
}

// The workers of a master, from /proc.
std::vector<pid_t> children_of(pid_t master) {
  const std::string pid = std::to_string(master);
  std::ifstream file("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;)
    children.push_back(child);
  return children;
}

TEST_CASE("killed and started again") {
  if (tests::find_nginx().empty()) {
    tests::skip("no nginx (apt install nginx)");
    return;
  }
  const std::uint16_t port = tests::free_port();
  auto server = std::make_unique<tests::Nginx>(http_block(port), port);
  // So long that only the lost connection can bring the news.
  Watcher watcher(port, std::chrono::hours(1));
  watcher.until([&] { return watcher.verdicts.size() == 1; });
  CHECK(watcher.verdicts[0].healthy);
  CHECK(watcher.prober->stats().kept == 1);
  server.reset();  // SIGKILL
  watcher.until([&] { return watcher.verdicts.size() == 2; });
  CHECK(watcher.verdicts[1].check.reason == Reason::connect_refused);
  server = std::make_unique<tests::Nginx>(http_block(port), port);
  watcher.until([&] { return watcher.verdicts.size() == 3; });
  CHECK(watcher.verdicts[2].healthy);
}

TEST_CASE("reloads and killed workers are no deaths") {
  if (tests::find_nginx().empty()) {
    tests::skip("no nginx (apt install nginx)");
    return;
  }
  const std::uint16_t port = tests::free_port();
  const tests::Nginx server(http_block(port), port, 2);
  // A worker on its way out may still answer, with "Connection: close": then there is nothing to
  // keep until the next check.
  Watcher watcher(port, Milliseconds(20));
  watcher.until([&] { return watcher.verdicts.size() == 1; });
  CHECK(watcher.verdicts[0].healthy);

  // A reload: the old workers close idle connections and go, the new ones answer.
  std::uint64_t lost = watcher.prober->stats().connections_lost;
  kill(server.pid(), SIGHUP);
  watcher.until([&] {
    return watcher.prober->stats().connections_lost > lost && watcher.prober->stats().kept == 1;
  });
  CHECK(watcher.verdicts.size() == 1);

  // All workers at once: the connection is reset, but the master still listens.
  lost = watcher.prober->stats().connections_lost;
  for (const pid_t worker : children_of(server.pid()))
    kill(worker, SIGKILL);
  watcher.until([&] {
    return watcher.prober->stats().connections_lost > lost && watcher.prober->stats().kept == 1;
  });
  CHECK(watcher.verdicts.size() == 1);
  for (const CheckResult& check : watcher.checks)
    CHECK(check.reason != Reason::connect_refused);
}

}  // namespace
}  // namespace ballast::checker
