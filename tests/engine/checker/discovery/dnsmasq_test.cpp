// DNS sources against a real name server: dnsmasq on loopback.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/checker/discovery/source.hpp"
#include "tests/support/dnsmasq.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/skip.hpp"

namespace ballast::checker {
namespace {

using tests::Dnsmasq;
using Strings = std::vector<std::string>;

struct World {
  World() {
    auto made = make_loop({});
    REQUIRE(made);
    loop = std::move(*made);
    context = std::make_unique<SourceContext>(*loop);
  }
  void start(const SourceSettings& settings) {
    reports.clear();
    source = context->make(settings);
    source->start([this](Discovered found) { reports.push_back(std::move(found)); });
    until([&] { return !reports.empty(); });
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }
  void until_named(const Strings& addresses) const {
    until([&] { return named() == addresses; });
  }
  [[nodiscard]] Strings named() const {
    Strings out;
    if (!reports.back().error.empty()) return {"error"};
    for (const auto& one : reports.back().instances)
      out.push_back(one.text);
    return out;
  }

  std::unique_ptr<Loop> loop;
  std::unique_ptr<SourceContext> context;
  std::vector<Discovered> reports;
  std::unique_ptr<Source> source;
};

SourceSettings addresses_of(const std::string& name, const Dnsmasq& server) {
  SourceSettings settings;
  settings.kind = SourceSettings::Kind::dns_address;
  settings.name = name;
  settings.port = 80;
  settings.servers = {server.address()};
  return settings;
}

bool missing() {
  if (!tests::find_dnsmasq().empty()) return false;
  tests::skip("dnsmasq is not installed (package dnsmasq-base)");
  return true;
}

TEST_CASE("a name's addresses are followed as they change") {
  if (missing()) return;
  Dnsmasq server("10.0.0.1 web.test\n10.0.0.2 web.test\nfd00::1 web.test\n");
  World w;
  w.start(addresses_of("web.test", server));
  CHECK(w.named() == Strings{"10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"});
  server.set_hosts("10.0.0.2 web.test\n10.0.0.3 web.test\n");
  w.until_named({"10.0.0.2:80", "10.0.0.3:80"});
  server.set_hosts("10.0.0.2 other.test\n");
  w.until([&] { return w.reports.back().note == "web.test does not exist (NXDOMAIN)"; });
  CHECK(w.reports.back().instances.empty());
  CHECK(w.reports.back().error == "");
}

TEST_CASE("500 addresses do not fit into a datagram, and come all the same") {
  if (missing()) return;
  std::string hosts;
  for (int i = 0; i < 500; ++i)
    hosts += "10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250) + " many.test\n";
  Dnsmasq server(hosts);
  World w;
  w.start(addresses_of("many.test", server));
  CHECK(w.reports.back().error == "");
  CHECK(w.reports.back().instances.size() == 500);
}

TEST_CASE("an outage is a failure, and over when the server is back") {
  if (missing()) return;
  Dnsmasq server("10.0.0.1 web.test\n");
  World w;
  w.start(addresses_of("web.test", server));
  CHECK(w.named() == Strings{"10.0.0.1:80"});
  server.pause();  // says nothing, as a server behind a broken network
  w.until_named({"error"});
  CHECK(w.reports.back().error.find(server.address() + ": no answer") != std::string::npos);
  server.resume();
  w.until_named({"10.0.0.1:80"});
  server.stop();  // the kernel says that nobody listens
  w.until_named({"error"});
  server.start();
  w.until_named({"10.0.0.1:80"});
}

TEST_CASE("services with priorities and weights") {
  if (missing()) return;
  Dnsmasq server("10.0.0.1 a.test\n10.0.0.2 b.test\nfd00::2 b.test\n",
                 "srv-host=_web._tcp.test,a.test,8081,10,60\n"
                 "srv-host=_web._tcp.test,b.test,8082,20,40\n");
  World w;
  SourceSettings settings;
  settings.kind = SourceSettings::Kind::dns_srv;
  settings.name = "_web._tcp.test";
  settings.servers = {server.address()};
  w.start(settings);
  CHECK(w.reports.back().error == "");
  REQUIRE(w.named() == Strings{"10.0.0.1:8081", "10.0.0.2:8082", "[fd00::2]:8082"});
  CHECK(w.reports.back().instances[0].weight == 60);
  CHECK(w.reports.back().instances[0].tier == 0);
  CHECK(w.reports.back().instances[1].weight == 40);
  CHECK(w.reports.back().instances[1].tier == 1);
}

}  // namespace
}  // namespace ballast::checker
