// The examples of the documentation, run as a reader would run them, with real servers behind them.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/support/child.hpp"
#include "tests/support/published.hpp"
#include "tests/support/tiny_server.hpp"

using namespace ballast;
using tests::Published;

namespace {

constexpr int kTries = 3000;  // of 10 ms, for what comes soon

const char* example(const char* name) {
  const char* program = std::getenv((std::string("BALLAST_EXAMPLE_") + name).c_str());
  REQUIRE_MESSAGE(program != nullptr, "BALLAST_EXAMPLE_" << name << " names the example to run");
  return program;
}

struct Ran {
  std::string output;
  int status = -1;
};

Ran run(const char* name, const std::string& arguments, const std::string& shell = "") {
  Ran ran;
  FILE* pipe = ::popen((shell + example(name) + " " + arguments).c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 256> buffer{};
  while (std::fgets(buffer.data(), buffer.size(), pipe) != nullptr)
    ran.output += buffer.data();
  ran.status = ::pclose(pipe);
  return ran;
}

// Three servers, and a service of them that picks by the key.
struct World {
  std::vector<std::uint16_t> ports;
  std::array<std::optional<tests::TinyServer>, 3> servers;
  std::optional<Published> published;

  explicit World(engine::Strategy strategy = engine::Strategy::maglev) {
    checker::ServiceSettings service = tests::service_of("web", strategy, 0);
    for (auto& server : servers) {
      ports.push_back(tests::free_port());
      const shm::Endpoint at = tests::local_endpoint(ports.back());
      server.emplace(tests::Behaviour::good, std::vector{at});
      service.instances.push_back({at, at.to_text(), 1});
    }
    published.emplace(tests::settings_of({service}, 64));
  }
  [[nodiscard]] std::uint64_t sum(shm::CounterIndex counter) const {
    std::uint64_t total = 0;
    for (std::uint32_t slot = 0; slot < 3; ++slot)
      total += published->totals(published->find(0, slot).slot).values[counter];
    return total;
  }
};

// The answer to one request on a connection of its own; empty: none.
std::string get(std::uint16_t port, const std::string& path) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage address{};
  const socklen_t length = tests::local_endpoint(port).to_sockaddr(address);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0) {
    const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
    static_cast<void>(!::send(fd, request.data(), request.size(), MSG_NOSIGNAL));
    std::array<char, 1024> buffer{};
    for (;;) {
      pollfd wanted{fd, POLLIN, 0};
      if (::poll(&wanted, 1, 30'000) != 1) break;
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got <= 0) break;
      answer.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  ::close(fd);
  return answer;
}

std::set<pid_t> children_of(pid_t pid) {
  const std::string id = std::to_string(pid);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  std::set<pid_t> children;
  for (pid_t child = 0; file >> child;)
    children.insert(child);
  return children;
}

}  // namespace

TEST_CASE("both examples pick the same instance, and say what is wrong") {
  Published published(tests::settings_of({tests::service_of("web", engine::Strategy::maglev, 20)}));
  const Ran c = run("C", published.directory() + " web user:42");
  const Ran cpp = run("CPP", published.directory() + " web user:42");
  CHECK(c.status == 0);
  CHECK(cpp.status == 0);
  CHECK(c.output.starts_with("127.1.0."));
  CHECK(c.output == cpp.output);
  CHECK(published.in_flight() == 0);
  for (const char* name : {"C", "CPP"}) {
    const Ran unknown = run(name, published.directory() + " mail user:42");
    CHECK(unknown.status != 0);
    CHECK(unknown.output.find("no service of that name") != std::string::npos);
    const Ran nobody = run(name, published.directory() + "/nobody web user:42");
    CHECK(nobody.status != 0);
    CHECK(nobody.output.find("start ballastd") != std::string::npos);
  }
}

TEST_CASE("threads: each with a balancer of its own") {
  const World world(engine::Strategy::round_robin);
  const Ran ran = run("THREADS", world.published->directory() + " web 8 500");
  CHECK(ran.status == 0);
  CHECK(ran.output == "4000 answered\n");
  CHECK(world.sum(shm::kSuccess) == 4000);
  CHECK(world.published->in_flight() == 0);
  const Ran nobody = run("THREADS", world.published->directory() + "/nobody web 1 1");
  CHECK(nobody.status != 0);
  CHECK(nobody.output.find("start ballastd") != std::string::npos);
}

TEST_CASE("coroutines: hundreds of requests at a time on one thread, over real connections") {
  World world;
  const Ran ran = run("COROUTINES", world.published->directory() + " web 1000");
  CHECK(ran.status == 0);
  CHECK(ran.output == "1000 answered\n");
  CHECK(world.sum(shm::kSuccess) == 1000);
  CHECK(world.sum(shm::kLatencyCount) == 1000);
  CHECK(world.published->in_flight() == 0);
  world.servers[1]->kill();
  const Ran with_one_dead = run("COROUTINES", world.published->directory() + " web 300");
  CHECK(with_one_dead.status == 0);
  const std::uint64_t refused = world.sum(shm::kConnectFailure);
  CHECK(refused > 0);
  CHECK(with_one_dead.output == std::to_string(300 - refused) + " answered\n");
  CHECK(world.published->in_flight() == 0);
}

TEST_CASE("coroutines: without sockets of their own they do not wait, and blame nobody") {
  World world;
  const Ran ran =
      run("COROUTINES", world.published->directory() + " web 200", "ulimit -n 16; exec ");
  CHECK(ran.status == 0);
  const std::uint64_t answered = world.sum(shm::kSuccess);
  CHECK(ran.output == std::to_string(answered) + " answered\n");
  CHECK(answered > 0);
  CHECK(answered < 200);
  CHECK(world.sum(shm::kAbandoned) == 200 - answered);
  CHECK(world.published->in_flight() == 0);
}

TEST_CASE("prefork: a dead instance costs a retry, and a dead worker nothing") {
  World world;
  const std::uint16_t port = tests::free_port();
  const std::string directory = world.published->directory();
  const std::string text = std::to_string(port);
  const char* program = example("PREFORK");
  const pid_t server = ::fork();
  if (server == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::execl(program, "prefork", directory.c_str(), "web", text.c_str(), "4",
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
  for (int i = 0; i < kTries && (get(port, "/first").empty() || children_of(server).size() < 4);
       ++i)
    ::usleep(10'000);
  std::set<std::string> instances;
  for (int i = 0; i < 100; ++i) {
    const std::string answer = get(port, "/key" + std::to_string(i));
    CHECK(answer.starts_with("HTTP/1.0 200 OK\r\n"));
    instances.insert(answer.substr(answer.rfind('\n') + 1));
  }
  CHECK(instances.size() == 3);

  world.servers[0]->kill();
  for (int i = 0; i < 100; ++i)
    CHECK(get(port, "/key" + std::to_string(i)).starts_with("HTTP/1.0 200 OK\r\n"));
  CHECK(world.sum(shm::kConnectFailure) > 0);

  const std::set<pid_t> before = children_of(server);
  REQUIRE(before.size() == 4);
  ::kill(*before.begin(), SIGKILL);
  for (int i = 0; i < kTries && (children_of(server) == before || children_of(server).size() < 4);
       ++i)
    ::usleep(10'000);
  const std::set<pid_t> after = children_of(server);
  CHECK(after.size() == 4);
  CHECK(!after.contains(*before.begin()));
  for (int i = 0; i < 100; ++i)
    CHECK(get(port, "/key" + std::to_string(i)).starts_with("HTTP/1.0 200 OK\r\n"));

  ::kill(server, SIGTERM);
  CHECK(tests::exit_of(server) == 0);
  for (const pid_t worker : after)
    CHECK(::kill(worker, 0) != 0);
  world.published->publisher().tick();
  CHECK(world.published->in_flight() == 0);
}
