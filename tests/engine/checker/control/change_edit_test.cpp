// What becomes of operators' changes, verb by verb.
#include "engine/checker/control/change_edit.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace ballast::checker {
namespace {

InstanceSettings instance(std::string_view address, std::string_view text = {}) {
  InstanceSettings settings;
  settings.endpoint = *shm::parse_endpoint(address);
  settings.text = text.empty() ? address : text;
  settings.weight = 5;
  return settings;
}

// "web" with two instances of the configuration, the second drained there, and one of a source.
struct Stage {
  Stage() {
    Settings settings;
    ServiceSettings service;
    service.name = "web";
    service.sources.resize(1);
    service.instances = {instance("1.1.1.1:1", "backend1:1"), instance("1.1.1.2:1")};
    service.instances[1].admin = shm::Admin::drain;
    settings.services.push_back(service);
    roster.configure(settings);
    roster.discover("web", 0,
                    {instance("2.2.2.2:2"), instance("2.2.2.3:2", "twice:2"),
                     instance("2.2.2.4:2", "twice:2")});
  }
  // The refusal's code and text; empty: done.
  std::string ask(const std::string& line) {
    const auto request = parse_request(line);
    const auto* bad = std::get_if<Refusal>(&request);
    REQUIRE_MESSAGE(bad == nullptr, (bad == nullptr ? "" : bad->text));
    auto edited = edit_changes(roster, std::get<Request>(request));
    if (const auto* refusal = std::get_if<Refusal>(&edited))
      return refusal->code + ": " + refusal->text;
    roster.change(std::get<RuntimeChanges>(std::move(edited)));
    return {};
  }
  std::string of(const std::string& verb, const std::string& address,
                 const std::string& more = {}) {
    return ask(R"({"verb":")" + verb + R"(","service":"web","instance":")" + address + "\"" + more +
               "}");
  }
  [[nodiscard]] const InstanceChange* change(const std::string& address) const {
    const auto web = roster.changes().instances.find("web");
    if (web == roster.changes().instances.end()) return nullptr;
    const auto found = web->second.find(address);
    return found == web->second.end() ? nullptr : &found->second;
  }

  Roster roster;
};

TEST_CASE("administration: what says no more than the configuration leaves nothing behind") {
  Stage stage;
  CHECK(stage.of("drain", "1.1.1.1:1").empty());
  REQUIRE(stage.change("1.1.1.1:1") != nullptr);
  CHECK(stage.change("1.1.1.1:1")->admin == shm::Admin::drain);
  CHECK(stage.of("maint", "backend1:1").empty());
  CHECK(stage.change("1.1.1.1:1")->admin == shm::Admin::maintenance);
  CHECK(stage.of("ready", "1.1.1.1:1").empty());
  CHECK(stage.roster.changes() == RuntimeChanges{});
  CHECK(stage.of("drain", "1.1.1.2:1").empty());  // as configured
  CHECK(stage.roster.changes() == RuntimeChanges{});
  CHECK(stage.of("ready", "1.1.1.2:1").empty());
  CHECK(stage.change("1.1.1.2:1")->admin == shm::Admin::ready);
}

TEST_CASE("weights and strategies") {
  Stage stage;
  CHECK(stage.of("weight", "2.2.2.2:2", R"(,"weight":9)").empty());
  CHECK(stage.change("2.2.2.2:2")->weight == 9);
  CHECK(stage.of("weight", "2.2.2.2:2", R"(,"weight":5)").empty());
  CHECK(stage.ask(R"({"verb":"strategy","service":"web","strategy":"ketama"})").empty());
  CHECK(stage.roster.changes().strategies.at("web") == engine::Strategy::ketama);
  CHECK(stage.ask(R"({"verb":"strategy","service":"web","strategy":"maglev"})").empty());
  CHECK(stage.roster.changes() == RuntimeChanges{});
}

TEST_CASE("adding and removing") {
  Stage stage;
  CHECK(stage.of("add", "3.3.3.3:3", R"(,"weight":7,"name":"c:3")").empty());
  CHECK(stage.change("3.3.3.3:3")->instance.weight == 7);
  CHECK(stage.of("drain", "c:3").empty());
  CHECK(stage.of("add", "3.3.3.3:3", R"(,"weight":7,"name":"c:3")").empty());
  CHECK(stage.change("3.3.3.3:3")->admin == shm::Admin::drain);  // asked for twice
  CHECK(stage.of("remove", "3.3.3.3:3").empty());
  CHECK(stage.roster.changes() == RuntimeChanges{});

  CHECK(stage.of("drain", "2.2.2.2:2").empty());
  CHECK(stage.of("remove", "2.2.2.2:2").empty());
  CHECK(stage.change("2.2.2.2:2")->removed);
  CHECK_FALSE(stage.change("2.2.2.2:2")->admin);
  CHECK(stage.of("remove", "2.2.2.2:2").empty());
  CHECK(stage.of("drain", "2.2.2.2:2") ==
        "refused: 2.2.2.2:2 was removed by an operator: add it first");
  CHECK(stage.of("add", "2.2.2.2:2", R"(,"tier":1)").starts_with("refused: "));
  CHECK(stage.of("add", "2.2.2.2:2").empty());
  CHECK(stage.roster.changes() == RuntimeChanges{});
}

TEST_CASE("reset forgets, of instances, of a service, and of one that is gone") {
  Stage stage;
  CHECK(stage.of("drain", "1.1.1.1:1").empty());
  CHECK(stage.of("drain", "2.2.2.2:2").empty());
  CHECK(stage.of("reset", "1.1.1.1:1").empty());
  CHECK(stage.change("1.1.1.1:1") == nullptr);
  CHECK(stage.change("2.2.2.2:2") != nullptr);
  stage.roster.configure({});
  CHECK(stage.ask(R"({"verb":"reset","service":"web"})").empty());
  CHECK(stage.roster.changes() == RuntimeChanges{});
  CHECK(stage.ask(R"({"verb":"reset","service":"web"})") == "not_found: there is no service web");
}

TEST_CASE("all of a request or nothing") {
  Stage stage;
  CHECK(stage.ask(R"({"verb":"drain","service":"web","instance":["1.1.1.1:1","9.9.9.9:9"]})")
            .starts_with("not_found: service web has no instance 9.9.9.9:9"));
  CHECK(stage.roster.changes() == RuntimeChanges{});
  CHECK(stage.ask(R"({"verb":"drain","service":"web","instance":["1.1.1.1:1","2.2.2.2:2"]})")
            .empty());
  CHECK(stage.roster.changes().instances.at("web").size() == 2);
}

TEST_CASE("who is meant") {
  Stage stage;
  CHECK(stage.of("drain", "twice:2").starts_with("refused: 2 instances are called twice:2"));
  CHECK(stage.of("drain", "bakend1:1") ==
        "not_found: service web has no instance bakend1:1: did you mean \"backend1:1\"?");
  CHECK(stage.of("add", "backend9:1").starts_with("bad_request: backend9:1 is not an address"));
  CHECK(stage.ask(R"({"verb":"drain","service":"wbe","instance":"1.1.1.1:1"})") ==
        "not_found: there is no service wbe: did you mean \"web\"?");
}

// What is known of 2.2.2.2:2 from a table, where an operator had drained it and given it 5.
TEST_CASE("what is asked for before a source has answered is not compared with what is inherited") {
  Stage stage;
  InstanceSettings known = instance("2.2.2.2:2");
  known.admin = shm::Admin::drain;
  stage.roster.inherit("web", 0, {known, instance("2.2.2.9:2")});
  const auto answer = [&](std::vector<InstanceSettings> set) {
    stage.roster.discover("web", 0, std::move(set));
    const Settings settings = stage.roster.compose();
    std::string text;
    for (const InstanceSettings& one : settings.services.at(0).instances) {
      if (one.endpoint.port == 1) continue;
      text += one.text + "=" + std::to_string(one.weight);
      text += one.admin == shm::Admin::drain ? "d " : " ";
    }
    return text;
  };
  InstanceSettings fresh = instance("2.2.2.2:2");
  fresh.weight = 1;
  SUBCASE("nobody is drained by it") {
    CHECK(stage.roster.named("web", known.endpoint)->admin == shm::Admin::ready);
  }
  SUBCASE("drain") {
    CHECK(stage.of("drain", "2.2.2.2:2").empty());
    CHECK(answer({fresh}) == "2.2.2.2:2=1d ");
  }
  SUBCASE("ready") {
    CHECK(stage.of("ready", "2.2.2.2:2").empty());
    CHECK(answer({known}) == "2.2.2.2:2=5 ");
  }
  SUBCASE("weight") {
    CHECK(stage.of("weight", "2.2.2.2:2", R"(,"weight":5)").empty());
    CHECK(answer({fresh}) == "2.2.2.2:2=5 ");
  }
  SUBCASE("add") {
    CHECK(stage.of("drain", "2.2.2.2:2").empty());
    CHECK(stage.of("add", "2.2.2.2:2", R"(,"weight":7)").empty());
    CHECK(answer({}) == "2.2.2.2:2=7d ");
    CHECK(answer({fresh}) == "2.2.2.2:2=7d ");
  }
  SUBCASE("remove what an operator added") {
    CHECK(stage.of("add", "2.2.2.2:2", R"(,"name":"c:2")").empty());
    CHECK(stage.roster.named("web", known.endpoint) == nullptr);
    CHECK(stage.of("remove", "c:2").empty());
    CHECK(stage.roster.changes() == RuntimeChanges{});
    CHECK(stage.roster.compose().services.at(0).instances.size() == 3);  // without it
  }
  SUBCASE("from the answer on it is") {
    CHECK(answer({fresh}) == "2.2.2.2:2=1 ");
    CHECK(stage.of("drain", "2.2.2.2:2").empty());
    CHECK(stage.of("ready", "2.2.2.2:2").empty());
    CHECK(stage.roster.changes() == RuntimeChanges{});
  }
}

}  // namespace
}  // namespace ballast::checker
