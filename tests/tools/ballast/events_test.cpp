// `ballast events`: what it chooses, how it looks, and that it can be followed through growth, a
// hand-over and the end of every checker. Histories are written by a real publisher.
#include "tools/ballast/events.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "engine/inspect/event_text.hpp"
#include "shm/event_ring.hpp"
#include "tests/support/published.hpp"
#include "tools/ballast/cli.hpp"

namespace ballast::tools {
namespace {

using checker::Settings;
using shm::EventKind;
using tests::Published;
using tests::service_of;
using tests::settings_of;

constexpr std::uint64_t kSecond = 1'000'000'000;

Settings web(int instances, std::uint32_t weight = 1) {
  Settings settings = settings_of({service_of("web", engine::Strategy::maglev, instances)});
  settings.services[0].instances[0].weight = weight;
  return settings;
}

CliOutput run(const Published& published, std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"events", "--dir", published.directory()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_cli(std::move(arguments), {});
}

std::vector<nlohmann::json> json_of(const std::string& text) {
  std::vector<nlohmann::json> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    all.push_back(nlohmann::json::parse(line));
  return all;
}

std::vector<std::string> kinds_of(const CliOutput& output) {
  std::vector<std::string> kinds;
  for (const auto& line : json_of(output.out))
    kinds.push_back(line["kind"]);
  return kinds;
}

using Kinds = std::vector<std::string>;

shm::Event breaker_of(std::uint64_t time_ns) {
  shm::Event event;
  event.time_ns = time_ns;
  event.kind = EventKind::breaker_opened;
  event.by = shm::EventBy::worker;
  event.to = 1;
  event.reason = 3;
  event.id = shm::pack_event_pair(4711, 2);
  event.value = shm::pack_event_pair(1, 30'000);
  event.endpoint = *shm::parse_endpoint("127.1.0.1:8080");
  event.service = "web";
  return event;
}

}  // namespace

TEST_CASE("both rings are one history, by time") {
  Published published(web(2));
  published.apply(web(2, 3));
  const auto ring = shm::event_ring_of(published.publisher().segment().workers);
  CHECK(shm::write_event(ring, {0, 1}, shm::pack(breaker_of(5 * kSecond))));
  const CliOutput output = run(published, {"--json"});
  CHECK(output.status == 0);
  CHECK(output.errors.empty());
  CHECK(kinds_of(output) == Kinds{"breaker_opened", "weight_changed"});
  const auto lines = json_of(output.out);
  CHECK(lines[0]["time"] == "1970-01-01T00:00:05.000Z");
  CHECK(lines[0]["time_ns"] == 5 * kSecond);
  CHECK(lines[0]["by"] == "worker");
  CHECK(lines[0]["pid"] == 4711);
  CHECK(lines[0]["because"] == "timeout");
  CHECK(lines[0]["for_ms"] == 30'000);
  CHECK(lines[1]["service"] == "web");
  CHECK(lines[1]["instance"] == "127.1.0.1:8080");
  CHECK(lines[1]["from"] == 1);
  CHECK(lines[1]["to"] == 3);
}

TEST_CASE("columns line up, and colours are for terminals") {
  EventLines lines(false, Colours::no);
  shm::Event grown;
  grown.time_ns = 6 * kSecond;
  grown.kind = EventKind::segment_grown;
  grown.by = shm::EventBy::checker;
  grown.id = 1;
  grown.value = 2;
  CHECK(lines.render({breaker_of(5 * kSecond), grown}) ==
        "1970-01-01T00:00:05.000Z  breaker_opened  web  127.1.0.1:8080  from=closed "
        "because=timeout level=1 for_ms=30000 pid=4711 row=2 by=worker\n"
        "1970-01-01T00:00:06.000Z  segment_grown                        from=1 to=2 by=checker\n");
  EventLines coloured(false, Colours::yes);
  CHECK(coloured.render({breaker_of(5)}).find("\x1b[31mbreaker_opened\x1b[0m") !=
        std::string::npos);
}

TEST_CASE("what is asked for is shown, and nothing else") {
  Published published(settings_of({service_of("a", engine::Strategy::maglev, 2),
                                   service_of("b", engine::Strategy::maglev, 2, 10)}));
  Settings next = settings_of({service_of("a", engine::Strategy::maglev, 3),
                               service_of("b", engine::Strategy::maglev, 3, 10)});
  next.services[0].instances[0].weight = 2;
  published.apply(next);
  CHECK(kinds_of(run(published, {"--json"})).size() == 3);
  CHECK(kinds_of(run(published, {"--json", "--service", "b"})) == Kinds{"instance_added"});
  CHECK(kinds_of(run(published, {"--json", "--instance", "127.1.0.1:8080"})) ==
        Kinds{"weight_changed"});
  CHECK(kinds_of(run(published, {"--json", "-n", "1"})).size() == 1);
  CHECK(kinds_of(run(published, {"--json", "-n", "0"})).empty());
  CHECK(kinds_of(run(published, {"--json", "--since", "1h"})).size() == 3);
  CHECK(kinds_of(run(published, {"--json", "--since", "2999-01-01"})).empty());
}

TEST_CASE("times that are no times are refused with what to write") {
  Published published(web(1));
  for (const char* text :
       {"yesterday", "10", "5 m", "2026-02-31", "2026-01-01T10", "12:00", "-5m"}) {
    const CliOutput output = run(published, {std::string("--since=") + text});
    CHECK_MESSAGE(output.status == 2, text);
    CHECK(output.errors.find("is no time: write 90s") != std::string::npos);
  }
}

TEST_CASE("moments") {
  const std::uint64_t now = 1'700'000'000 * kSecond;
  CHECK(parse_since("90s", now) == now - 90 * kSecond);
  CHECK(parse_since("2h", now) == now - 7200 * kSecond);
  CHECK(parse_since("3d", now) == now - 3 * 86400 * kSecond);
  CHECK(parse_since("99999999999d", now) == 0);
  CHECK(parse_since("2023-11-14T22:13:20Z", now) == now);
  CHECK(parse_since("2023-11-14 22:13:20", now) == now);
  CHECK(parse_since("2023-11-14T22:13", now) == now - 20 * kSecond);
  CHECK_FALSE(parse_since("", now));
  CHECK_FALSE(parse_since("2023-13-01", now));
  CHECK_FALSE(parse_since("2023-11-14T22:13:20Zx", now));
}

TEST_CASE("a history is there when nobody is any more") {
  tests::TempDir copy;
  {
    Published published(web(2));
    published.apply(web(2, 3));
    std::filesystem::copy(published.directory(), copy.path(),
                          std::filesystem::copy_options::recursive |
                              std::filesystem::copy_options::overwrite_existing);
  }
  const CliOutput output = run_cli({"events", "--json", "--dir", copy.path()}, {});
  CHECK(kinds_of(output) == Kinds{"weight_changed"});

  SUBCASE("also without the workers file, which is said") {
    for (const auto& entry : std::filesystem::directory_iterator(copy.path())) {
      if (entry.path().filename().string().starts_with("workers."))
        std::filesystem::remove(entry.path());
    }
    const CliOutput rest = run_cli({"events", "--json", "--dir", copy.path()}, {});
    CHECK(rest.status == 0);
    CHECK(kinds_of(rest) == Kinds{"weight_changed"});
    CHECK(rest.errors.find("events of workers are not shown") != std::string::npos);
  }
}

TEST_CASE("no files are an error that says what to do") {
  const tests::TempDir empty;
  const CliOutput output = run_cli({"events", "--dir", empty.path()}, {});
  CHECK(output.status == 1);
  CHECK(output.errors.find("no Ballast files in") != std::string::npos);
}

TEST_CASE("followed through growth and successors, nothing comes twice and nothing is left out") {
  Published published(web(2));
  published.apply(web(2, 2));
  std::uint32_t step = 0;
  std::vector<std::string> seen;
  // Called at every look: the world goes on one step.
  const Writer write = [&](std::string_view text) {
    for (const auto& line : json_of(std::string(text)))
      seen.push_back(line["kind"]);
    switch (step++) {
      case 0:
        published.apply(web(2, 3));
        break;
      case 1:
        published.apply(web(3000, 3));  // grows
        break;
      case 2:
        published.restart_with(web(3000, 4));
        break;
      case 3:
        published.apply(web(3000, 5));
        break;
      default:
        break;
    }
    return step < 7;
  };
  const CliOutput output =
      run_cli({"events", "--json", "--follow", "--dir", published.directory()}, {}, write);
  CHECK(output.status == 0);
  CHECK(std::count(seen.begin(), seen.end(), "weight_changed") == 4);
  CHECK(std::count(seen.begin(), seen.end(), "segment_grown") == 1);
  CHECK(std::count(seen.begin(), seen.end(), "members_changed") == 1);
}

}  // namespace ballast::tools
