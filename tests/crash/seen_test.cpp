// What a row says of its owner's generation, looked at at every point of the owner's picks while a
// checker publishes in the middle of one: it says that it has seen a generation only when the pick
// by the one before is counted. One process, one thread; the orders of the words are the matter of
// tests/model/seen_model_test.cpp.
#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "engine/ballast.h"
#include "shm/crash_point.hpp"
#include "shm/generation.hpp"
#include "shm/seen.hpp"
#include "tests/support/published.hpp"

namespace ballast::crash {
namespace {

using tests::Published;

// Calls `visit(point)` at every point that is passed while it lives, but not within itself.
class Watch {
 public:
  explicit Watch(std::function<void(std::string_view)> visit) {
    visit_ = std::move(visit);
    shm::crash_point_hook = [](const char* name) {
      if (std::exchange(visiting_, true)) return;
      visit_(name);
      visiting_ = false;
    };
  }
  ~Watch() {
    shm::crash_point_hook = nullptr;
    visit_ = nullptr;
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  static inline std::function<void(std::string_view)> visit_;
  static inline bool visiting_ = false;
};

// A worker's handle.
class Worker {
 public:
  explicit Worker(const std::string& directory) {
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = directory.c_str();
    REQUIRE(ballast_attach(&options, &handle_) == BALLAST_OK);
  }
  ~Worker() { ballast_detach(handle_); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // By its name, which enters the service the first time. Returns the generation that it was by.
  std::uint64_t pick() {
    ballast_service_t service = 0;
    REQUIRE(ballast_find_service(handle_, "web", &service) == BALLAST_OK);
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(ballast_pick(handle_, service, "key", 3, nullptr, &pick) == BALLAST_OK);
    REQUIRE(ballast_report(handle_, &pick, BALLAST_SUCCESS, -1) == BALLAST_OK);
    return pick.epoch;
  }
  [[nodiscard]] std::uint32_t row() const {
    ballast_info_t info = BALLAST_INFO_INIT;
    ballast_info(handle_, &info);
    return info.row;
  }

 private:
  ballast_t* handle_ = nullptr;
};

struct Scene {
  Scene() : published(with(4)), worker(published.directory()) {}

  static checker::Settings with(int instances) {
    return tests::settings_of({tests::service_of("web", engine::Strategy::round_robin, instances)});
  }
  // The last instance leaves, or comes back.
  void publish(int instances) { published.apply(with(instances)); }

  [[nodiscard]] std::uint64_t epoch() const {
    return shm::epoch_of(
        published.publisher().segment().table.services[0].root.load(std::memory_order_acquire));
  }
  [[nodiscard]] std::uint64_t seen() const {
    const auto& workers = published.publisher().segment().workers;
    return shm::read_seen(workers.row_services(worker.row())[0].seen_epoch);
  }
  // Picks that the row has counted, of all instances.
  [[nodiscard]] std::uint64_t counted() const {
    const auto& segment = published.publisher().segment();
    std::uint64_t sum = 0;
    for (const shm::CounterRecord& record : segment.workers.row(worker.row()))
      sum += record.values[shm::kStarted].load(std::memory_order_relaxed);
    return sum;
  }
  Published published;
  Worker worker;
};

TEST_CASE("a generation counts as seen only when every pick by the one before it is counted") {
  Scene scene;
  scene.worker.pick();
  for (std::uint64_t round = 0; round < 4; ++round) {
    const std::uint64_t before = scene.epoch();
    const std::uint64_t picks = scene.counted();
    REQUIRE(scene.seen() == before);
    bool published = false;
    int looks = 0;
    const auto visit = [&](std::string_view point) {
      if (!published && point == "pick.chosen") {
        // Confirmed, and counted nowhere yet.
        scene.publish(round % 2 == 0 ? 3 : 4);
        published = true;
      }
      if (!published) return;
      ++looks;
      if (scene.seen() != before) CHECK(scene.counted() == picks + 1);
      if (scene.counted() == picks) CHECK(scene.seen() == before);
      // The pick is by the one before from its confirmation to its end.
      if (point == "pick.counted") CHECK(scene.seen() == before);
    };
    {
      const Watch watch(visit);
      CHECK(scene.worker.pick() == before);
    }
    CHECK(published);
    CHECK(looks > 1);
    CHECK(scene.seen() == before);
    CHECK(scene.worker.pick() == before + 1);
    CHECK(scene.seen() == before + 1);
  }
}

}  // namespace
}  // namespace ballast::crash
