// The bridge's server against clients that are slow, silent, too many or talk nonsense: the right
// ones get their answers all the same.
#include "tools/ballast/bridge_server.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/tiny_server.hpp"

using namespace ballast;
using tools::BridgeServer;

namespace {

constexpr int kPatienceMs = 30'000;

class Client {
 public:
  explicit Client(const shm::Endpoint& at) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_storage address{};
    const socklen_t length = at.to_sockaddr(address);
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), length) == 0);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { ::close(fd_); }

  void say(const std::string& text) const {
    REQUIRE(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
  }
  void say_no_more() const { ::shutdown(fd_, SHUT_WR); }
  // All until the server closes.
  [[nodiscard]] std::string hear() const {
    std::string heard;
    char buffer[512];
    for (;;) {
      pollfd wanted{fd_, POLLIN, 0};
      if (::poll(&wanted, 1, kPatienceMs) != 1) return heard + "(nothing more)";
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got <= 0) return heard;
      heard.append(buffer, static_cast<std::size_t>(got));
    }
  }

 private:
  int fd_;
};

// Answers with what it was asked.
class Running {
 public:
  explicit Running(const BridgeServer::Limits& limits = {})
      : at_(tests::local_endpoint(tests::free_port())), stop_(::eventfd(0, EFD_CLOEXEC)) {
    auto server = BridgeServer::listen(at_, limits, [](std::string_view line, std::uint64_t) {
      return line == "unknown" ? std::string() : "<" + std::string(line) + ">\n";
    });
    REQUIRE_MESSAGE(server, server.error().to_text());
    server_.emplace(std::move(*server));
    thread_ = std::thread([this] { ended_well_ = static_cast<bool>(server_->run(stop_)); });
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running() {
    ::eventfd_write(stop_, 1);
    thread_.join();
    CHECK(ended_well_);
    ::close(stop_);
  }
  [[nodiscard]] const shm::Endpoint& at() const noexcept { return at_; }

 private:
  shm::Endpoint at_;
  int stop_;
  std::optional<BridgeServer> server_;
  bool ended_well_ = false;
  std::thread thread_;
};

std::string ask(const shm::Endpoint& at, const std::string& text) {
  const Client client(at);
  client.say(text);
  return client.hear();
}

}  // namespace

TEST_CASE("a line in, a line out, and the end") {
  const Running server;
  CHECK(ask(server.at(), "web 10.0.0.1:80\n") == "<web 10.0.0.1:80>\n");
  CHECK(ask(server.at(), "web 10.0.0.1:80\r\n") == "<web 10.0.0.1:80>\n");
  CHECK(ask(server.at(), "one\ntwo\n") == "<one>\n");
  CHECK(ask(server.at(), "\n") == "<>\n");
  CHECK(ask(server.at(), "unknown\n").empty());
  const Client slow(server.at());
  slow.say("we");
  CHECK(ask(server.at(), "meanwhile\n") == "<meanwhile>\n");
  slow.say("b 10.0.0.1:80");
  slow.say_no_more();
  CHECK(slow.hear() == "<web 10.0.0.1:80>\n");
  const Client silent(server.at());
  silent.say_no_more();
  CHECK(silent.hear().empty());
}

TEST_CASE("a line without end is given up as soon as it is too long") {
  const Running server;
  const Client client(server.at());
  client.say(std::string(1000, 'x'));
  const std::string heard = client.hear();
  CHECK(heard.size() < 300);  // as the table judges it: no question
  CHECK(ask(server.at(), "next\n") == "<next>\n");
}

TEST_CASE("who does not ask in time is let go") {
  const Running server({16, 50});
  const Client silent(server.at());
  const Client half(server.at());
  half.say("we");
  CHECK(silent.hear().empty());
  CHECK(half.hear().empty());
  CHECK(ask(server.at(), "next\n") == "<next>\n");
}

TEST_CASE("too many that wait: the oldest makes room") {
  const Running server({8, 600'000});
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 50; ++i) {
    silent.push_back(std::make_unique<Client>(server.at()));
    silent.back()->say("x");
  }
  CHECK(ask(server.at(), "next\n") == "<next>\n");
  for (std::size_t i = 0; i < 40; ++i)
    CHECK(silent[i]->hear().empty());
  silent.back()->say("y\n");
  CHECK(silent.back()->hear() == "<xy>\n");
}

TEST_CASE("many in a hurry") {
  const Running server;
  std::vector<std::thread> threads;
  std::vector<int> answered(4, 0);
  for (std::size_t t = 0; t < answered.size(); ++t) {
    threads.emplace_back([&server, &answered, t] {
      for (int i = 0; i < 250; ++i) {
        if (ask(server.at(), std::to_string(i) + "\n") == "<" + std::to_string(i) + ">\n")
          ++answered[t];
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  for (const int count : answered)
    CHECK(count == 250);
}

TEST_CASE("an address that is taken is an error that says so") {
  const Running server;
  const auto second = BridgeServer::listen(
      server.at(), {}, [](std::string_view, std::uint64_t) { return std::string(); });
  REQUIRE(!second);
  CHECK(second.error().to_text().find("--listen") != std::string::npos);
}
