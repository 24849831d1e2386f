// Pages of metrics: what is on them, that pieces make the same page as a whole, and that promtool
// finds nothing to complain of.
#include "engine/checker/metrics/page.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/support/hand_worker.hpp"
#include "tests/support/published.hpp"
#include "tests/support/scrape.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/temp_dir.hpp"

using namespace ballast;
using checker::LoopReport;
using checker::Page;
using checker::Surveyor;
using engine::Strategy;
using tests::Published;
using tests::Samples;
using tests::service_of;
using tests::settings_of;

namespace {

std::string whole(const std::shared_ptr<const checker::Survey>& survey,
                  std::size_t piece = std::size_t{1} << 30) {
  Page page(survey);
  std::string all;
  for (bool more = true; more;) {
    std::string out;
    more = page.append(out, piece);
    all += out;
  }
  return all;
}

struct World {
  World()
      : published(settings_of({service_of("checkout", Strategy::maglev, 3),
                               service_of("a \"b\" \\ c", Strategy::ketama, 2, 100)})),
        surveyor(published.directory(), 100, "1.2.3"),
        worker(published.publisher().segment()) {
    static_cast<void>(surveyor.survey({}));
  }
  std::string page(const LoopReport& loop = {}) { return whole(surveyor.survey(loop)); }

  Published published;
  Surveyor surveyor;
  tests::HandWorker worker;
};

}  // namespace

TEST_CASE("what a page says") {
  World world;
  const std::uint16_t slot = world.published.find(0, 1).slot;
  for (int i = 0; i < 3; ++i)
    world.worker.start(slot);
  world.worker.finish(slot);
  world.worker.finish(slot, shm::kReset);
  world.published.set_usable(0, 2, false);
  LoopReport loop;
  loop.in_charge = true;
  loop.backend = checker::Backend::epoll;
  loop.prober.checks = 77;
  const Samples samples(world.page(loop));
  CHECK(samples.at("ballast_build_info{version=\"1.2.3\",layout=\"" + std::to_string(shm::kMajor) +
                   "\"}") == 1);
  CHECK(samples.at("ballast_table_readable") == 1);
  CHECK(samples.at("ballast_checker_in_charge") == 1);
  CHECK(samples.at("ballast_loop_info{backend=\"epoll\"}") == 1);
  CHECK(samples.at("ballast_prober_checks_total") == 77);
  CHECK(samples.at("ballast_services") == 2);
  CHECK(samples.at("ballast_rows_claimed") == 1);
  CHECK(samples.at("ballast_service_info{service=\"checkout\",strategy=\"maglev\"}") == 1);
  CHECK(samples.at("ballast_service_instances{service=\"checkout\",state=\"down\"}") == 1);
  CHECK(samples.at("ballast_service_instances{service=\"checkout\",state=\"in_use\"}") == 2);
  CHECK(samples.at("ballast_service_picks_total{service=\"checkout\"}") == 3);
  CHECK(samples.at("ballast_service_in_flight{service=\"checkout\"}") == 1);
  CHECK(samples.at("ballast_service_outcomes_total{service=\"checkout\",outcome=\"reset\"}") == 1);
  const std::string instance = "{service=\"checkout\",instance=\"127.1.0.2:8080\"";
  CHECK(samples.at("ballast_instance_picks_total" + instance + "}") == 3);
  CHECK(samples.at("ballast_instance_outcomes_total" + instance + ",outcome=\"success\"}") == 1);
  CHECK(samples.at("ballast_instance_in_flight" + instance + "}") == 1);
  CHECK(samples.at("ballast_instance_up{service=\"checkout\",instance=\"127.1.0.3:8080\"}") == 0);
  // Escaped.
  CHECK(samples.at("ballast_service_epoch{service=\"a \\\"b\\\" \\\\ c\"}") == 1);
}

TEST_CASE("checks by service, kind and reason") {
  World world;
  checker::CheckTally tally;
  using checker::CheckKind;
  using std::chrono::microseconds;
  tally.count("checkout", CheckKind::http, {shm::Reason::passed, 200, microseconds(80)});
  tally.count("checkout", CheckKind::http, {shm::Reason::timeout, 0, microseconds(1'500'000)});
  tally.count("checkout", CheckKind::agent, {shm::Reason::closed, 0, microseconds(10)});
  tally.count("departed", CheckKind::tcp, {shm::Reason::passed, 0, microseconds(10)});
  checker::Settings settings;
  settings.services.push_back(service_of("checkout", Strategy::maglev, 1));
  tally.keep(settings);
  tally.count("checkout", CheckKind::http, {shm::Reason::timeout, 0, microseconds(1'000'000)});
  LoopReport loop;
  loop.checks = tally.all();
  const std::string page = world.page(loop);
  CHECK(page.find("departed") == std::string::npos);
  const Samples samples(page);
  const std::string http = "service=\"checkout\",kind=\"http\"";
  const std::string agent = "service=\"checkout\",kind=\"agent\"";
  CHECK(samples.at("ballast_check_failures_total{" + http + ",reason=\"timeout\"}") == 2);
  CHECK(samples.at("ballast_check_failures_total{" + agent + ",reason=\"closed\"}") == 1);
  CHECK(samples.at("ballast_check_duration_seconds_bucket{" + http + ",le=\"0.0001\"}") == 1);
  CHECK(samples.at("ballast_check_duration_seconds_bucket{" + http + ",le=\"1.0\"}") == 2);
  CHECK(samples.at("ballast_check_duration_seconds_count{" + http + "}") == 3);
  CHECK(samples.at("ballast_check_duration_seconds_sum{" + http + "}") == doctest::Approx(2.50008));
  CHECK(samples.at("ballast_check_duration_seconds_count{" + agent + "}") == 1);
}

TEST_CASE("events that newer ones have overwritten are counted") {
  World world;
  const Samples few(world.page());
  CHECK(few.at("ballast_events_overwritten_total{writer=\"checker\"}") == 0);
  const auto room = world.published.publisher().segment().table.events.size();
  checker::Survey survey = *world.surveyor.survey({});
  survey.table_events = room + 5;
  const Samples many(whole(std::make_shared<const checker::Survey>(survey)));
  CHECK(survey.table_event_room == room);
  CHECK(many.at("ballast_events_overwritten_total{writer=\"checker\"}") == 5);
}

TEST_CASE("open descriptors are left out where the kernel does not say them") {
  World world;
  checker::Survey survey = *world.surveyor.survey({});
  survey.process.open_descriptors.reset();
  CHECK(whole(std::make_shared<const checker::Survey>(survey)).find("\nprocess_open_fds ") ==
        std::string::npos);
  survey.process.open_descriptors = 7;
  CHECK(Samples(whole(std::make_shared<const checker::Survey>(survey))).at("process_open_fds") ==
        7);
}

TEST_CASE("a histogram adds up") {
  World world;
  const auto row = world.worker.row.services()[0].latency_buckets;
  row[0].store(1, std::memory_order_relaxed);
  row[6].store(2, std::memory_order_relaxed);
  row[shm::kLatencyBuckets - 1].store(4, std::memory_order_relaxed);
  world.worker.row.services()[0].latency_sum_us.store(1'500'000, std::memory_order_relaxed);
  const Samples samples(world.page());
  const auto bucket = [&](const char* le) {
    return samples.at("ballast_service_request_duration_seconds_bucket{service=\"checkout\",le=\"" +
                      std::string(le) + "\"}");
  };
  CHECK(bucket("0.0001") == 1);
  CHECK(bucket("0.0025") == 1);
  CHECK(bucket("0.005") == 3);
  CHECK(bucket("1.0") == 3);
  CHECK(bucket("100.0") == 3);
  CHECK(bucket("+Inf") == 7);
  CHECK(samples.at("ballast_service_request_duration_seconds_sum{service=\"checkout\"}") == 1.5);
  CHECK(samples.at("ballast_service_request_duration_seconds_count{service=\"checkout\"}") == 7);
}

TEST_CASE("pieces of any size make the same page") {
  World world;
  const auto survey = world.surveyor.survey({});
  const std::string page = whole(survey);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{100}, std::size_t{4096}})
    CHECK(whole(survey, piece) == page);
}

TEST_CASE("each family has one head, and its samples stand together") {
  World world;
  std::istringstream lines(world.page());
  std::set<std::string> seen;
  std::string family;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP ")) {
      family = line.substr(7, line.find(' ', 7) - 7);
      CHECK_MESSAGE(seen.insert(family).second, line);
    } else if (!line.starts_with('#')) {
      CHECK_MESSAGE(line.starts_with(family), line);
    }
  }
  CHECK(seen.size() > 60);
}

TEST_CASE("without a table there is a page all the same") {
  const tests::TempDir empty;
  Surveyor surveyor(empty.path(), 100, "1");
  const Samples samples(whole(surveyor.survey({})));
  CHECK(samples.at("ballast_table_readable") == 0);
  CHECK_FALSE(samples.find("ballast_heartbeats_total"));
  CHECK(samples.find("process_resident_memory_bytes"));
}

TEST_CASE("promtool has nothing to complain of") {
  if (std::system("command -v promtool >/dev/null 2>&1") != 0) {  // NOLINT(concurrency-mt-unsafe)
    tests::skip("promtool is not installed (package prometheus)");
    return;
  }
  World world;
  const std::uint16_t slot = world.published.find(0, 1).slot;
  world.worker.start(slot);
  world.worker.finish(slot, shm::kTimeout);
  const tests::TempDir dir;
  checker::CheckTally tally;
  tally.count("checkout", checker::CheckKind::grpc, {shm::Reason::timeout});
  LoopReport loop;
  loop.checks = tally.all();
  std::ofstream(dir.path() + "/page") << world.page(loop);
  const std::string command =
      "promtool check metrics < " + dir.path() + "/page > " + dir.path() + "/said 2>&1";
  const int status = std::system(command.c_str());  // NOLINT(concurrency-mt-unsafe)
  std::ostringstream said;
  said << std::ifstream(dir.path() + "/said").rdbuf();
  CHECK_MESSAGE((WIFEXITED(status) && WEXITSTATUS(status) == 0), said.str());
  CHECK(said.str().empty());
}
