// From a source to the table, through roster, checker and publisher: who stays keeps slot, counts
// and state, nothing is published for nothing, and a service may have nobody.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/checker/checker.hpp"
#include "engine/checker/control/steward.hpp"
#include "engine/checker/discovery/source_set.hpp"
#include "engine/checker/publishing/known_health.hpp"
#include "shm/generation.hpp"
#include "shm/paths.hpp"
#include "shm/segment.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/temp_dir.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::checker {
namespace {

using tests::Behaviour;
using tests::TinyServer;

struct Row {
  std::size_t slot = 0;
  std::uint32_t incarnation = 0;
  std::uint64_t checks = 0;
  std::uint64_t admitted_ns = 0;
  std::uint64_t weight = 0;
  shm::State state;
};

class World {
 public:
  World() {
    auto made = make_loop({});
    REQUIRE(made);
    loop_ = std::move(*made);
    checker_.emplace(*loop_, CheckerOptions{});
    steward_.emplace(
        *loop_,
        [this](const Settings& wanted) -> shm::Status {
          ++applied;
          return checker_->reload(wanted);
        },
        [this](const std::string& service, std::size_t source, const shm::Status& status) {
          REQUIRE_MESSAGE(status, status.error().to_text());
          sources_->judged(service, source, status);
        });
    sources_.emplace(
        *loop_,
        [this](const std::string& service, std::size_t source,
               std::vector<InstanceSettings> instances) {
          steward_->discover(service, source, std::move(instances));
        },
        nullptr);
  }

  void start(ServiceSettings service) {
    service.name = "web";
    service.check.interval = Milliseconds(20);
    service.check.fast_interval = Milliseconds(20);
    Settings settings;
    settings.max_workers = 8;
    settings.services = {std::move(service)};
    steward_->begin_with(std::move(settings));
    auto lease = shm::Lease::acquire(files.path(), shm::Lease::Wait::no);
    REQUIRE(lease);
    const auto taken = checker_->take(std::move(*lease), steward_->roster().compose());
    REQUIRE_MESSAGE(taken, taken.error().to_text());
    sources_->configure(steward_->roster().configured().services);
  }

  void until(const std::function<bool()>& done) const { tests::turn_until(*loop_, done); }

  [[nodiscard]] std::unique_ptr<shm::InspectedSegment> look() const {
    const auto ids = shm::list_segments(files.path());
    REQUIRE_FALSE(ids.empty());
    auto segment = shm::InspectedSegment::open(files.path(), ids.back(), shm::BootCheck::required);
    REQUIRE(segment);
    return std::make_unique<shm::InspectedSegment>(std::move(*segment));
  }
  [[nodiscard]] std::optional<Row> row(const shm::Endpoint& endpoint) const {
    const auto segment = look();
    const auto words = endpoint.to_words();
    for (std::size_t slot = 0; slot < segment->table.instances.size(); ++slot) {
      const auto& record = segment->table.instances[slot];
      const auto identity = shm::unpack_identity(shm::get(record.identity));
      if (identity.phase != shm::Phase::live) continue;
      if (shm::get(record.endpoint[0]) != words[0] || shm::get(record.endpoint[1]) != words[1])
        continue;
      return Row{slot,
                 identity.incarnation,
                 shm::get(record.checks),
                 shm::get(record.admitted_ns),
                 shm::get(record.weight),
                 shm::unpack(shm::get(segment->table.states[slot]))};
    }
    return std::nullopt;
  }
  [[nodiscard]] bool is_up(const shm::Endpoint& endpoint) const {
    const auto found = row(endpoint);
    return found && found->state.health == shm::Health::up;
  }
  [[nodiscard]] std::uint64_t generation() const {
    return look()->table.services[0].root.load(std::memory_order_relaxed);
  }

  tests::TempDir files;
  std::size_t applied = 0;

 private:
  std::unique_ptr<Loop> loop_;
  std::optional<Checker> checker_;
  std::optional<Steward> steward_;
  std::optional<SourceSet> sources_;
};

void replace(const std::string& path, const std::vector<shm::Endpoint>& endpoints,
             const std::string& labels = "") {
  std::string text = R"([{"targets": [)";
  for (const auto& endpoint : endpoints)
    text += (text.back() == '[' ? "\"" : ", \"") + endpoint.to_text() + "\"";
  std::ofstream(path + ".new") << text << R"(], "labels": {)" << labels << "}}]";
  std::filesystem::rename(path + ".new", path);
}

TEST_CASE("who stays keeps slot, counts and state, whatever comes and goes beside it") {
  const auto endpoint = [] { return tests::local_endpoint(tests::free_port()); };
  const auto stays = endpoint();
  const auto goes = endpoint();
  const auto comes = endpoint();
  const auto configured = endpoint();
  TinyServer server(Behaviour::good, {stays, goes, comes, configured});
  World w;
  tests::TempDir directory;
  const std::string path = directory.path() + "/targets.json";
  const std::string other = directory.path() + "/other.json";
  replace(path, {stays, goes});
  replace(other, {stays}, R"("weight": "9")");  // the first source's word counts
  ServiceSettings service;
  service.sources.resize(2);
  service.sources[0].path = path;
  service.sources[1].path = other;
  service.instances.push_back({configured, configured.to_text(), 1});
  w.start(service);
  w.until([&] { return w.is_up(stays) && w.is_up(goes) && w.is_up(configured); });
  w.until([&] { return w.row(stays)->checks >= 3; });
  const Row before = *w.row(stays);
  CHECK(before.weight == 1);

  replace(path, {comes, stays});
  w.until([&] { return w.is_up(comes); });
  const Row after = *w.row(stays);
  CHECK(after.slot == before.slot);
  CHECK(after.incarnation == before.incarnation);
  CHECK(after.admitted_ns == before.admitted_ns);
  CHECK(after.checks >= before.checks);
  CHECK(after.state.health == shm::Health::up);
  CHECK_FALSE(w.row(goes));
  CHECK(w.is_up(configured));

  // Another order, and what a source names beside another: nothing to publish.
  const std::uint64_t generation = w.generation();
  const std::size_t applied = w.applied;
  replace(path, {stays, comes});
  replace(other, {comes, stays}, R"("weight": "9")");
  w.until([&] { return w.applied > applied; });
  CHECK(w.generation() == generation);
  CHECK(w.row(stays)->slot == before.slot);

  // A weight changes in place; gone from the first source, the second one's word counts.
  replace(path, {stays, comes}, R"("weight": "5", "__ballast_admin": "drain")");
  w.until([&] { return w.row(stays)->weight == 5; });
  CHECK(w.row(stays)->slot == before.slot);
  CHECK(w.row(stays)->state.admin == shm::Admin::drain);
  replace(path, {comes});
  w.until([&] { return w.row(stays)->weight == 9; });
  CHECK(w.row(stays)->slot == before.slot);
  CHECK(w.row(stays)->state.admin == shm::Admin::ready);

  const auto known = read_known_members(w.files.path(), "");
  REQUIRE(known.contains("web"));
  CHECK(known.at("web").size() == 3);
}

TEST_CASE("a service of sources alone has nobody until one answers, and nobody again if told so") {
  const auto endpoint = tests::local_endpoint(tests::free_port());
  TinyServer server(Behaviour::good, {endpoint});
  World w;
  tests::TempDir directory;
  ServiceSettings service;
  service.sources.resize(1);
  service.sources[0].path = directory.path() + "/targets.json";
  service.sources[0].believe_empty = true;
  w.start(service);
  CHECK_FALSE(w.row(endpoint));
  CHECK(w.look()->table.services[0].root.load(std::memory_order_relaxed) != 0);
  replace(service.sources[0].path, {endpoint});
  w.until([&] { return w.is_up(endpoint); });
  replace(service.sources[0].path, {});
  w.until([&] { return !w.row(endpoint); });
  replace(service.sources[0].path, {endpoint});
  w.until([&] { return w.is_up(endpoint); });
}

TEST_CASE("a segment that is too small for what is found grows") {
  World w;
  tests::TempDir directory;
  ServiceSettings service;
  service.check.kind = CheckKind::none;
  service.sources.resize(1);
  service.sources[0].path = directory.path() + "/targets.json";
  w.start(service);
  std::vector<shm::Endpoint> many;
  for (std::uint16_t i = 0; i < 3000; ++i)
    many.push_back(*shm::parse_endpoint("10.1." + std::to_string(i / 250) + "." +
                                        std::to_string(i % 250) + ":80"));
  replace(service.sources[0].path, many);
  w.until([&] {
    const auto known = read_known_members(w.files.path(), "");
    return known.contains("web") && known.at("web").size() == many.size();
  });
}

TEST_CASE("members are known from the table, with what it has of them") {
  World w;
  ServiceSettings service;
  service.check.kind = CheckKind::none;
  const auto one = *shm::parse_endpoint("10.0.0.1:80");
  InstanceSettings instance{one, "backend:80", 7, 2, "b"};
  instance.admin = shm::Admin::maintenance;
  service.instances.push_back(instance);
  w.start(service);
  auto known = read_known_members(w.files.path(), "b");
  REQUIRE(known["web"].size() == 1);
  CHECK(known["web"][0].endpoint == one);
  CHECK(known["web"][0].text == "10.0.0.1:80");
  CHECK(known["web"][0].weight == 7);
  CHECK(known["web"][0].tier == 2);
  CHECK(known["web"][0].zone == "b");
  CHECK(known["web"][0].admin == shm::Admin::maintenance);
  known = read_known_members(w.files.path(), "a");
  CHECK(known["web"][0].zone != "a");
  CHECK(known["web"][0].zone != "");
  CHECK(read_known_members(w.files.path() + "/nowhere", "").empty());
}

}  // namespace
}  // namespace ballast::checker
