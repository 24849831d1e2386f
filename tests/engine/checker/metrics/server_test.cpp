// The server of metrics: its answers, and that scrapers who are slow, stuck, hostile or many cost
// nothing but their own connections.
#include "engine/checker/metrics/server.hpp"

#include <doctest/doctest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/published.hpp"
#include "tests/support/scrape.hpp"
#include "tests/support/skip.hpp"

using namespace ballast;
using checker::LoopReport;
using checker::Mailbox;
using checker::MetricsServer;
using engine::Strategy;
using std::chrono::steady_clock;
using tests::get;
using tests::parse_answer;
using tests::Published;
using tests::Samples;
using tests::Scraper;
using tests::service_of;
using tests::settings_of;

namespace {

constexpr const char* kRequest = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

struct World {
  explicit World(int instances = 3, std::chrono::milliseconds conversation = checker::kScrapeTime)
      : published(settings_of({service_of("checkout", Strategy::round_robin, instances)})) {
    report(true);
    checker::MetricsOptions options;
    options.listen = {shm::Family::ipv4, 0, {127, 0, 0, 1}};
    options.directory = published.directory();
    options.version = "1";
    options.conversation = conversation;
    auto started = MetricsServer::start(options, mailbox);
    REQUIRE_MESSAGE(started, started.error().to_text());
    server = std::move(*started);
  }
  void report(bool in_charge, steady_clock::time_point made = steady_clock::now()) {
    LoopReport& draft = mailbox.draft();
    draft = {};
    draft.made = made;
    draft.in_charge = in_charge;
    mailbox.post();
  }
  [[nodiscard]] const shm::Endpoint& where() const { return server->address(); }

  Published published;
  Mailbox<LoopReport> mailbox;
  std::unique_ptr<MetricsServer> server;
};

}  // namespace

TEST_CASE("a page of metrics") {
  const World world;
  const auto answer = get(world.where(), "/metrics");
  CHECK(answer.status == 200);
  CHECK(answer.head.find("Content-Type: text/plain; version=0.0.4") != std::string::npos);
  const Samples samples(answer.body);
  CHECK(samples.at("ballast_service_instances{service=\"checkout\",state=\"in_use\"}") == 3);
  CHECK(get(world.where(), "/metrics?name[]=x").status == 200);
}

TEST_CASE("one that is to go is not waited for, and its address is free at once") {
  World world;
  const Scraper kept(world.where());
  REQUIRE(kept.send(kRequest));
  const shm::Endpoint where = world.where();
  world.server->retire();
  Mailbox<LoopReport> mailbox;
  checker::MetricsOptions options;
  options.listen = where;
  options.directory = world.published.directory();
  const auto next = MetricsServer::start(options, mailbox);
  REQUIRE_MESSAGE(next, next.error().to_text());
  CHECK(get(where, "/").status == 200);
  while (!world.server->ended())
    std::this_thread::yield();
}

// As a service manager's filter does it: this thread may do all but set priorities. False: no
// filters here.
bool forbid_setpriority() {
  std::array<sock_filter, 4> rules{{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setpriority, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program{rules.size(), rules.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_CASE("a priority that it may not lower is said, and answers come all the same") {
  const World world;
  bool could_forbid = false;
  bool answers = false;
  std::atomic<bool> told{false};
  // Threads inherit filters: the server's, from this one. The test's own thread keeps none.
  std::thread([&] {
    could_forbid = forbid_setpriority();
    if (!could_forbid) return;
    Mailbox<LoopReport> mailbox;
    checker::MetricsOptions options;
    options.listen = {shm::Family::ipv4, 0, {127, 0, 0, 1}};
    options.directory = world.published.directory();
    options.on_trouble = [&](const shm::Error& error) {
      // Relaxed: the server's thread is joined before it is read.
      told.store(error.to_text().find("setpriority") != std::string::npos,
                 std::memory_order_relaxed);
    };
    const auto started = MetricsServer::start(options, mailbox);
    answers = started && get((*started)->address(), "/").status == 200;
  }).join();
  if (!could_forbid) return tests::skip("no seccomp here");
  CHECK(answers);
  CHECK(told.load(std::memory_order_relaxed));  // relaxed: as above
}

TEST_CASE("other requests") {
  const World world;
  CHECK(get(world.where(), "/").status == 200);
  const auto lost = get(world.where(), "/metric");
  CHECK(lost.status == 404);
  CHECK(lost.body == "not found: there are /metrics and /health\n");
  const auto say = [&](const std::string& request) {
    const Scraper scraper(world.where());
    REQUIRE(scraper.send(request));
    return parse_answer(scraper.until_end());
  };
  CHECK(say("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").status == 405);
  CHECK(say("rubbish\r\n\r\n").status == 400);
  CHECK(say("GET /metrics HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n").status == 431);
  const auto old = say("GET /metrics HTTP/1.0\r\n\r\n");
  CHECK(old.head.find("chunked") == std::string::npos);
  CHECK(Samples(old.body).at("ballast_table_readable") == 1);
  const auto head = say("HEAD /metrics HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(head.status == 200);
  CHECK(head.body.empty());
}

TEST_CASE("health is that of the loop") {
  World world;
  world.report(true);
  CHECK(get(world.where(), "/health").status == 200);
  world.report(true, steady_clock::now() - std::chrono::seconds(30));
  auto answer = get(world.where(), "/health");
  CHECK(answer.status == 503);
  CHECK(answer.body == "the checker stands still\n");
  world.report(false);
  answer = get(world.where(), "/health");
  CHECK(answer.status == 503);
  CHECK(answer.body == "not in charge\n");
}

TEST_CASE("a connection is kept, also for requests that come all at once") {
  const World world;
  const Scraper scraper(world.where());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(scraper.send(kRequest));
    CHECK(scraper.until("\r\n0\r\n\r\n").find("ballast_heartbeats_total") != std::string::npos);
  }
  const std::string other = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  REQUIRE(scraper.send(other + other + "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"));
  const std::string all = scraper.until_end();
  std::size_t count = 0;
  for (std::size_t at = all.find("HTTP/1.1 200"); at != std::string::npos;
       at = all.find("HTTP/1.1 200", at + 1))
    ++count;
  CHECK(count == 3);
}

TEST_CASE("a request that does not end, or is never made, ends with its time") {
  const World world(3, std::chrono::milliseconds(100));
  const Scraper silent(world.where());
  const Scraper slow(world.where());
  REQUIRE(slow.send("GET /metrics HTTP/1.1\r\nX: "));
  CHECK(silent.until_end().empty());
  CHECK(slow.until_end().empty());
}

TEST_CASE("who takes no bytes is cut off, others are served meanwhile") {
  const World world(2000, std::chrono::milliseconds(500));
  const Scraper stuck(world.where(), 4096);
  REQUIRE(stuck.send(kRequest));
  CHECK(get(world.where(), "/metrics").status == 200);
  // Its time ends long before it could have had everything; then it is let go in the middle.
  stuck.wait_for_reset();
  const std::string got = stuck.until_end();
  CHECK(got.find("ballast_build_info") != std::string::npos);
  CHECK_FALSE(got.ends_with("\r\n0\r\n\r\n"));
}

TEST_CASE("however many connections there are, one more is served") {
  World world(2000);
  std::vector<std::unique_ptr<Scraper>> crowd;
  for (std::size_t i = 0; i < 5 * checker::kMaxScrapers; ++i) {
    crowd.push_back(std::make_unique<Scraper>(world.where(), 4096));
    if (i % 2 == 0) static_cast<void>(crowd.back()->send(kRequest));
    if (i % 3 == 0) static_cast<void>(crowd.back()->send("GET /"));
  }
  CHECK(get(world.where(), "/metrics").status == 200);
  world.report(true);
  CHECK(get(world.where(), "/health").status == 200);
}

TEST_CASE("a page is whole for who is slow but does go on") {
  const World world(500);
  const Scraper slow(world.where(), 4096);
  REQUIRE(slow.send("GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"));
  const auto answer = parse_answer(slow.until_end());
  const Samples samples(answer.body);
  CHECK(samples.at("ballast_instance_usable{service=\"checkout\",instance=\"127.1.1.250:8080\"}") ==
        1);
}

TEST_CASE("an address in use is an error that says what to do") {
  World world;
  checker::MetricsOptions options;
  options.listen = world.where();
  Mailbox<LoopReport> other;
  const auto second = MetricsServer::start(options, other);
  REQUIRE_FALSE(second);
  CHECK(second.error().to_text().find("choose another metrics.listen") != std::string::npos);
  // And it is free again as soon as the first is gone.
  world.server.reset();
  CHECK(MetricsServer::start(options, other));
}
