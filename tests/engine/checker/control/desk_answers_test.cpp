// The facts that answers are made of, from a real table: services, epochs, members, who is drained
// and who is waited for.
#include "engine/checker/control/desk_answers.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/support/published.hpp"

namespace ballast::checker {
namespace {

using nlohmann::json;

struct Table {
  Table()
      : published(
            tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 3),
                                tests::service_of("api", engine::Strategy::ketama, 1, 100)})) {
    roster.configure(published.settings());
  }
  [[nodiscard]] const Publisher& publisher() const { return published.publisher(); }
  [[nodiscard]] std::string address(std::size_t n) const {
    return published.settings().services[0].instances[n].endpoint.to_text();
  }
  // "web" without its last instance from now on.
  void shrink() {
    Settings settings = published.settings();
    settings.services[0].instances.pop_back();
    published.apply(settings);
    roster.configure(settings);
  }

  tests::Published published;
  Roster roster;
};

Request about(std::vector<std::string> instances, const std::string& service = "web") {
  Request request;
  request.service = service;
  request.instances = std::move(instances);
  return request;
}

TEST_CASE("services have their records and epochs, others have none") {
  Table table;
  REQUIRE(record_of(table.publisher(), "api"));
  CHECK(record_of(table.publisher(), "api") != record_of(table.publisher(), "web"));
  CHECK_FALSE(record_of(table.publisher(), "apis"));
  CHECK_FALSE(epoch_of(table.publisher(), ""));
  const auto before = epoch_of(table.publisher(), "web");
  const auto other = epoch_of(table.publisher(), "api");
  const Epochs epochs = epochs_of(table.publisher());
  CHECK(epochs.size() == 2);
  table.shrink();
  CHECK(*epoch_of(table.publisher(), "web") == *before + 1);
  CHECK(epoch_of(table.publisher(), "api") == other);

  // A reload says which services have changed by it.
  const json reload = about_reload(table.publisher(), epochs, table.roster);
  CHECK(reload["epochs"] == json{{"web", *before + 1}});
  CHECK(reload["services"] == 2);
  CHECK(reload["instances"] == 3);
  CHECK(reload["idle_changes"] == json::array());
  CHECK(about_reload(table.publisher(), {}, table.roster)["epochs"].size() == 2);
}

TEST_CASE(
    "an answer has its verb and the client's id, whatever that is, and is one line of UTF-8") {
  json answer{{"ok", true}};
  finish_answer(answer, "", "");
  CHECK(answer == json{{"ok", true}});
  finish_answer(answer, R"({"a":[1,null]})", "drain");
  CHECK(answer["id"] == json{{"a", {1, nullptr}}});
  CHECK(answer["verb"] == "drain");
  answer["text"] = "two\nlines \xff";
  const std::string line = to_line(answer);
  CHECK(line.find('\n') == std::string::npos);
  CHECK(json::parse(line)["text"] == "two\nlines \xEF\xBF\xBD");
}

TEST_CASE("a change names its instance, several are a list, none is left out") {
  Table table;
  json change = about_change(about({"a:1"}), table.publisher(), 7, true);
  CHECK(change["instance"] == "a:1");
  CHECK(change["epochs"] == json{{"web", 7}});
  CHECK(change["changed"] == true);
  CHECK(change["segment"] == table.publisher().segment_id());
  change = about_change(about({"a:1", "b:2"}), table.publisher(), 7, false);
  CHECK(change["instance"] == json{"a:1", "b:2"});
  CHECK_FALSE(about_change(about({}), table.publisher(), 7, false).contains("instance"));
}

TEST_CASE("services and members as they are published") {
  Table table;
  Settings settings = table.published.settings();
  settings.services[0].instances[1].admin = shm::Admin::drain;
  settings.services[0].instances[0].named_by = shm::EventBy::operators;
  settings.services[0].instances[1].named_by = shm::EventBy::discovery;
  settings.services[0].instances[1].zone = "b";
  table.published.apply(settings);
  table.published.set_usable(0, 2, false);
  const json services = about_services(table.publisher());
  REQUIRE(services.size() == 2);
  CHECK(services[0]["service"] == "web");
  CHECK(services[0]["instances"] == 3);
  CHECK(services[0]["usable"] == 1);
  CHECK(services[0]["drained"] == 1);
  CHECK(services[1]["strategy"] == "ketama");
  CHECK(services[1]["epoch"] == *epoch_of(table.publisher(), "api"));

  CHECK(about_service(table.publisher(), "none").is_null());
  CHECK(about_service(table.publisher(), "api")["strategy"] == "ketama");

  const auto member = [&](std::size_t n) {
    return about_member(table.publisher(), table.published.find(0, n), 4);
  };
  CHECK(member(0)["from"] == "operator");
  CHECK(member(0)["in_flight"] == 4);
  CHECK(member(0)["address"] == table.address(0));
  CHECK_FALSE(member(0).contains("zone"));
  CHECK(member(1)["from"] == "source");
  CHECK(member(1)["admin"] == "drain");
  CHECK(member(1)["zone"] == "b");
  CHECK(member(2)["from"] == "configuration");
  CHECK(member(2)["usable"] == false);
  CHECK(member(2)["reason"] == "connect_refused");
}

TEST_CASE("sources, of one service or of all, with what there is to say of them") {
  SourceStatus good;
  good.service = "web";
  good.kind = SourceSettings::Kind::dns_address;
  good.name = "web.test";
  good.answered = true;
  good.instances = 3;
  good.unchanged_for = std::chrono::seconds(2);
  SourceStatus bad = good;
  bad.service = "api";
  bad.error = "no answer";
  bad.note = "old";
  bad.failing_for = std::chrono::seconds(5);
  CHECK(about_sources({good, bad}, "").size() == 2);
  CHECK(about_sources({good, bad}, "none") == json::array());
  const json one = about_sources({good, bad}, "web");
  REQUIRE(one.size() == 1);
  CHECK(one[0]["kind"] == "dns");
  CHECK(one[0]["unchanged_for_ms"] == 2'000);
  CHECK_FALSE(one[0].contains("error"));
  CHECK_FALSE(one[0].contains("failing_for_ms"));
  const json other = about_sources({good, bad}, "api")[0];
  CHECK(other["error"] == "no answer");
  CHECK(other["note"] == "old");
  CHECK(other["failing_for_ms"] == 5'000);
}

TEST_CASE("who is waited for: those that are there, and those whose slots still cool") {
  Table table;
  const std::size_t web = *record_of(table.publisher(), "web");
  const auto slots = [&](std::vector<std::string> instances) {
    return draining_slots(table.publisher(), web, table.roster, about(std::move(instances)));
  };
  const auto count = [](const auto& found) {
    return std::get<std::vector<DrainingSlot>>(found).size();
  };
  const std::string last = table.address(2);
  CHECK(count(slots({table.address(0), table.address(1)})) == 2);
  const auto& there = table.published.find(0, 2);
  CHECK(std::get<std::vector<DrainingSlot>>(slots({last})) ==
        std::vector<DrainingSlot>{{there.slot, there.incarnation}});
  table.shrink();
  CHECK(count(slots({last})) == 1);  // its slot cools

  // Never there, or of another service.
  const auto refusal = [&](const std::string& instance) {
    const auto found = slots({instance});
    const auto* said = std::get_if<Refusal>(&found);
    return said == nullptr ? std::string() : said->code + " " + said->text;
  };
  CHECK(refusal("10.1.1.1:80") == "not_found service web has no instance 10.1.1.1:80");
  CHECK(refusal("127.1.0.101:8080").starts_with("not_found"));
  // One that an operator removed, and whose slot is long another's, is drained.
  RuntimeChanges changes;
  changes.instances["web"]["10.1.1.1:80"].removed = true;
  table.roster.change(changes);
  CHECK(count(slots({"10.1.1.1:80"})) == 0);
}

TEST_CASE("what a wait is told, and what its end in vain says") {
  Table table;
  SeenReport report;
  report.rows = 20;
  report.seen = 17;
  report.idle = 1;
  report.missing = {{4, 100, "nginx", false}, {5, 101, "python3", true}};
  const json answer = about_wait("web", 3, table.publisher(), report);
  CHECK(answer["epochs"] == json{{"web", 3}});
  CHECK(answer["workers"] == 20);
  CHECK(answer["seen"] == 17);
  CHECK(answer["missing"][1]["stopped"] == true);
  CHECK(timeout_text(report, 0) ==
        "2 of 20 workers have not seen it: nginx with pid 100, python3 with pid 101 (stopped)");
  report.seen = 10;
  CHECK(timeout_text(report, 3) ==
        "9 of 20 workers have not seen it: nginx with pid 100, python3 with pid 101 (stopped), "
        "...; 3 requests are in flight");
  report.seen = 19;
  CHECK(timeout_text(report, 1) == "1 requests are in flight");
  CHECK(timeout_text(report, 0).empty());
}

}  // namespace
}  // namespace ballast::checker
