// HAProxy's own agent format: one agent answers a real HAProxy and a check of ours, and after each
// of its words both think the same of the instance.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "engine/agent_word.hpp"
#include "engine/checker/probing/prober.hpp"
#include "tests/support/line_server.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/probing.hpp"
#include "tests/support/server_process.hpp"
#include "tests/support/skip.hpp"

namespace ballast::checker {
namespace {

using engine::AgentReport;
using shm::Admin;

const std::string kHaproxy = "/usr/sbin/haproxy";

// A HAProxy with one server, "web/one", whose agent is at `agent`.
class Haproxy {
 public:
  explicit Haproxy(const shm::Endpoint& agent) {
    std::ofstream(process_.directory() + "/conf")
        << "global\n  stats socket " << socket() << " level user\n"
        << "defaults\n  mode tcp\n  timeout connect 20s\n  timeout client 20s\n"
        << "  timeout server 20s\n  timeout check 20s\n"
        << "listen web\n  bind " << process_.endpoint().to_text() << "\n  server one "
        << agent.to_text() << " weight 100 agent-check agent-inter 20ms agent-addr 127.0.0.1 "
        << "agent-port " << agent.port << "\n";
    process_.start({kHaproxy, "-db", "-f", process_.directory() + "/conf"});
  }

  // A field of `show stat` about the server; empty if it cannot be had.
  std::map<std::string, std::string> stat() {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket().copy(address.sun_path, sizeof address.sun_path - 1);
    std::string text;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        send(fd, "show stat\n", 10, MSG_NOSIGNAL) == 10) {
      std::array<char, 4096> bytes{};
      for (ssize_t n = 0; (n = recv(fd, bytes.data(), bytes.size(), 0)) > 0;)
        text.append(bytes.data(), static_cast<std::size_t>(n));
    }
    close(fd);
    std::istringstream lines(text);
    std::string names;
    std::getline(lines, names);
    std::map<std::string, std::string> fields;
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("web,one,")) continue;
      std::istringstream keys(names);
      std::istringstream values(line);
      std::string key;
      for (std::string value; std::getline(keys, key, ',') && std::getline(values, value, ',');)
        fields[key] = value;
    }
    return fields;
  }

 private:
  [[nodiscard]] std::string socket() const { return process_.directory() + "/s"; }

  tests::ServerProcess process_;
};

// What HAProxy's status has to begin with. It calls a server without a check of its own "no check".
std::string status_of(const AgentReport& report) {
  if (report.admin == Admin::maintenance) return "MAINT";
  if (report.up == false) return "DOWN";
  if (report.admin == Admin::drain) return "DRAIN";  // a weight of 0 it drains without saying so
  return "no check";
}

TEST_CASE("HAProxy and a check of ours make the same of what an agent says") {
  if (access(kHaproxy.c_str(), X_OK) != 0) return tests::skip("no haproxy (apt install haproxy)");
  tests::LineServer agent("up ready 100%\n");
  Haproxy haproxy(agent.endpoint());
  tests::Probing bench(Backend::automatic);
  CheckSettings check = tests::quick();
  check.kind = CheckKind::agent;
  bench.add(1, agent.endpoint(), check);

  AgentReport ours;
  for (const std::string line : {"up ready 100%",
                                 "75%",
                                 "drain",
                                 "50%",
                                 "ready",
                                 "down #the database is gone",
                                 "up",
                                 "maint",
                                 "ready,up\t100%",
                                 "STOPPED",
                                 "Up",
                                 "fail # for now",
                                 "up 0%",
                                 "10%",
                                 "fail",
                                 "up maxconn:30",
                                 "maxconn:0",
                                 "drain 40% up",
                                 "nonsense ready",
                                 "unheard-of",
                                 "up,ready,100%"}) {
    CAPTURE(line);
    agent.say(line + "\n");
    // Twice, since the first may have been asked before.
    const std::size_t before = bench.checks[1].size();
    bench.until([&] {
      agent.turn();
      return bench.checks[1].size() >= before + 2;
    });
    ours = engine::merged(ours, bench.checks[1].back().agent.value_or(AgentReport{}));
    std::map<std::string, std::string> theirs;
    const auto agree = [&] {
      theirs = haproxy.stat();
      return theirs["status"].starts_with(status_of(ours)) &&
             theirs["weight"] == std::to_string(ours.weight_percent.value_or(100)) &&
             (theirs["slim"].empty() ? "0" : theirs["slim"]) ==
                 std::to_string(engine::agent_limit(ours));
    };
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    bench.until([&] {
      agent.turn();
      return agree() || std::chrono::steady_clock::now() > limit;
    });
    CAPTURE(theirs["status"]);
    CAPTURE(theirs["weight"]);
    CAPTURE(theirs["slim"]);
    CAPTURE(status_of(ours));
    CHECK(agree());
  }
}

}  // namespace
}  // namespace ballast::checker
