// Which of the things that sources report count as a set: failures, empty answers and second looks,
// over changes of the configuration. Sources are real files, and a name server on the same loop.
#include "engine/checker/discovery/source_set.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/fake_dns.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

using Strings = std::vector<std::string>;

std::string targets(const Strings& addresses) {
  std::string text = R"([{"targets": [)";
  for (const auto& address : addresses)
    text += (text.back() == '[' ? "\"" : ", \"") + address + "\"";
  return text + "]}]\n";
}

struct World {
  World() {
    auto made = make_loop({});
    REQUIRE(made);
    loop = std::move(*made);
    set = std::make_unique<SourceSet>(
        *loop,
        [this](const std::string& service, std::size_t source,
               std::vector<InstanceSettings> instances) {
          Strings texts;
          for (const auto& one : instances)
            texts.push_back(one.text);
          sets[{service, source}] = texts;
          ++handed_on;
        },
        [this](Transition told) { transitions.push_back(std::move(told)); });
  }

  // Replaces a file as a whole.
  void write(const std::string& name, const std::string& text) const {
    const std::string path = path_of(name);
    std::ofstream(path + ".new") << text;
    std::filesystem::rename(path + ".new", path);
  }
  [[nodiscard]] std::string path_of(const std::string& name) const {
    return directory.path() + "/" + name;
  }
  [[nodiscard]] SourceSettings file(const std::string& name, bool believe_empty = false) const {
    SourceSettings settings;
    settings.path = path_of(name);
    settings.believe_empty = believe_empty;
    return settings;
  }
  static ServiceSettings service(const std::string& name, std::vector<SourceSettings> sources) {
    ServiceSettings service;
    service.name = name;
    service.sources = std::move(sources);
    return service;
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }
  void until_set(const Strings& addresses, std::size_t source = 0) {
    until([&] { return sets[{"web", source}] == addresses; });
  }
  [[nodiscard]] SourceStatus status(std::size_t n = 0) const {
    const auto all = set->statuses();
    REQUIRE(all.size() > n);
    return all[n];
  }
  void until_failing(const std::string& why) const {
    until([&] { return status().error.find(why) != std::string::npos; });
  }
  [[nodiscard]] std::size_t told(shm::EventKind kind) const {
    return static_cast<std::size_t>(
        std::count_if(transitions.begin(), transitions.end(),
                      [&](const Transition& one) { return one.event.kind == kind; }));
  }

  tests::TempDir directory;
  std::unique_ptr<Loop> loop;
  std::map<std::pair<std::string, std::size_t>, Strings> sets;
  std::size_t handed_on = 0;
  std::vector<Transition> transitions;
  std::unique_ptr<SourceSet> set;
};

const std::string kOne = "10.0.0.1:80";
const std::string kTwo = "10.0.0.2:80";

TEST_CASE("sets are handed on as they are found, and a status tells of them") {
  World w;
  w.write("a", targets({kOne}));
  w.set->configure({World::service("web", {w.file("a")})});
  CHECK_FALSE(w.set->has_heard_from_all("web"));
  CHECK(w.set->has_heard_from_all("another"));
  w.until_set({kOne});
  CHECK(w.set->has_heard_from_all("web"));
  w.write("a", targets({kOne, kTwo}));
  w.until_set({kOne, kTwo});
  const SourceStatus status = w.status();
  CHECK(status.service == "web");
  CHECK(status.name == w.path_of("a"));
  CHECK(std::string(to_text(status.kind)) == "file");
  CHECK(status.answered);
  CHECK(status.instances == 2);
  CHECK(status.changes == 2);
  CHECK(status.error == "");
  CHECK_FALSE(status.failing_for);
  CHECK(status.unchanged_for);
  CHECK(w.transitions.empty());  // who came and went is for the publisher to tell
}

TEST_CASE("a failure keeps the last good set, is told once, and so is its end") {
  World w;
  w.write("a", targets({kOne}));
  w.set->configure({World::service("web", {w.file("a")})});
  w.until_set({kOne});
  w.write("a", "[{");
  w.until_failing("not JSON");
  w.write("a", "nonsense");
  w.until([&] { return w.status().failures == 2; });
  CHECK(w.handed_on == 1);
  CHECK(w.status().instances == 1);
  CHECK(w.status().failing_for);
  CHECK(w.told(shm::EventKind::source_failed) == 1);
  const Event line = to_log(w.transitions.front());
  CHECK(line.level == Level::warning);
  CHECK(line.name == "source_failed");
  REQUIRE(line.fields.size() == 5);
  CHECK(line.fields[0].second == "web");
  CHECK(line.fields[1].first == "source");
  CHECK(line.fields[1].second.size() == shm::kEventLabelBytes);  // the end of a long path
  CHECK(line.fields[1].second.ends_with("/a"));
  CHECK(line.fields[2] == std::pair<std::string, std::string>("instances", "1"));
  CHECK(line.fields[4].first == "because");
  CHECK(line.fields[4].second.find("not JSON") != std::string::npos);
  w.write("a", targets({kOne}));
  w.until([&] { return w.status().error.empty(); });
  CHECK(w.handed_on == 1);  // the set is the same
  CHECK(w.told(shm::EventKind::source_recovered) == 1);
}

TEST_CASE("an empty answer does not count, unless it is to be believed and comes twice") {
  World w;
  w.write("a", targets({kOne}));
  SUBCASE("not to be believed") {
    w.set->configure({World::service("web", {w.file("a")})});
    w.until_set({kOne});
    w.write("a", "[]");
    w.until_failing("names no target; an empty answer is not believed");
    w.set->refresh();
    w.set->refresh();
    w.write("b", "");
    for (int i = 0; i < 20; ++i)
      w.loop->run_once(std::chrono::milliseconds(5));
    CHECK(w.handed_on == 1);
    CHECK(w.status().instances == 1);
  }
  SUBCASE("to be believed") {
    w.set->configure({World::service("web", {w.file("a", true)})});
    w.until_set({kOne});
    w.write("a", "[]");
    w.until_failing("looking again before that is believed");
    CHECK(w.handed_on == 1);
    w.until_set({});  // the second look is not asked for by anybody else
    CHECK(w.status().error == "");
    CHECK(w.status().instances == 0);
  }
  SUBCASE("empty for a moment") {
    w.set->configure({World::service("web", {w.file("a", true)})});
    w.until_set({kOne});
    w.write("a", "[]");
    w.until_failing("looking again before that is believed");
    w.write("a", targets({kTwo}));
    w.until_set({kTwo});
    w.write("a", "[]");
    w.until_failing("looking again before that is believed");  // it takes two again
    CHECK(w.sets[{"web", 0}] == Strings{kTwo});
  }
}

TEST_CASE("empty from the start is a set: there is nothing to lose") {
  World w;
  w.write("a", "[]");
  w.set->configure({World::service("web", {w.file("a")})});
  w.until([&] { return w.handed_on == 1; });
  CHECK(w.status().answered);
  CHECK(w.status().error == "");
  CHECK(w.status().note == w.path_of("a") + " names no target");
  w.write("a", targets({kOne}));
  w.until_set({kOne});
}

TEST_CASE("what is inherited from before the start is kept like any other set") {
  World w;
  w.write("a", "[]");
  w.set->configure({World::service("web", {w.file("a"), w.file("b")})});
  w.set->inherit("web", 0, 3);
  w.set->inherit("web", 1, 3);
  w.until([&] { return w.set->has_heard_from_all("web"); });
  CHECK(w.handed_on == 0);
  CHECK(w.status(0).error.find("not believed") != std::string::npos);
  CHECK(w.status(1).error.find("No such file") != std::string::npos);
  CHECK(w.status(1).instances == 3);
  CHECK_FALSE(w.status(0).answered);
  CHECK_FALSE(w.status(0).unchanged_for);
  w.write("a", targets({kOne}));
  w.until_set({kOne});
}

TEST_CASE("a source that stays goes on, whatever its index; one that goes is quiet") {
  World w;
  w.write("a", targets({kOne}));
  w.write("b", targets({kTwo}));
  w.set->configure({World::service("web", {w.file("a")})});
  w.until_set({kOne});
  w.set->configure({World::service("web", {w.file("b"), w.file("a")})});
  w.until_set({kTwo}, 0);
  w.write("a", targets({kOne, kTwo}));
  w.until_set({kOne, kTwo}, 1);
  CHECK(w.handed_on == 3);  // the one that stayed had nothing new to say before
  w.set->configure({World::service("web", {w.file("b")}), World::service("api", {w.file("a")})});
  w.until([&] { return w.sets[{"api", 0}] == Strings{kOne, kTwo}; });
  w.set->configure({});
  CHECK(w.set->statuses().empty());
  w.write("a", targets({kOne}));
  for (int i = 0; i < 10; ++i)
    w.loop->run_once(std::chrono::milliseconds(5));
  CHECK(w.sets[{"api", 0}] == Strings{kOne, kTwo});
}

TEST_CASE("one that changed in its place has the former's set to lose") {
  World w;
  w.write("a", targets({kOne}));
  w.set->configure({World::service("web", {w.file("a")})});
  w.until_set({kOne});
  w.write("b", "[]");
  w.set->configure({World::service("web", {w.file("b")})});
  CHECK(w.status().instances == 1);
  w.until_failing("an empty answer is not believed");
  w.write("b", targets({kOne}));
  w.until([&] { return w.status().error.empty(); });
  CHECK(w.handed_on == 1);
}

TEST_CASE("NXDOMAIN is an empty answer, and believed when it comes twice, if it is to be") {
  if (!has_dns_sources()) return;
  World w;
  tests::FakeDns server(*w.loop);
  server.replies[{"web.test", 1}] = {{tests::dns_a("web.test", "10.0.0.1", 1)}};
  server.replies[{"web.test", 28}] = {};
  SourceSettings dns;
  dns.kind = SourceSettings::Kind::dns_address;
  dns.name = "web.test";
  dns.port = 80;
  dns.servers = {server.address()};
  dns.believe_empty = true;
  w.set->configure({World::service("web", {dns})});
  w.until_set({kOne});
  CHECK(std::string(to_text(w.status().kind)) == "dns");
  server.replies.clear();
  w.until_failing("does not exist (NXDOMAIN); looking again");
  CHECK(w.sets[{"web", 0}] == Strings{kOne});
  w.until_set({});
  CHECK(w.status().note == "web.test does not exist (NXDOMAIN)");
}

TEST_CASE("half an answer does not replace what is inherited, and counts where nothing is lost") {
  if (!has_dns_sources()) return;
  World w;
  tests::FakeDns server(*w.loop);
  tests::DnsReply failing;
  failing.rcode = 2;
  server.replies[{"web.test", 1}] = failing;
  server.replies[{"web.test", 28}] = {{tests::dns_a("web.test", "fd00::1", 1)}};
  SourceSettings dns;
  dns.kind = SourceSettings::Kind::dns_address;
  dns.name = "web.test";
  dns.port = 80;
  dns.servers = {server.address()};
  w.set->configure({World::service("web", {dns})});
  SUBCASE("inherited") {
    w.set->inherit("web", 0, 103);
    w.until_failing("A of web.test");
    CHECK(w.handed_on == 0);
    CHECK(w.status().instances == 103);
    server.replies[{"web.test", 1}] = {{tests::dns_a("web.test", "10.0.0.1", 1)}};
    w.until_set({kOne, "[fd00::1]:80"});
    // From now on it knows both.
    server.replies[{"web.test", 1}] = failing;
    server.replies[{"web.test", 28}] = {{tests::dns_a("web.test", "fd00::2", 1)}};
    w.until_set({kOne, "[fd00::2]:80"});
  }
  SUBCASE("nothing to lose") {
    w.until_set({"[fd00::1]:80"});
    server.replies[{"web.test", 28}] = {{tests::dns_a("web.test", "fd00::2", 1)}};
    w.until_set({"[fd00::2]:80"});
    CHECK(w.status().error == "");
  }
}

TEST_CASE("a set that cannot be published is a failure, and is offered again") {
  World w;
  const shm::Status full = shm::Error{shm::ErrorKind::full, 0, "publish", {}, "too many"};
  w.write("a", targets({kOne}));
  w.set->configure({World::service("web", {w.file("a")})});
  w.until_set({kOne});
  w.set->judged("web", 0, shm::Done{});
  w.write("a", targets({kOne, kTwo}));
  w.until_set({kOne, kTwo});
  w.set->judged("web", 0, full);
  CHECK(w.status().error == "what it found cannot be published: publish: too many");
  CHECK(w.status().instances == 1);
  CHECK(w.status().failing_for);
  CHECK(w.told(shm::EventKind::source_failed) == 1);
  w.set->refresh();
  w.until([&] { return w.handed_on == 3; });
  CHECK(w.status().error != "");  // nobody knows yet whether it fits now
  w.set->judged("web", 0, full);
  CHECK(w.told(shm::EventKind::source_failed) == 1);
  CHECK(w.told(shm::EventKind::source_recovered) == 0);
  SUBCASE("and fits at last") {
    w.set->refresh();
    w.until([&] { return w.handed_on == 4; });
    w.set->judged("web", 0, shm::Done{});
    CHECK(w.status().instances == 2);
  }
  SUBCASE("or the former comes back, which counts") {
    w.write("a", targets({kOne}));
    w.until([&] { return w.status().error.empty(); });
    CHECK(w.handed_on == 3);
    CHECK(w.status().instances == 1);
  }
  CHECK(w.status().error == "");
  CHECK(w.told(shm::EventKind::source_recovered) == 1);
}

}  // namespace
}  // namespace ballast::checker
