// A checker is killed at every point of ejecting an instance and of taking it back. Whoever comes
// next finds an instance that is either out, with a place of the budget, or in use, without one;
// and goes on to take it back. Whatever the moment, no more are out than may be.
#include <doctest/doctest.h>

#include <csignal>
#include <memory>
#include <string>
#include <utility>

#include "engine/ballast.h"
#include "engine/checker/publishing/publisher.hpp"
#include "engine/ejection_budget.hpp"
#include "tests/crash/points.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::crash {
namespace {

constexpr std::size_t kInstances = 5;
constexpr std::size_t kSick = 2;

class Scene {
 public:
  Scene() {
    settings_.max_workers = 8;
    checker::ServiceSettings service;
    service.name = "web";
    service.policy.breaker_consecutive = 0;
    service.policy.breaker_rate_percent = 0;
    service.check.first_check = checker::FirstCheck::up;
    service.slow_start.window = checker::Milliseconds(1'000);
    for (std::size_t i = 0; i < kInstances; ++i) {
      const std::string text = "127.1.0." + std::to_string(1 + i) + ":80";
      checker::InstanceSettings instance;
      instance.endpoint = *shm::parse_endpoint(text);
      instance.text = text;
      service.instances.push_back(instance);
    }
    settings_.services.push_back(service);
    open();
    publisher_->leave();
    publisher_.reset();
  }

  // A checker from its start to the end of an ejection, and a worker that gives it a reason.
  void run() {
    open();
    wait(100);
    work();
    wait(10'000);
    wait(40'000);
    publisher_->leave();
  }
  void open() {
    auto lease = shm::Lease::acquire(dir_.path(), shm::Lease::Wait::no);
    if (!lease) give_up(lease.error().to_text());
    auto publisher = checker::Publisher::open(std::move(*lease), settings_);
    if (!publisher) give_up(publisher.error().to_text());
    publisher_ = std::make_unique<checker::Publisher>(std::move(*publisher));
    if (const auto applied = publisher_->apply(settings_, now_); !applied)
      give_up(applied.error().to_text());
  }
  void wait(std::uint64_t ms) {
    for (const std::uint64_t until = now_ + ms; now_ < until; now_ += 100)
      publisher_->tick(now_);
  }
  void work() {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = dir_.path().c_str();
    ballast_t* handle = nullptr;
    ballast_service_t service = 0;
    if (ballast_attach(&options, &handle) != BALLAST_OK ||
        ballast_find_service(handle, "web", &service) != BALLAST_OK) {
      give_up("cannot attach");
    }
    for (int i = 0; i < 1'000; ++i) {
      const std::string key = std::to_string(i);
      ballast_pick_t pick = BALLAST_PICK_INIT;
      if (ballast_pick(handle, service, key.data(), key.size(), nullptr, &pick) != BALLAST_OK)
        continue;
      ballast_report(handle, &pick, pick.slot == kSick ? BALLAST_RESET : BALLAST_SUCCESS, 1'000);
    }
    ballast_detach(handle);
  }

  [[nodiscard]] bool is_ejected() const {
    return shm::is_ejected(publisher_->segment().table.states[kSick].load());
  }
  [[nodiscard]] std::uint32_t out() const {
    const auto& shared = publisher_->segment().workers.services[0];
    return engine::unpack_budget(shared.open_breakers.load()).count;
  }
  [[nodiscard]] bool is_usable(std::size_t slot) const {
    return shm::is_usable(publisher_->segment().table.states[slot].load());
  }

 private:
  tests::TempDir dir_;
  checker::Settings settings_;
  std::unique_ptr<checker::Publisher> publisher_;
  std::uint64_t now_ = checker::steady_ms();
};

}  // namespace

TEST_CASE("a checker killed while it ejects an instance, or takes it back") {
  Profile points;
  {
    Scene scene;
    points = profile_of([&] { scene.run(); });
  }
  REQUIRE(points.contains("steering.budget_taken"));
  REQUIRE(points.contains("steering.taken_back"));
  for (const auto& [point, passages] : points) {
    const bool concerns = point.starts_with("steering.") || point.starts_with("health.") ||
                          point.starts_with("breaker.");
    if (!concerns) continue;
    for (std::uint64_t hit = 1; hit <= passages; ++hit) {
      INFO("killed at ", point, ", passage ", hit);
      Scene scene;
      const Ended ended = run_child({point, hit, SIGKILL}, [&] { scene.run(); });
      REQUIRE(ended.killed);
      scene.open();
      CHECK(scene.out() <= 1);
      for (std::size_t slot = 0; slot < kInstances; ++slot) {
        if (slot != kSick) CHECK(scene.is_usable(slot));
      }
      scene.wait(5'000);  // time to count what is out
      CHECK(scene.out() == (scene.is_ejected() ? 1 : 0));
      CHECK(scene.is_usable(kSick) == !scene.is_ejected());
      scene.wait(40'000);
      CHECK(scene.out() == 0);
      CHECK(scene.is_usable(kSick));
    }
  }
}

}  // namespace ballast::crash
