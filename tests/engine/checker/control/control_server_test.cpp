// The control socket with well and ill behaved clients, on both backends of the loop.
#include "engine/checker/control/control_server.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/child.hpp"
#include "tests/support/line_client.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::checker {
namespace {

using tests::LineClient;

// A server that answers "re: LINE", at once or when the test says so.
struct Stage {
  explicit Stage(Backend backend, ControlLimits limits = {})
      : loop(std::move(*make_loop({backend, 0, nullptr}))),
        server(
            *loop,
            [this](ClientId id, const Peer& peer, std::string_view line) {
              asked.emplace_back(id, std::string(line));
              peers.push_back(peer);
              if (answers) server.answer(id, reply ? *reply : "re: " + std::string(line));
            },
            [this](ClientId id) { gone.push_back(id); }, limits) {
    const shm::Status listening = server.listen(path(), std::nullopt);
    REQUIRE_MESSAGE(listening, listening.error().to_text());
  }

  [[nodiscard]] std::string path() const { return dir.path() + "/control"; }
  std::string next_line(LineClient& client) const {
    tests::turn_until(*loop, [&] { return client.look(); });
    return client.line();
  }
  void wait_for_end(LineClient& client) const {
    tests::turn_until(*loop, [&] { return client.look() && client.ended(); });
  }
  void wait_for_requests(std::size_t count) const {
    tests::turn_until(*loop, [&] { return asked.size() >= count; });
  }

  tests::TempDir dir;
  std::unique_ptr<Loop> loop;
  bool answers = true;
  std::optional<std::string> reply;
  std::vector<std::pair<ClientId, std::string>> asked;
  std::vector<Peer> peers;
  std::vector<ClientId> gone;
  ControlServer server;
};

TEST_CASE("requests are answered in order, blank lines are not requests") {
  tests::on_each_backend([](Backend backend) {
    Stage stage(backend);
    LineClient client(stage.path());
    client.say("\n \r\none\r\ntwo\nthr");
    CHECK(stage.next_line(client) == "re: one\r");
    CHECK(stage.next_line(client) == "re: two");
    client.say("ee\n");
    CHECK(stage.next_line(client) == "re: three");
    REQUIRE(!stage.peers.empty());
    CHECK(stage.peers[0].pid == ::getpid());
    CHECK(stage.peers[0].uid == ::geteuid());
  });
}

TEST_CASE("blank lines without end") {
  tests::on_each_backend([](Backend backend) {
    ControlLimits limits;
    limits.blank_lines = 10;
    Stage stage(backend, limits);
    LineClient client(stage.path());
    client.say(std::string(10, '\n') + "one\n" + std::string(10, '\n') + "two\n");
    CHECK(stage.next_line(client) == "re: one");
    CHECK(stage.next_line(client) == "re: two");
    client.say(std::string(11, '\n') + "three\n");
    CHECK(stage.next_line(client).find("more than 10 blank lines") != std::string::npos);
    stage.wait_for_end(client);
    CHECK(stage.asked.size() == 2);
  });
}

TEST_CASE("a client's next request waits for the answer to the one before, others' do not") {
  tests::on_each_backend([](Backend backend) {
    Stage stage(backend);
    stage.answers = false;
    LineClient first(stage.path());
    LineClient second(stage.path());
    first.say("a1\na2\n");
    stage.wait_for_requests(1);
    second.say("b1\n");
    stage.wait_for_requests(2);
    CHECK(stage.asked[1].second == "b1");
    stage.server.answer(stage.asked[1].first, "to b1");
    CHECK(stage.next_line(second) == "to b1");
    stage.server.tell(stage.asked[0].first, "half way");
    stage.server.answer(stage.asked[0].first, "to a1");
    stage.server.answer(stage.asked[0].first, "twice: nobody hears it");
    stage.wait_for_requests(3);
    CHECK(stage.asked[2].second == "a2");
    stage.server.answer(stage.asked[2].first, "to a2");
    CHECK(stage.next_line(first) == "half way");
    CHECK(stage.next_line(first) == "to a1");
    CHECK(stage.next_line(first) == "to a2");
  });
}

TEST_CASE("a client that has said its last word is still answered") {
  tests::on_each_backend([](Backend backend) {
    Stage stage(backend);
    LineClient client(stage.path());
    client.say("one\ntwo\nno end");
    client.finish();
    CHECK(stage.next_line(client) == "re: one");
    CHECK(stage.next_line(client) == "re: two");
    stage.wait_for_end(client);
    CHECK(stage.asked.size() == 2);
  });
}

TEST_CASE("half a line, and then silence") {
  tests::on_each_backend([](Backend backend) {
    ControlLimits limits;
    limits.half_request = limits.sweep = Milliseconds(1);
    Stage stage(backend, limits);
    LineClient client(stage.path());
    client.say("{\"verb\": \"dra");
    CHECK(stage.next_line(client).find(R"("code":"timeout")") != std::string::npos);
    stage.wait_for_end(client);
    CHECK(stage.asked.empty());
  });
}

TEST_CASE("a client that asks nothing is not kept") {
  tests::on_each_backend([](Backend backend) {
    ControlLimits limits;
    limits.idle = limits.sweep = Milliseconds(1);
    Stage stage(backend, limits);
    LineClient client(stage.path());
    stage.wait_for_end(client);
    CHECK(stage.gone.empty());
  });
}

TEST_CASE("a client that never reads is given up, and holds nobody else up") {
  tests::on_each_backend([](Backend backend) {
    ControlLimits limits;
    limits.unread = limits.sweep = Milliseconds(1);
    Stage stage(backend, limits);
    stage.reply = std::string(std::size_t{4} << 20, 'x');
    LineClient client(stage.path());
    client.say("one\ntwo\n");
    stage.wait_for_requests(1);
    LineClient other(stage.path());
    stage.reply = "short";
    other.say("three\n");
    CHECK(stage.next_line(other) == "short");
    // Its second request is not looked at before the answer to the first is read.
    CHECK(stage.asked.size() == 2);
    tests::turn_until(*stage.loop, [&] { return client.say("x\n") == 0; });
    CHECK(stage.asked.size() == 2);
  });
}

TEST_CASE("a long answer is taken as it is read") {
  tests::on_each_backend([](Backend backend) {
    Stage stage(backend);
    stage.reply = std::string(std::size_t{4} << 20, 'x');
    LineClient client(stage.path());
    client.say("one\n");
    CHECK(stage.next_line(client) == *stage.reply);
  });
}

TEST_CASE("what nobody reads is limited for all clients together") {
  tests::on_each_backend([](Backend backend) {
    ControlLimits limits;
    limits.unread_bytes = std::size_t{5} << 20;
    Stage stage(backend, limits);
    stage.reply = std::string(std::size_t{4} << 20, 'x');
    LineClient client(stage.path());
    client.say("one\n");
    stage.wait_for_requests(1);
    LineClient other(stage.path());
    other.say("two\n");
    CHECK(stage.next_line(other).find(R"("code":"busy")") != std::string::npos);
    CHECK(stage.next_line(client) == *stage.reply);
  });
}

TEST_CASE("a request without end") {
  tests::on_each_backend([](Backend backend) {
    Stage stage(backend);
    LineClient client(stage.path());
    const std::string much(kMaxRequestBytes, 'x');
    std::size_t said = 0;
    tests::turn_until(*stage.loop, [&] {
      said += client.say(std::string_view(much).substr(said));
      return said == much.size();
    });
    client.say("\n");
    CHECK(stage.next_line(client).size() == much.size() + 4);  // just within the limit
    said = 0;
    tests::turn_until(*stage.loop, [&] {
      said += client.say(std::string_view(much).substr(said));
      return said == much.size();
    });
    client.say("xx");
    CHECK(stage.next_line(client).find(R"("code":"too_large")") != std::string::npos);
    stage.wait_for_end(client);
    CHECK(stage.asked.size() == 1);
  });
}

TEST_CASE("more clients than there may be") {
  tests::on_each_backend([](Backend backend) {
    ControlLimits limits;
    limits.clients = 2;
    Stage stage(backend, limits);
    LineClient first(stage.path());
    LineClient second(stage.path());
    second.say("two\n");
    CHECK(stage.next_line(second) == "re: two");
    LineClient third(stage.path());
    CHECK(stage.next_line(third).find("2 clients are connected already") != std::string::npos);
    stage.wait_for_end(third);
    first.say("one\n");
    CHECK(stage.next_line(first) == "re: one");
    first.close();
    tests::turn_until(*stage.loop, [&] {
      LineClient fourth(stage.path());
      fourth.say("four\n");
      return stage.next_line(fourth) == "re: four";
    });
  });
}

TEST_CASE("a client that vanishes while it is to be answered is told of") {
  tests::on_each_backend([](Backend backend) {
    ControlLimits limits;
    limits.sweep = Milliseconds(1);
    Stage stage(backend, limits);
    stage.answers = false;
    LineClient client(stage.path());
    client.say("one\n");
    stage.wait_for_requests(1);
    client.close();
    tests::turn_until(*stage.loop, [&] { return !stage.gone.empty(); });
    CHECK(stage.gone == std::vector{stage.asked[0].first});
    stage.server.answer(stage.asked[0].first, "too late");
  });
}

TEST_CASE("another server takes the socket's place when the former has left, and not before") {
  tests::on_each_backend([](Backend backend) {
    Stage stage(backend);
    LineClient before(stage.path());
    before.say("one\n");
    CHECK(stage.next_line(before) == "re: one");
    ControlServer second(
        *stage.loop,
        [&](ClientId id, const Peer&, std::string_view) { second.answer(id, "the second"); },
        [](ClientId) {});
    const shm::Status refused = second.listen(stage.path(), std::nullopt);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().to_text().find("another process listens there") != std::string::npos);
    before.say("two\n");
    CHECK(stage.next_line(before) == "re: two");
    stage.server.leave(/*remove=*/false);
    stage.wait_for_end(before);
    CHECK(std::filesystem::exists(stage.path()));
    REQUIRE(second.listen(stage.path(), std::nullopt));
    LineClient after(stage.path());
    after.say("three\n");
    CHECK(stage.next_line(after) == "the second");
    REQUIRE(second.listen(stage.path(), std::nullopt));  // its own: for another group, say
    second.leave(/*remove=*/true);
    stage.wait_for_end(after);
    CHECK_FALSE(std::filesystem::exists(stage.path()));
  });
}

TEST_CASE("whoever leaves takes only its own socket away") {
  Stage stage(Backend::epoll);
  std::filesystem::remove(stage.path());
  ControlServer second(
      *stage.loop,
      [&](ClientId id, const Peer&, std::string_view) { second.answer(id, "the second"); },
      [](ClientId) {});
  REQUIRE(second.listen(stage.path(), std::nullopt));
  SUBCASE("at the end") {
    stage.server.leave(/*remove=*/true);
  }
  SUBCASE("moving to another path") {
    REQUIRE(stage.server.listen(stage.path() + "2", std::nullopt));
  }
  LineClient client(stage.path());
  client.say("one\n");
  CHECK(stage.next_line(client) == "the second");
}

TEST_CASE("moving to another path takes the former one away; what cannot be changes nothing") {
  Stage stage(Backend::epoll);
  REQUIRE(stage.server.listen(stage.path() + "2", std::nullopt));
  CHECK_FALSE(std::filesystem::exists(stage.path()));
  const std::string file = stage.dir.path() + "/precious";
  std::ofstream(file) << "data";
  const shm::Status refused = stage.server.listen(file, std::nullopt);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().to_text().find("something else than a socket") != std::string::npos);
  CHECK(std::filesystem::file_size(file) == 4);
  const shm::Status nowhere = stage.server.listen(stage.dir.path() + "/no/control", std::nullopt);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().to_text().find("/no/control: No such file") != std::string::npos);
  LineClient client(stage.path() + "2");
  client.say("one\n");
  CHECK(stage.next_line(client) == "re: one");
}

TEST_CASE("a directory deeper than an address has room for") {
  tests::TempDir dir;
  const std::string deep = dir.path() + "/" + std::string(120, 'd');
  std::filesystem::create_directory(deep);
  const auto loop = std::move(*make_loop({Backend::epoll, 0, nullptr}));
  ControlServer server(
      *loop, [&](ClientId id, const Peer&, std::string_view) { server.answer(id, "deep"); },
      [](ClientId) {});
  const shm::Status listening = server.listen(deep + "/control", std::nullopt);
  REQUIRE_MESSAGE(listening, listening.error().to_text());
  LineClient client(deep + "/control");
  client.say("one\n");
  tests::turn_until(*loop, [&] { return client.look(); });
  CHECK(client.line() == "deep");
}

TEST_CASE("the socket is its owner's and the group's, and nobody else's") {
  Stage stage(Backend::epoll);
  std::filesystem::permissions(stage.dir.path(), std::filesystem::perms(0755));
  struct stat about{};
  REQUIRE(::stat(stage.path().c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0660);
  const int status = tests::as_nobody([&] {
    const auto connected = engine::connect_unix(stage.path());
    return !connected && connected.error().code == EACCES ? 0 : 1;
  });
  if (::geteuid() != 0) return tests::skip("only root can be another user");
  CHECK(status == 0);

  // A member by a supplementary group.
  constexpr gid_t kGroup = 12345;
  REQUIRE(stage.server.listen(stage.path(), kGroup));
  REQUIRE(::stat(stage.path().c_str(), &about) == 0);
  CHECK(about.st_gid == kGroup);
  const pid_t member = ::fork();
  REQUIRE(member >= 0);
  if (member == 0) {
    const gid_t groups[]{kGroup};
    if (::setgroups(1, groups) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(1);
    const auto connected = engine::connect_unix(stage.path());
    if (!connected || ::write(*connected, "one\n", 4) != 4) ::_exit(2);
    char byte = 0;
    ::_exit(::read(*connected, &byte, 1) == 1 ? 0 : 3);
  }
  stage.wait_for_requests(1);
  CHECK(tests::exit_of(member) == 0);
  REQUIRE(stage.peers.size() == 1);
  CHECK(stage.peers[0].uid == 65534);
  CHECK(may_change(stage.peers[0], 0, kGroup));
  CHECK_FALSE(may_change(stage.peers[0], 0, kGroup + 1));
  CHECK_FALSE(may_change(stage.peers[0], 0, std::nullopt));
}

TEST_CASE("who may change things") {
  Peer peer{1, 1000, 1000, {4, 27}};
  CHECK_FALSE(may_change(peer, 999, std::nullopt));
  CHECK(may_change(peer, 1000, std::nullopt));
  CHECK(may_change(peer, 999, 27));
  CHECK(may_change(peer, 999, 1000));
  CHECK_FALSE(may_change(peer, 999, 0));
  peer.uid = 0;
  CHECK(may_change(peer, 999, std::nullopt));
}

}  // namespace
}  // namespace ballast::checker
