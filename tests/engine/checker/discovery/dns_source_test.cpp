// A DNS source against a name server that does what the test wants, on the same loop: what becomes
// of each kind of answer, of none, and of one after the other.
#include "engine/checker/discovery/dns_source.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/fake_dns.hpp"
#include "tests/support/loops.hpp"

namespace ballast::checker {
namespace {

using std::chrono::milliseconds;
using tests::dns_a;
using tests::dns_cname;
using tests::dns_soa;
using tests::dns_srv;
using tests::DnsReply;
using tests::FakeDns;
using Strings = std::vector<std::string>;

constexpr std::uint16_t kA = 1;
constexpr std::uint16_t kAaaa = 28;
constexpr std::uint16_t kSrv = 33;

struct World {
  explicit World(Backend backend = Backend::automatic) {
    auto made = make_loop({backend, 0, nullptr});
    REQUIRE(made);
    loop = std::move(*made);
    server = std::make_unique<FakeDns>(*loop);
    context = std::make_unique<SourceContext>(*loop);
    settings.kind = SourceSettings::Kind::dns_address;
    settings.name = "web.test";
    settings.port = 80;
    settings.servers = {server->address()};
    server->replies[{"web.test", kAaaa}] = {};
  }
  void start() {
    source = context->make(settings);
    source->start([this](Discovered found) { reports.push_back(std::move(found)); });
    CHECK(reports.empty());
    until_reports(1);
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }
  void until_reports(std::size_t count) const {
    until([&] { return reports.size() >= count; });
  }
  void refresh() {
    const std::size_t before = reports.size();
    source->refresh();
    until_reports(before + 1);
  }
  [[nodiscard]] Strings named() const {
    Strings out;
    if (reports.empty()) return out;
    if (!reports.back().error.empty()) return {reports.back().error};
    for (const auto& one : reports.back().instances)
      out.push_back(one.text);
    return out;
  }

  std::unique_ptr<Loop> loop;
  std::unique_ptr<FakeDns> server;
  std::unique_ptr<SourceContext> context;
  SourceSettings settings;
  std::vector<Discovered> reports;
  std::unique_ptr<Source> source;
};

TEST_CASE("the addresses of both families, with the port from the settings") {
  tests::on_each_backend([](Backend backend) {
    World w(backend);
    w.server->replies[{"web.test", kA}] = {{dns_cname("web.test", "pool.test"),
                                            dns_a("pool.test", "10.0.0.2"),
                                            dns_a("pool.test", "10.0.0.1")}};
    w.server->replies[{"web.test", kAaaa}] = {{dns_a("web.test", "fd00::1")}};
    w.start();
    CHECK(w.named() == Strings{"10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"});
    CHECK(w.reports.back().note == "");
  });
}

TEST_CASE("answers in another order are nothing new") {
  World w;
  w.server->replies[{"web.test", kA}] = {
      {dns_a("web.test", "10.0.0.2", 0), dns_a("web.test", "10.0.0.1", 0)}};
  w.start();
  auto& answers = w.server->replies[{"web.test", kA}].answers;
  std::swap(answers[0], answers[1]);
  // A time to live of 0 is a second: it asks again by itself.
  w.until([&] { return w.server->asked("web.test", kA) >= 2; });
  w.refresh();
  CHECK(w.reports.size() == 2);  // the first, and the one that was asked for
  CHECK(w.named() == Strings{"10.0.0.1:80", "10.0.0.2:80"});
}

TEST_CASE("it asks again once the time to live is over") {
  World w;
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.1", 1)}};
  w.start();
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.2", 1)}};
  w.until_reports(2);
  CHECK(w.named() == Strings{"10.0.0.2:80"});
}

TEST_CASE("500 addresses, cut off over UDP, come over TCP") {
  World w;
  DnsReply reply;
  reply.truncated = true;
  for (int i = 0; i < 500; ++i) {
    reply.answers.push_back(
        dns_a("web.test", "10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250)));
  }
  w.server->replies[{"web.test", kA}] = reply;
  w.start();
  CHECK(w.reports.back().error == "");
  CHECK(w.reports.back().instances.size() == 500);
  CHECK(w.server->over_tcp == 1);
}

TEST_CASE("NXDOMAIN and no addresses are empty answers, SERVFAIL and silence are failures") {
  World w;
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.1")}};
  w.start();

  w.server->replies.clear();
  w.refresh();
  CHECK(w.reports.back().error == "");
  CHECK(w.reports.back().instances.empty());
  CHECK(w.reports.back().note == "web.test does not exist (NXDOMAIN)");

  w.server->replies[{"web.test", kA}] = {};
  w.server->replies[{"web.test", kAaaa}] = {};
  w.refresh();
  CHECK(w.reports.back().error == "");
  CHECK(w.reports.back().note == "web.test has no addresses");

  DnsReply failing;
  failing.rcode = 2;
  w.server->replies[{"web.test", kA}] = failing;
  w.server->replies[{"web.test", kAaaa}] = failing;
  w.refresh();
  CHECK(w.reports.back().error == "cannot look up A of web.test (" + w.server->address() +
                                      ": SERVFAIL), AAAA of web.test (" + w.server->address() +
                                      ": SERVFAIL)");

  DnsReply silent;
  silent.silent = true;
  w.server->replies[{"web.test", kA}] = silent;
  w.server->replies[{"web.test", kAaaa}] = silent;
  w.refresh();
  CHECK(w.reports.back().error.find(w.server->address() + ": no answer") != std::string::npos);

  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.7")}};
  w.server->replies[{"web.test", kAaaa}] = {};
  w.refresh();
  CHECK(w.named() == Strings{"10.0.0.7:80"});
}

TEST_CASE("nobody listening, and a damaged answer, are failures that name the server") {
  World w;
  w.settings.servers = {"127.0.0.1:" + std::to_string(tests::free_port())};
  w.start();
  CHECK(w.reports.back().error.find(w.settings.servers.front() + ": nobody listens") !=
        std::string::npos);
  w.settings.servers = {w.server->address()};
  w.server->replies[{"web.test", kA}].garbage = "\x01\x02";
  w.server->replies[{"web.test", kA}].answers = {dns_a("web.test", "10.0.0.1")};
  w.reports.clear();
  w.start();
  CHECK(w.reports.back().error.find("damaged") != std::string::npos);
}

TEST_CASE(
    "a server that fails is passed over for the next one, which is asked first from then on") {
  World w;
  FakeDns broken(*w.loop);
  DnsReply failing;
  failing.rcode = 5;
  broken.replies[{"web.test", kA}] = failing;
  broken.replies[{"web.test", kAaaa}] = failing;
  w.settings.servers = {broken.address(), w.server->address()};
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.1")}};
  w.start();
  CHECK(w.named() == Strings{"10.0.0.1:80"});
  const std::size_t asked = broken.asked("web.test", kA);
  CHECK(asked >= 1);
  w.refresh();
  CHECK(w.named() == Strings{"10.0.0.1:80"});
  CHECK(broken.asked("web.test", kA) == asked);
}

TEST_CASE("after an outage it goes on by itself, asking ever more seldom meanwhile") {
  World w;
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.1", 1)}};
  w.start();
  DnsReply failing;
  failing.rcode = 2;
  w.server->replies[{"web.test", kA}] = failing;
  w.server->replies[{"web.test", kAaaa}] = failing;
  w.until_reports(3);  // two failures in a row
  CHECK(w.reports[1].error != "");
  CHECK(w.reports[2].error != "");
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.1", 1)}};
  w.server->replies[{"web.test", kAaaa}] = {};
  w.until_reports(4);
  CHECK(w.named() == Strings{"10.0.0.1:80"});
}

TEST_CASE("one family that fails keeps what was known of it, and nothing that was not") {
  World w;
  DnsReply failing;
  failing.rcode = 2;
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.1")}};
  w.server->replies[{"web.test", kAaaa}] = failing;
  w.start();
  CHECK(w.named() == Strings{"10.0.0.1:80"});
  CHECK(w.reports.back().note.find("AAAA of web.test") != std::string::npos);
  CHECK(w.reports.back().partial);

  w.server->replies[{"web.test", kAaaa}] = {{dns_a("web.test", "fd00::1")}};
  w.refresh();
  CHECK(w.named() == Strings{"10.0.0.1:80", "[fd00::1]:80"});
  w.server->replies[{"web.test", kAaaa}] = failing;
  w.server->replies[{"web.test", kA}] = {{dns_a("web.test", "10.0.0.2")}};
  w.refresh();
  CHECK(w.named() == Strings{"10.0.0.2:80", "[fd00::1]:80"});
  CHECK_FALSE(w.reports.back().partial);
  // Empty on one side and unknown on the other is not empty.
  w.server->replies[{"web.test", kAaaa}] = {};
  w.refresh();
  w.server->replies[{"web.test", kAaaa}] = failing;
  w.server->replies[{"web.test", kA}] = {};
  w.refresh();
  CHECK(w.reports.back().error.find("cannot look up AAAA of web.test") == 0);
}

TEST_CASE("services bring ports, tiers and weights, with their addresses or without") {
  World w;
  w.settings.kind = SourceSettings::Kind::dns_srv;
  w.settings.name = "_web._tcp.test.";
  w.server->replies[{"_web._tcp.test", kSrv}] = {{dns_srv("_web._tcp.test", 20, 0, 8083, "c.test"),
                                                  dns_srv("_web._tcp.test", 10, 7, 8081, "a.test"),
                                                  dns_srv("_web._tcp.test", 10, 3, 8082, "B.test")},
                                                 {},
                                                 {dns_a("A.test", "10.0.0.1")}};
  w.server->replies[{"b.test", kA}] = {{dns_a("b.test", "10.0.0.2")}};
  w.server->replies[{"b.test", kAaaa}] = {{dns_a("b.test", "fd00::2")}};
  w.server->replies[{"c.test", kA}] = {{dns_a("c.test", "10.0.0.3")}};
  w.server->replies[{"c.test", kAaaa}] = {};
  w.start();
  CHECK(w.named() == Strings{"10.0.0.1:8081", "10.0.0.2:8082", "10.0.0.3:8083", "[fd00::2]:8082"});
  const auto& found = w.reports.back().instances;
  CHECK(found[0].weight == 7);
  CHECK(found[0].tier == 0);
  CHECK(found[1].weight == 3);
  CHECK(found[2].weight == 1);
  CHECK(found[2].tier == 1);
  CHECK(found[3].weight == 3);
  CHECK(w.server->asked("a.test", kA) == 0);

  // A target that cannot be looked up keeps its address, one that is gone does not.
  w.server->replies[{"b.test", kA}].silent = true;
  w.server->replies[{"b.test", kAaaa}].silent = true;
  w.server->replies.erase({"c.test", kA});
  w.server->replies.erase({"c.test", kAaaa});
  w.refresh();
  CHECK(w.named() == Strings{"10.0.0.1:8081", "10.0.0.2:8082", "[fd00::2]:8082"});
  CHECK(w.reports.back().note.find("b.test") != std::string::npos);

  w.server->replies[{"_web._tcp.test", kSrv}].rcode = 2;
  w.refresh();
  CHECK(w.reports.back().error.find("cannot look up SRV of _web._tcp.test") == 0);
}

TEST_CASE("an answer that leads to more than is taken is a failure, and is not looked up") {
  World w;
  w.settings.kind = SourceSettings::Kind::dns_srv;
  w.settings.name = "_web._tcp.test";
  DnsReply reply;
  reply.truncated = true;
  for (std::size_t i = 0; i <= kMaxDnsTargets; ++i)
    reply.answers.push_back(dns_srv("_web._tcp.test", 1, 1, 80, "t" + std::to_string(i)));
  w.server->replies[{"_web._tcp.test", kSrv}] = reply;
  w.start();
  CHECK(w.reports.back().error == "_web._tcp.test: 1025 targets: at most 1024 are looked up");
  CHECK(w.server->asked("t0", kA) == 0);

  reply.answers.clear();
  for (std::uint16_t port = 1; port <= 200; ++port)
    reply.answers.push_back(dns_srv("_web._tcp.test", 1, 1, port, "a"));
  w.server->replies[{"_web._tcp.test", kSrv}] = reply;
  DnsReply addresses;
  addresses.truncated = true;
  for (int i = 0; i < 500; ++i) {
    addresses.answers.push_back(
        dns_a("a", "10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250)));
  }
  w.server->replies[{"a", kA}] = addresses;
  w.server->replies[{"a", kAaaa}] = {};
  w.refresh();
  CHECK(w.reports.back().error ==
        "_web._tcp.test: 200 services lead to 100000 instances: at most 60000 are taken");
}

TEST_CASE("a source may go while it is looking") {
  World w;
  w.server->down = true;
  w.source = w.context->make(w.settings);
  w.source->start([](const Discovered& /*found*/) { FAIL("nobody is there to be told"); });
  w.until([&] { return w.server->asked("web.test", kA) > 0; });
  w.source.reset();
  w.loop->run_once(milliseconds(5));
  w.context.reset();
}

}  // namespace
}  // namespace ballast::checker
