// Changes that the lookup arrays do not depend on: each is a generation of its own, and builds
// nothing; and those that do depend on what changed are built. On real files, with every strategy.
#include <doctest/doctest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/generation_writer.hpp"
#include "engine/policy.hpp"
#include "shm/generation.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using checker::Settings;
using engine::Strategy;
using tests::Published;

namespace {

// Two groups, of unlike weights.
Settings settings_with(Strategy strategy) {
  Settings settings = tests::settings_of(
      {tests::service_of("web", strategy, 40), tests::service_of("api", Strategy::maglev, 3, 500)});
  auto& instances = settings.services[0].instances;
  for (std::size_t i = 0; i < instances.size(); ++i) {
    instances[i].weight = static_cast<std::uint32_t>(1 + i % 3);
    instances[i].tier = i < 30 ? 0 : 1;
  }
  return settings;
}

struct Group {
  std::uint64_t kind, tier, local;
  std::vector<std::uint16_t> members, lookup, seconds;
  std::vector<std::uint32_t> points, index;

  friend bool operator==(const Group&, const Group&) = default;
};

template <class Word, class Value>
std::vector<Value> values_of(const shm::TableWriter& table, const shm::Word64& offset,
                             std::uint64_t count) {
  std::vector<Value> values;
  for (const Word& word : table.array<Word>(shm::get(offset), count))
    values.push_back(shm::get(word));
  return values;
}

// What is published, all of it.
std::vector<Group> groups_of(const Published& published) {
  const shm::TableWriter& table = published.publisher().segment().table;
  const shm::ServiceRecord& record = table.services[0];
  const auto& generation = record.generations[shm::buffer_of(shm::get(record.root))];
  std::vector<Group> groups;
  for (std::uint64_t i = 0; i < shm::get(generation[0].group_count); ++i) {
    const shm::GenerationRecord& g = generation[i];
    const std::uint64_t lookups = shm::get(g.lookup_count);
    const bool is_ring = shm::get(g.kind) == static_cast<std::uint64_t>(shm::LookupKind::ring);
    const bool has_seconds = shm::get(g.seconds_offset) != 0;
    using shm::Word16;
    using shm::Word32;
    groups.push_back(
        {shm::get(g.kind), shm::get(g.tier), shm::get(g.is_local),
         values_of<Word16, std::uint16_t>(table, g.member_offset, shm::get(g.member_count)),
         values_of<Word16, std::uint16_t>(table, g.lookup_offset, lookups),
         values_of<Word16, std::uint16_t>(table, g.seconds_offset, has_seconds ? lookups : 0),
         values_of<Word32, std::uint32_t>(table, g.points_offset, is_ring ? lookups : 0),
         values_of<Word32, std::uint32_t>(table, g.index_offset,
                                          is_ring ? shm::get(g.index_count) : 0)});
  }
  return groups;
}

std::uint64_t epoch(const Published& published) {
  return shm::epoch_of(shm::get(published.publisher().segment().table.services[0].root));
}
std::uint64_t builds(const Published& published) {
  return published.publisher().placements_built();
}
// With every array in the half of the region that the generation is to use.
bool is_whole(const Published& published) {
  const shm::TableWriter& table = published.publisher().segment().table;
  const shm::ServiceRecord& record = table.services[0];
  const unsigned buffer = shm::buffer_of(shm::get(record.root));
  const std::uint64_t half = shm::get(record.half_bytes);
  const std::uint64_t begin = shm::get(record.arena_offset) + buffer * half;
  const auto& groups = record.generations[buffer];
  for (std::uint64_t i = 0; i < shm::get(groups[0].group_count); ++i) {
    for (const auto offset :
         {&shm::GenerationRecord::member_offset, &shm::GenerationRecord::lookup_offset,
          &shm::GenerationRecord::points_offset, &shm::GenerationRecord::index_offset,
          &shm::GenerationRecord::seconds_offset}) {
      const std::uint64_t at = shm::get(groups[i].*offset);
      if (at != 0 && (at < begin || at > begin + half)) return false;
    }
  }
  return engine::is_whole(table, 0);
}
engine::Policy policy_of(const Published& published) {
  const shm::ServiceRecord& record = published.publisher().segment().table.services[0];
  return engine::get_policy(record.policies[shm::buffer_of(shm::get(record.root))]);
}

TEST_CASE("administration and policy are published without building anything") {
  for (const Strategy strategy : {Strategy::maglev, Strategy::ketama, Strategy::rendezvous,
                                  Strategy::round_robin, Strategy::least_connections}) {
    CAPTURE(engine::to_text(strategy));
    Settings settings = settings_with(strategy);
    Published published(settings);
    const std::vector<Group> groups = groups_of(published);
    REQUIRE(groups.size() == 2);
    const std::uint64_t built = builds(published);
    CHECK(built == 2);  // services
    std::uint64_t at = epoch(published);
    // More than two, so that each buffer is copied to and from.
    for (const shm::Admin admin :
         {shm::Admin::drain, shm::Admin::maintenance, shm::Admin::ready, shm::Admin::drain}) {
      settings.services[0].instances[7].admin = admin;
      published.apply(settings);
      CHECK(epoch(published) == ++at);
      CHECK(groups_of(published) == groups);
      CHECK(is_whole(published));
      const auto word =
          published.publisher().segment().table.states[published.find(0, 7).slot].load(
              std::memory_order_relaxed);
      CHECK(shm::unpack(word).admin == admin);
      CHECK(shm::unpack(word).usable == (admin == shm::Admin::ready));
    }
    settings.services[0].policy.max_in_flight = 77;
    published.apply(settings);
    CHECK(epoch(published) == ++at);
    CHECK(policy_of(published).max_in_flight == 77);
    CHECK(groups_of(published) == groups);
    CHECK(builds(published) == built);
    published.apply(settings);
    CHECK(epoch(published) == at);
  }
}

TEST_CASE("what the arrays depend on is built, and only for the service that it is about") {
  Settings settings = settings_with(Strategy::maglev);
  Published published(settings);
  std::uint64_t built = builds(published);
  const auto apply_and_count = [&] {
    published.apply(settings);
    CHECK(is_whole(published));
    return builds(published) - std::exchange(built, builds(published));
  };
  auto& service = settings.services[0];
  const std::vector<Group> groups = groups_of(published);
  service.instances[3].weight = 9;
  CHECK(apply_and_count() == 1);
  CHECK(groups_of(published) != groups);
  service.instances[3].weight = 1;
  service.instances[4].admin = shm::Admin::drain;
  CHECK(apply_and_count() == 1);
  service.instances[5].tier = 1;
  CHECK(apply_and_count() == 1);
  service.instances.pop_back();
  CHECK(apply_and_count() == 1);
  CHECK(groups_of(published)[1].members.size() == 10);
  service.policy.strategy = Strategy::round_robin;
  CHECK(apply_and_count() == 1);
  settings.services[1].instances[0].admin = shm::Admin::drain;
  CHECK(apply_and_count() == 0);
  // Without members there is nothing to copy.
  service.instances.clear();
  CHECK(apply_and_count() == 1);
  service.policy.max_in_flight = 5;
  apply_and_count();
  CHECK(policy_of(published).max_in_flight == 5);
}

TEST_CASE("a successor that finds what it would publish copies it too") {
  Settings settings = settings_with(Strategy::ketama);
  Published published(settings);
  published.restart();
  CHECK(builds(published) == 0);
  const std::vector<Group> groups = groups_of(published);
  settings.services[0].instances[7].admin = shm::Admin::drain;
  published.apply(settings);
  CHECK(builds(published) == 0);
  CHECK(groups_of(published) == groups);
  // One that comes with a change cannot know what the arrays were built from.
  settings.services[0].instances[8].admin = shm::Admin::drain;
  published.restart_with(settings);
  CHECK(builds(published) == 1);
  CHECK(groups_of(published) == groups);
}

TEST_CASE("a generation that is damaged, or was not finished, is not copied") {
  for (const bool damaged : {true, false}) {
    CAPTURE(damaged);
    Settings settings = settings_with(Strategy::maglev);
    Published published(settings);
    const std::vector<Group> groups = groups_of(published);
    const std::uint64_t built = builds(published);
    const shm::TableWriter& table = published.publisher().segment().table;
    shm::ServiceRecord& record = table.services[0];
    if (damaged) {
      auto& generation = record.generations[shm::buffer_of(shm::get(record.root))][0];
      shm::put(table.array<shm::Word16>(shm::get(generation.lookup_offset), 1)[0],
               std::uint16_t{63});
      REQUIRE_FALSE(is_whole(published));
    } else {
      shm::put(record.settings_hash, 0U);  // as a checker leaves it that is killed meanwhile
    }
    settings.services[0].instances[7].admin = shm::Admin::drain;
    published.apply(settings);
    CHECK(builds(published) == built + 1);
    CHECK(groups_of(published) == groups);
    CHECK(is_whole(published));
  }
}

TEST_CASE("arrays that do not lie in the service's region are not copied from anywhere") {
  Settings settings = settings_with(Strategy::ketama);
  Published published(settings);
  const shm::TableWriter& table = published.publisher().segment().table;
  shm::ServiceRecord& record = table.services[0];
  REQUIRE(engine::can_republish(table, 0));
  auto& generation = record.generations[shm::buffer_of(shm::get(record.root))][0];
  for (const auto word :
       {&shm::GenerationRecord::member_offset, &shm::GenerationRecord::member_count,
        &shm::GenerationRecord::lookup_offset, &shm::GenerationRecord::lookup_count,
        &shm::GenerationRecord::points_offset, &shm::GenerationRecord::index_offset,
        &shm::GenerationRecord::index_count, &shm::GenerationRecord::seconds_offset,
        &shm::GenerationRecord::group_count}) {
    const std::uint64_t was = shm::get(generation.*word);
    for (const std::uint64_t wrong :
         {~std::uint64_t{0}, std::uint64_t{1} << 40, was + (1U << 30)}) {
      shm::put(generation.*word, wrong);
      CHECK_FALSE(engine::can_republish(table, 0));
      CHECK_FALSE(engine::republish_placement(table, 0, {}));
    }
    shm::put(generation.*word, was);
  }
  shm::put(record.half_bytes, shm::get(record.half_bytes) + (std::uint64_t{1} << 40));
  CHECK_FALSE(engine::can_republish(table, 0));
  CHECK(epoch(published) == 1);
}

}  // namespace
