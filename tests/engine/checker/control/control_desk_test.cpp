// The control desk over a real table, with clients that go away and hooks that answer at once.
#include "engine/checker/control/control_desk.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/attached.hpp"
#include "tests/support/line_client.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/published.hpp"

namespace ballast::checker {
namespace {

using tests::LineClient;

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// A desk for a service "web" of `instances` instances.
struct Stage {
  explicit Stage(int instances = 2, ControlLimits limits = {})
      : published(
            tests::settings_of({tests::service_of("web", engine::Strategy::maglev, instances)})),
        loop(std::move(*make_loop({Backend::epoll, 0, nullptr}))) {
    steward.begin_with(published.settings());
    DeskHooks hooks;
    hooks.publisher = [this] { return &published.publisher(); };
    hooks.reload = [this] { return reload(); };
    hooks.on_event = [this](const Event& event) { events.emplace_back(event.name); };
    desk = std::make_unique<ControlDesk>(*loop, steward, std::move(hooks), limits);
    const shm::Status loaded = desk->load_changes(published.directory() + "/changes");
    REQUIRE_MESSAGE(loaded, loaded.error().to_text());
    const shm::Status listening = desk->listen(socket(), std::nullopt);
    REQUIRE_MESSAGE(listening, listening.error().to_text());
  }

  [[nodiscard]] std::string socket() const { return published.directory() + "/control"; }
  [[nodiscard]] std::string address(std::size_t n) const {
    return published.settings().services[0].instances[n].text;
  }
  std::string next_line(LineClient& client) const {
    tests::turn_until(*loop, [&] { return client.look(); });
    return client.line();
  }

  tests::Published published;
  std::unique_ptr<Loop> loop;
  std::vector<std::string> events;
  std::function<bool()> reload = [] { return false; };
  Steward steward{*loop,
                  [this](const Settings& settings) {
                    published.apply(settings);
                    return shm::Status(shm::Done{});
                  },
                  [](const std::string&, std::size_t, const shm::Status&) {}};
  std::unique_ptr<ControlDesk> desk;
};

TEST_CASE("a client that waits and goes away is forgotten, whoever finds it out") {
  ControlLimits limits;
  SUBCASE("a line of progress does") {
    limits.sweep = std::chrono::hours(1);
  }
  SUBCASE("the sweep does") {
    limits.sweep = Milliseconds(1);
  }
  Stage stage(1, limits);
  const tests::Attached worker(stage.published.directory());
  ballast_pick_t held = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", held) == BALLAST_OK);
  const std::string wait = R"({"verb":"wait","service":"web","instance":")" + stage.address(0) +
                           R"(","timeout_ms":3600000,"progress":true})" + "\n";
  LineClient stays(stage.socket());
  stays.say(wait);
  CHECK(has(stage.next_line(stays), R"("in_flight":1)"));
  for (int n = 0; n < 3; ++n) {
    LineClient goes(stage.socket());
    goes.say(wait);
    CHECK(has(stage.next_line(goes), R"("progress":true)"));
  }
  tests::turn_until(*stage.loop, [&] {
    stays.look();
    return stage.desk->waiting() == 1;
  });
  ballast_report(worker.handle, &held, BALLAST_SUCCESS, -1);
  std::string last;
  tests::turn_until(*stage.loop, [&] {
    while (stays.look())
      last = stays.line();
    return has(last, R"("ok":true)");
  });
  CHECK(stage.desk->waiting() == 0);
}

TEST_CASE("however many wait for an epoch, one look a turn serves them all") {
  Stage stage(2);
  const tests::Attached worker(stage.published.directory());
  ballast_pick_t held = BALLAST_PICK_INIT;
  REQUIRE(worker.pick("key", held) == BALLAST_OK);
  const auto wait = [&](std::size_t n) {
    return R"({"verb":"wait","service":"web","instance":")" + stage.address(n) +
           R"(","timeout_ms":3600000})" + "\n";
  };
  std::vector<std::unique_ptr<LineClient>> clients;
  for (int n = 0; n < 5; ++n) {
    clients.push_back(std::make_unique<LineClient>(stage.socket()));
    clients.back()->say(wait(0));
    clients.push_back(std::make_unique<LineClient>(stage.socket()));
    clients.back()->say(wait(1));
  }
  // One of the two instances has the request, and half of the clients have nothing to wait for.
  std::size_t answers = 0;
  tests::turn_until(*stage.loop, [&] {
    for (const auto& client : clients) {
      if (!client->look()) continue;
      CHECK(has(client->line(), R"("ok":true)"));
      ++answers;
    }
    return answers == 5 && stage.desk->waiting() == 5;
  });
  CHECK(stage.desk->looks() == 1);
  ballast_report(worker.handle, &held, BALLAST_SUCCESS, -1);
  tests::turn_until(*stage.loop, [&] { return stage.desk->waiting() == 0; });
  CHECK(stage.desk->looks() == 0);
}

TEST_CASE("a long answer is made in pieces, and begins again when members change under it") {
  ControlLimits limits;
  limits.look_time = Milliseconds(0);  // a piece a turn
  Stage stage(200, limits);
  LineClient client(stage.socket());
  client.say("{\"verb\":\"status\",\"service\":\"web\"}\n");
  tests::turn_until(*stage.loop, [&] { return stage.desk->answering() == 1; });
  CHECK_FALSE(client.look());
  // Others get theirs meanwhile, and this one is as it is at its end.
  LineClient other(stage.socket());
  other.say(R"({"verb":"drain","service":"web","instance":")" + stage.address(0) + "\"}\n");
  other.say(R"({"verb":"remove","service":"web","instance":")" + stage.address(1) + "\"}\n");
  const std::string line = stage.next_line(client);
  const auto answer = nlohmann::json::parse(line);
  CHECK(answer.at("ok") == true);
  CHECK(answer.at("verb") == "status");
  CHECK(stage.desk->answering() == 0);
  const std::size_t members = stage.published.publisher().instances().size();
  CHECK(answer.at("instances").size() == members);
  for (const auto& one : answer.at("instances"))
    CHECK(one.at("in_flight") == 0);
}

TEST_CASE("a service that goes while its answer is made") {
  ControlLimits limits;
  limits.look_time = Milliseconds(0);
  Stage stage(100, limits);
  LineClient client(stage.socket());
  client.say("{\"verb\":\"status\",\"service\":\"web\"}\n");
  tests::turn_until(*stage.loop, [&] { return stage.desk->answering() == 1; });
  Settings without = stage.published.settings();
  without.services[0].name = "other";
  REQUIRE(stage.steward.configure(without));
  CHECK(has(stage.next_line(client), R"("code":"not_found")"));
}

TEST_CASE("a reading of the configuration that cannot begin is answered") {
  Stage stage;
  stage.reload = [&] {
    stage.desk->reloaded({"no thread"});
    return false;
  };
  LineClient client(stage.socket());
  client.say("{\"verb\":\"reload\"}\n");
  CHECK(has(stage.next_line(client), R"("error":"no thread")"));
}

std::string drain(const std::string& address) {
  return R"({"verb":"drain","service":"web","instance":")" + address + "\"}\n";
}

TEST_CASE("what could not be kept is kept later, without another change") {
  Stage stage;
  const std::string folder = stage.published.directory() + "/state";
  REQUIRE(stage.desk->load_changes(folder + "/changes"));
  LineClient client(stage.socket());
  client.say(drain(stage.address(0)));
  CHECK(has(stage.next_line(client), R"("kept":false)"));
  CHECK(stage.desk->is_kept());
  std::filesystem::create_directory(folder);
  tests::turn_until(*stage.loop, [&] { return stage.events.back() == "changes_kept"; });
  const auto kept = read_changes_file(folder + "/changes");
  REQUIRE(kept);
  CHECK(*kept == stage.steward.roster().changes());
}

TEST_CASE("who has lost the directory writes nothing into it any more, and says so") {
  Stage stage;
  const std::string file = stage.published.directory() + "/changes";
  LineClient client(stage.socket());
  client.say(drain(stage.address(0)));
  tests::turn_until(*stage.loop, [&] { return !stage.events.empty(); });
  // Applied, and to be written by the next turn.
  CHECK_FALSE(stage.desk->is_kept());
  SUBCASE("stopped") {
    stage.desk->leave(ControlDesk::Leave::stop);
    CHECK(std::filesystem::exists(file));
    CHECK(has(stage.next_line(client), R"("kept":true)"));
  }
  SUBCASE("lost") {
    stage.desk->leave(ControlDesk::Leave::lost);
    CHECK_FALSE(std::filesystem::exists(file));
    CHECK(has(stage.next_line(client), "has lost its directory"));
  }
}

TEST_CASE("changes are not moved to where others are, or what nobody understands") {
  Stage stage;
  const std::string path = stage.published.directory() + "/elsewhere";
  const auto objection = [&] {
    const shm::Status may = stage.desk->may_keep_in(path);
    return may ? "" : may.error().to_text();
  };
  CHECK(objection().empty());
  std::ofstream(path) << "{";
  CHECK(has(objection(), path));
  RuntimeChanges other;
  other.instances["web"][stage.address(1)].admin = shm::Admin::drain;
  REQUIRE(write_changes_file(path, changes_to_text(other)));
  CHECK(has(objection(), "there are other ones in it"));
  REQUIRE(write_changes_file(path, changes_to_text(stage.steward.roster().changes())));
  CHECK(objection().empty());
}

TEST_CASE(
    "a file that cannot be understood is never written over, and stops changes until it can") {
  Stage stage;
  const std::string path = stage.published.directory() + "/kept";
  RuntimeChanges before;
  before.instances["web"][stage.address(1)].admin = shm::Admin::drain;
  const std::string whole = changes_to_text(before);
  std::string text;
  std::string why;
  SUBCASE("torn") {
    text = whole.substr(0, whole.size() / 2);
    why = "it is no JSON: parse error at line";
  }
  SUBCASE("of another version") {
    text = R"({"version": 2, "services": {}})";
    why = "it is of version 2, and this ballastd knows only version 1";
  }
  SUBCASE("empty") {
    why = "it is no JSON";
  }
  std::ofstream(path) << text;
  const shm::Status loaded = stage.desk->load_changes(path);
  REQUIRE_FALSE(loaded);
  CHECK_MESSAGE(has(loaded.error().to_text(), why), loaded.error().to_text());
  CHECK_MESSAGE(has(loaded.error().to_text(), path), loaded.error().to_text());
  CHECK(has(stage.desk->blocked(), why));

  LineClient client(stage.socket());
  client.say(drain(stage.address(0)));
  const std::string refused = stage.next_line(client);
  CHECK_MESSAGE(has(refused, R"("code":"refused")"), refused);
  CHECK_MESSAGE(has(refused, "no changes are taken: "), refused);
  client.say("{\"verb\":\"status\"}\n");
  CHECK(has(stage.next_line(client), R"("changes_kept":false)"));
  stage.desk->leave(ControlDesk::Leave::stop);
  std::ifstream file(path);
  CHECK(std::string(std::istreambuf_iterator<char>(file), {}) == text);
  stage.desk.reset();

  // Repaired: they hold, and more are taken.
  Stage next;
  const std::string repaired = next.published.directory() + "/kept";
  std::ofstream(repaired) << text;
  REQUIRE_FALSE(next.desk->load_changes(repaired));
  std::ofstream(repaired) << whole;
  REQUIRE(next.desk->load_changes(repaired));
  CHECK(next.desk->blocked().empty());
  CHECK(next.steward.roster().changes() == before);
  LineClient again(next.socket());
  again.say(drain(next.address(0)));
  CHECK(has(next.next_line(again), R"("kept":true)"));
}

TEST_CASE(
    "kept changes of what the configuration no longer names wait, are told, and are not lost") {
  Stage stage;
  const std::string path = stage.published.directory() + "/kept";
  RuntimeChanges before;
  before.instances["web"][stage.address(0)].weight = 5;
  before.instances["web"]["10.9.9.9:80"].admin = shm::Admin::drain;
  before.instances["gone"]["10.0.0.1:80"].removed = true;
  before.strategies["gone"] = engine::Strategy::ketama;
  REQUIRE(write_changes_file(path, changes_to_text(before)));
  REQUIRE(stage.desk->load_changes(path));
  REQUIRE(stage.steward.apply());
  CHECK(stage.published.settings().services.size() == 1);
  CHECK(stage.published.settings().services[0].instances.size() == 2);
  CHECK(stage.published.settings().services[0].instances[0].weight == 5);

  LineClient client(stage.socket());
  client.say("{\"verb\":\"status\"}\n");
  const std::string status = stage.next_line(client);
  CHECK_MESSAGE(has(status, R"("idle_changes":["gone","gone 10.0.0.1:80","web 10.9.9.9:80"])"),
                status);
  client.say(drain(stage.address(1)));
  CHECK(has(stage.next_line(client), R"("kept":true)"));
  const auto kept = read_changes_file(path);
  REQUIRE(kept);
  CHECK(kept->instances.at("gone") == before.instances["gone"]);
  CHECK(kept->strategies == before.strategies);
  CHECK(kept->instances.at("web").contains("10.9.9.9:80"));
  CHECK(kept->instances.at("web").contains(stage.address(1)));
}

}  // namespace
}  // namespace ballast::checker
