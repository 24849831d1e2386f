// Reloads of a running ballastd while workers pick all the time: whatever changes about a service,
// its strategy too, no pick is lost, and what the log calls reloaded holds from then on.
#include <doctest/doctest.h>

#include <atomic>
#include <set>
#include <thread>

#include "engine/ballast.h"
#include "engine/strategy.hpp"
#include "tests/tools/ballastd/daemon_process.hpp"

using ballast::tests::Process;
using ballast::tests::Setting;
using ballast::tests::TinyServer;

namespace {

// One attached thread's way to pick from one service.
class Picking {
 public:
  Picking(const std::string& directory, const char* service) {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = directory.c_str();
    REQUIRE(ballast_attach(&options, &handle_) == BALLAST_OK);
    REQUIRE(ballast_find_service(handle_, service, &service_) == BALLAST_OK);
  }
  ~Picking() { ballast_detach(handle_); }
  Picking(const Picking&) = delete;
  Picking& operator=(const Picking&) = delete;

  // The port of the picked instance; 0: the pick was lost. Requests to `failing` time out.
  std::uint16_t pick(std::uint16_t failing = 0) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    const std::uint64_t key = ++count_;
    if (ballast_pick(handle_, service_, &key, sizeof key, nullptr, &pick) != BALLAST_OK) return 0;
    const std::uint16_t port = pick.port;
    const auto outcome = port == failing ? BALLAST_TIMEOUT : BALLAST_SUCCESS;
    return ballast_report(handle_, &pick, outcome, 100) == BALLAST_OK ? port : 0;
  }
  // Where `count` picks went.
  std::set<std::uint16_t> ports(int count) {
    std::set<std::uint16_t> seen;
    for (int i = 0; i < count; ++i)
      seen.insert(pick());
    return seen;
  }

 private:
  ballast_t* handle_ = nullptr;
  ballast_service_t service_ = 0;
  std::uint64_t count_ = 0;
};

// Threads that pick until told to stop.
class Workers {
 public:
  explicit Workers(const std::string& directory) {
    for (auto& thread : threads_) {
      thread = std::thread([this, directory] {
        Picking picking(directory, "checkout");
        while (!stop_.load(std::memory_order_relaxed)) {
          if (picking.pick() == 0) lost_.fetch_add(1, std::memory_order_relaxed);
          picks_.fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
  }
  ~Workers() {
    stop_.store(true, std::memory_order_relaxed);
    for (auto& thread : threads_)
      thread.join();
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  void wait_for_more() const {
    const std::uint64_t enough = picks_.load(std::memory_order_relaxed) + 2'000;
    while (picks_.load(std::memory_order_relaxed) < enough)
      std::this_thread::yield();
  }
  [[nodiscard]] std::uint64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> picks_{0};
  std::atomic<std::uint64_t> lost_{0};
  std::array<std::thread, 2> threads_;
};

// A ballastd with the service "checkout" of two good servers.
struct Stage {
  Stage() : port(ballast::tests::free_port()), server(good, {local(port)}) {}

  // The service, its first instance with `a` and its second with `b` besides the address.
  [[nodiscard]] std::string service(const std::string& keys, const std::string& a = "",
                                    const std::string& b = "") const {
    return "[service.checkout]\ninstances = [{ address = \"" + setting.address() + "\"" + a +
           " }, { address = \"127.0.0.1:" + std::to_string(port) + "\"" + b + " }]\n" + keys;
  }
  void reload(Process& daemon, const std::string& text) const {
    setting.write(text);
    daemon.signal(SIGHUP);
    daemon.wait_for(" reloaded ");
  }
  [[nodiscard]] std::uint16_t first() const {
    return static_cast<std::uint16_t>(std::stoi(setting.address().substr(10)));
  }

  static constexpr auto good = ballast::tests::Behaviour::good;
  static ballast::shm::Endpoint local(std::uint16_t port) {
    return ballast::tests::local_endpoint(port);
  }
  Setting setting;
  std::uint16_t port;
  TinyServer server;
};

}  // namespace

TEST_CASE("whatever a reload changes, no pick is lost") {
  const Stage stage;
  stage.setting.write(stage.service(""));
  Process daemon(stage.setting.run());
  daemon.wait_for("instance_up");
  daemon.wait_for("instance_up");
  const Workers workers(stage.setting.directory());
  workers.wait_for_more();
  for (const auto& strategy : ballast::engine::kStrategies) {
    stage.reload(daemon, stage.service("strategy = \"" + std::string(strategy.text) + "\"\n"));
    workers.wait_for_more();
    CHECK_MESSAGE(workers.lost() == 0, strategy.text);
  }
  for (const char* keys :
       {"breaker.enabled = false\n", "breaker = { consecutive = 1, failure_rate = \"1%\" }\n",
        "outlier = { interval = \"100ms\", failure_requests = 1 }\n",
        "slow_start.window = \"1h\"\n", "controller = { enabled = true, update = \"100ms\" }\n",
        "max_in_flight = 1000\nservice_max_in_flight = 1000\n", "retry_budget = \"20%\"\n",
        "bound = 1.25\n", "panic = { below = \"100%\", then = \"all\" }\n",
        "stale = { after = \"1s\", then = \"fail\" }\n", "check.kind = \"tcp\"\n",
        "check.kind = \"none\"\n"}) {
    stage.reload(daemon, stage.service(keys));
    workers.wait_for_more();
    CHECK_MESSAGE(workers.lost() == 0, keys);
  }
  for (const char* tiers : {", tier = 1", ", weight = 7", ", tier = 3, zone = \"b\"", ""}) {
    stage.reload(daemon, "[ballast]\nzone = \"a\"\nload_interval = \"5ms\"\n" +
                             stage.service("spillover.overprovisioning = 1.2\n", tiers));
    workers.wait_for_more();
    CHECK_MESSAGE(workers.lost() == 0, tiers);
  }
  std::string more;
  for (int i = 0; i < 40; ++i) {
    more += "[service.more" + std::to_string(i) + "]\ninstances = [\"127.0.0.1:1\"]\n" +
            "check.kind = \"none\"\n";
  }
  stage.reload(daemon, stage.service("") + more);
  workers.wait_for_more();
  CHECK(workers.lost() == 0);
  CHECK(daemon.seen().find("segment_grown") != std::string::npos);
  CHECK(daemon.seen().find("instance_down") == std::string::npos);
}

TEST_CASE("what is reloaded holds from then on") {
  const Stage stage;
  const std::uint16_t a = stage.first();
  const std::uint16_t b = stage.port;
  const std::string quick = "check = { interval = \"20ms\" }\noutlier.enabled = false\n";
  stage.setting.write(stage.service(quick, "", ", tier = 1"));
  Process daemon(stage.setting.run());
  daemon.wait_for("instance_up");
  daemon.wait_for("instance_up");
  Picking picking(stage.setting.directory(), "checkout");
  CHECK(picking.ports(1'000) == std::set{a});
  stage.reload(daemon, stage.service(quick, ", tier = 1"));
  CHECK(picking.ports(1'000) == std::set{b});
  stage.reload(daemon, stage.service(quick));
  CHECK(picking.ports(1'000) == std::set{a, b});
  stage.reload(daemon, stage.service(quick + "strategy = \"round_robin\"\n"));
  int to_a = 0;
  for (int i = 0; i < 1'000; ++i)
    to_a += picking.pick() == a ? 1 : 0;
  CHECK(to_a == 500);

  // Two failures open nothing; then they do.
  const auto fail_twice = [&] {
    for (int failures = 0; failures < 2;)
      failures += picking.pick(a) == a ? 1 : 0;
  };
  stage.reload(daemon, stage.service(quick + "breaker.enabled = false\n"));
  fail_twice();
  CHECK(picking.ports(1'000) == std::set{a, b});
  stage.reload(daemon, stage.service(quick + "breaker = { consecutive = 2, open = \"1h\" }\n"));
  fail_twice();
  CHECK(picking.ports(1'000) == std::set{b});
}
