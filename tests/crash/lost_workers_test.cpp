// A workers file is damaged, and the checker that moves everything out of the table into another
// segment is killed at every point on its way. Whoever comes next finishes it, and a worker that
// was attached before the damage never fails to pick and ends up in the new segment.
#include <doctest/doctest.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <string>

#include "engine/ballast.h"
#include "engine/checker/publishing/publisher.hpp"
#include "shm/paths.hpp"
#include "tests/crash/points.hpp"
#include "tests/crash/world.hpp"
#include "tests/support/damage.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::crash {
namespace {

// A worker attached to a namespace whose workers file has lost its magic since.
class Scene {
 public:
  Scene() {
    publish();
    ballast_options_t options = BALLAST_OPTIONS_INIT;
    options.directory = dir_.path().c_str();
    REQUIRE(ballast_attach(&options, &handle_) == BALLAST_OK);
    REQUIRE(ballast_find_service(handle_, name_of(0).c_str(), &service_) == BALLAST_OK);
    const auto segments = shm::list_segments(dir_.path());
    REQUIRE(segments.size() == 1);
    tests::Damage(shm::workers_path(dir_.path(), segments.front())).keep().put(0, std::uint64_t{0});
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  ~Scene() { ballast_detach(handle_); }

  // The next checker, to its end; in a child or not.
  void publish() const {
    auto lease = shm::Lease::acquire(dir_.path(), shm::Lease::Wait::no);
    if (!lease) give_up(lease.error().to_text());
    auto publisher = checker::Publisher::open(std::move(*lease), settings_);
    if (!publisher) give_up(publisher.error().to_text());
    if (const shm::Status applied = publisher->apply(settings_); !applied)
      give_up(applied.error().to_text());
    for (const auto& instance : std::vector(publisher->instances()))
      publisher->set_health(instance.slot, instance.incarnation, shm::Health::up,
                            shm::Reason::passed);
    publisher->tick();
    publisher->leave();
  }
  void pick() const {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    REQUIRE(ballast_pick(handle_, service_, "k", 1, nullptr, &pick) == BALLAST_OK);
    REQUIRE(ballast_report(handle_, &pick, BALLAST_SUCCESS, 1) == BALLAST_OK);
  }
  // One segment, sound, with the worker's row in it.
  void check_moved() const {
    const auto segments = shm::list_segments(dir_.path());
    REQUIRE(segments.size() == 1);
    const auto segment = shm::WorkerSegment::open(dir_.path(), segments.front());
    REQUIRE_MESSAGE(segment, segment.error().to_text());
    CHECK(segment->workers.directory[0].pid.load() == static_cast<std::uint64_t>(::getpid()));
  }

 private:
  tests::TempDir dir_;
  checker::Settings settings_ = Membership().settings();
  ballast_t* handle_ = nullptr;
  ballast_service_t service_ = 0;
};

}  // namespace

TEST_CASE("a checker killed while it replaces a damaged workers file") {
  Profile points;
  {
    const Scene scene;
    points = profile_of([&] { scene.publish(); });
  }
  REQUIRE(points.contains("growth.located"));
  for (const auto& [point, passages] : points) {
    for (const std::uint64_t hit : {std::uint64_t{1}, passages}) {
      INFO("killed at ", point, ", passage ", hit);
      const Scene scene;
      const Ended ended = run_child({point, hit, SIGKILL}, [&] { scene.publish(); });
      REQUIRE(ended.killed);
      scene.pick();
      scene.publish();
      scene.pick();
      scene.pick();
      scene.check_moved();
    }
  }
}

}  // namespace ballast::crash
