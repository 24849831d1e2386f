// Whose word counts when configuration, sources and operators speak of the same instances.
#include "engine/checker/control/roster.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace ballast::checker {
namespace {

InstanceSettings instance(std::string_view address, std::uint32_t weight = 1) {
  InstanceSettings settings;
  settings.endpoint = *shm::parse_endpoint(address);
  settings.text = address;
  settings.weight = weight;
  return settings;
}

SourceSettings file(std::string path) {
  SourceSettings source;
  source.path = std::move(path);
  return source;
}

Settings settings_of(std::vector<InstanceSettings> instances,
                     std::vector<SourceSettings> sources = {}) {
  Settings settings;
  ServiceSettings service;
  service.name = "web";
  service.instances = std::move(instances);
  service.sources = std::move(sources);
  settings.services.push_back(std::move(service));
  return settings;
}

// "1.1.1.1:1=5 2.2.2.2:2=1d": with weights, and d for drained, m for maintenance.
std::string members(const Roster& roster, std::size_t service = 0) {
  const Settings settings = roster.compose();
  std::string text;
  for (const InstanceSettings& i : settings.services.at(service).instances) {
    text += (text.empty() ? "" : " ") + i.endpoint.to_text() + "=" + std::to_string(i.weight);
    if (i.admin == shm::Admin::drain) text += "d";
    if (i.admin == shm::Admin::maintenance) text += "m";
  }
  return text;
}

RuntimeChanges change_of(std::string_view address, const InstanceChange& change) {
  RuntimeChanges changes;
  changes.instances["web"][std::string(address)] = change;
  return changes;
}

InstanceChange added(const InstanceSettings& instance) {
  InstanceChange change;
  change.added = true;
  change.instance = instance;
  return change;
}

TEST_CASE("the configuration's word counts before a source's, an earlier source's before a later") {
  Roster roster;
  roster.configure(settings_of({instance("1.1.1.1:1", 5)}, {file("/a"), file("/b")}));
  CHECK(members(roster) == "1.1.1.1:1=5");
  roster.discover("web", 1, {instance("3.3.3.3:3", 9), instance("2.2.2.2:2", 9)});
  roster.discover("web", 0, {instance("1.1.1.1:1", 7), instance("2.2.2.2:2", 7)});
  CHECK(members(roster) == "1.1.1.1:1=5 2.2.2.2:2=7 3.3.3.3:3=9");
  roster.discover("web", 0, {});
  CHECK(members(roster) == "1.1.1.1:1=5 3.3.3.3:3=9 2.2.2.2:2=9");
}

TEST_CASE("the same address in other spellings is one instance") {
  Roster roster;
  roster.configure(settings_of({instance("[::1]:80")}, {file("/a")}));
  roster.discover("web", 0, {instance("[0:0:0:0:0:0:0:1]:80", 3)});
  CHECK(members(roster) == "[::1]:80=1");
  InstanceChange change;
  change.weight = 8;
  roster.change(change_of("[::1]:80", change));
  CHECK(members(roster) == "[::1]:80=8");
}

TEST_CASE("operators add, remove, set weight and admin, whoever names the instance") {
  Roster roster;
  roster.configure(settings_of({instance("1.1.1.1:1", 5)}, {file("/a")}));
  roster.discover("web", 0, {instance("2.2.2.2:2", 7)});

  RuntimeChanges changes;
  auto& web = changes.instances["web"];
  web["3.3.3.3:3"] = added(instance("3.3.3.3:3", 2));
  web["1.1.1.1:1"].admin = shm::Admin::drain;
  web["2.2.2.2:2"].weight = 11;
  roster.change(changes);
  CHECK(members(roster) == "1.1.1.1:1=5d 2.2.2.2:2=11 3.3.3.3:3=2");
  CHECK(roster.changes() == changes);

  web["2.2.2.2:2"].removed = true;
  web["3.3.3.3:3"].weight = 4;
  web["3.3.3.3:3"].admin = shm::Admin::maintenance;
  roster.change(changes);
  CHECK(members(roster) == "1.1.1.1:1=5d 3.3.3.3:3=4m");

  roster.change({});
  CHECK(members(roster) == "1.1.1.1:1=5 2.2.2.2:2=7");
}

TEST_CASE("an operator's ready beats the configuration's drain") {
  Roster roster;
  InstanceSettings drained = instance("1.1.1.1:1");
  drained.admin = shm::Admin::drain;
  roster.configure(settings_of({drained}));
  CHECK(members(roster) == "1.1.1.1:1=1d");
  InstanceChange change;
  change.admin = shm::Admin::ready;
  roster.change(change_of("1.1.1.1:1", change));
  CHECK(members(roster) == "1.1.1.1:1=1");
}

TEST_CASE("an added instance that the configuration names too is the configuration's") {
  Roster roster;
  roster.configure(settings_of({instance("1.1.1.1:1", 5)}));
  roster.change(change_of("1.1.1.1:1", added(instance("1.1.1.1:1", 9))));
  CHECK(members(roster) == "1.1.1.1:1=5");
}

TEST_CASE("a strategy set by an operator") {
  Roster roster;
  roster.configure(settings_of({instance("1.1.1.1:1")}));
  RuntimeChanges changes;
  changes.strategies["web"] = engine::Strategy::ketama;
  changes.strategies["gone"] = engine::Strategy::ketama;
  roster.change(changes);
  CHECK(roster.compose().services[0].policy.strategy == engine::Strategy::ketama);
  CHECK(roster.idle_changes() == std::vector<std::string>{"gone"});
}

TEST_CASE("what a source says is kept within the limits") {
  Roster roster;
  roster.configure(settings_of({}, {file("/a")}));
  InstanceSettings wild = instance("1.1.1.1:1", 0);
  wild.tier = 99;
  wild.zone.assign(kMaxZoneBytes + 1, 'z');
  wild.text = "a\r\nX-Header: b";
  InstanceSettings heavy = instance("2.2.2.2:2", 4'000'000'000U);
  heavy.text.assign(kMaxTextBytes + 1, 'a');
  InstanceSettings named = instance("3.3.3.3:3");
  named.text = "backend1:8080";
  roster.discover("web", 0, {wild, heavy, named, InstanceSettings{}});
  const auto instances = roster.compose().services[0].instances;
  REQUIRE(instances.size() == 3);  // without the one that has no address
  CHECK(instances[0].weight == 1);
  CHECK(instances[0].tier == kMaxTier);
  CHECK(instances[0].zone.empty());
  CHECK(instances[0].text == "1.1.1.1:1");
  CHECK(instances[1].weight == kMaxWeight);
  CHECK(instances[1].text == "2.2.2.2:2");
  CHECK(instances[2].text == "backend1:8080");
}

TEST_CASE("a reload keeps the sets of sources that stay, wherever they are listed") {
  Roster roster;
  roster.configure(settings_of({}, {file("/a"), file("/b")}));
  roster.discover("web", 0, {instance("1.1.1.1:1")});
  roster.discover("web", 1, {instance("2.2.2.2:2")});

  SUBCASE("in another order") {
    roster.configure(settings_of({}, {file("/b"), file("/a")}));
    CHECK(members(roster) == "2.2.2.2:2=1 1.1.1.1:1=1");
  }
  SUBCASE("one is gone") {
    roster.configure(settings_of({}, {file("/b")}));
    CHECK(members(roster) == "2.2.2.2:2=1");
    roster.configure(settings_of({}, {file("/b"), file("/a")}));
    CHECK(members(roster) == "2.2.2.2:2=1");
  }
  SUBCASE("one is changed: its set stays until it has an answer") {
    roster.configure(settings_of({}, {file("/other"), file("/b")}));
    CHECK(members(roster) == "1.1.1.1:1=1 2.2.2.2:2=1");
    roster.discover("web", 0, {instance("4.4.4.4:4")});
    CHECK(members(roster) == "4.4.4.4:4=1 2.2.2.2:2=1");
  }
  SUBCASE("the service is gone") {
    roster.configure({});
    roster.configure(settings_of({}, {file("/a"), file("/b")}));
    CHECK(members(roster).empty());
  }
}

TEST_CASE("changes of what nobody names any more stay, are told, and act when it comes back") {
  Roster roster;
  roster.configure(settings_of({instance("1.1.1.1:1")}, {file("/a")}));
  roster.discover("web", 0, {instance("2.2.2.2:2")});
  RuntimeChanges changes;
  changes.instances["web"]["1.1.1.1:1"].admin = shm::Admin::drain;
  changes.instances["web"]["2.2.2.2:2"].admin = shm::Admin::drain;
  changes.instances["web"]["3.3.3.3:3"] = added(instance("3.3.3.3:3"));
  roster.change(changes);
  CHECK(roster.idle_changes().empty());
  roster.discover("web", 0, {});
  CHECK(roster.idle_changes() == std::vector<std::string>{"web 2.2.2.2:2"});
  roster.configure({});
  CHECK(roster.idle_changes() ==
        std::vector<std::string>{"web 1.1.1.1:1", "web 2.2.2.2:2", "web 3.3.3.3:3"});
  roster.configure(settings_of({instance("1.1.1.1:1")}));
  CHECK(members(roster) == "1.1.1.1:1=1d 3.3.3.3:3=1");
}

TEST_CASE("without changes and sources the settings are the configured ones") {
  Roster roster;
  const Settings settings = settings_of({instance("1.1.1.1:1"), instance("2.2.2.2:2", 3)});
  roster.configure(settings);
  CHECK(roster.compose().services == settings.services);
}

}  // namespace
}  // namespace ballast::checker
