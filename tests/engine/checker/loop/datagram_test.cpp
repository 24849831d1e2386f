// Datagrams on both backends of the loop: whole, empty, too long, refused.
#include <doctest/doctest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/loop/loop.hpp"
#include "tests/support/loops.hpp"
#include "tests/support/udp_peer.hpp"

namespace ballast::checker {
namespace {

using tests::on_each_backend;
using tests::UdpPeer;

Payload payload(std::string bytes) {
  return std::make_shared<const std::string>(std::move(bytes));
}

class Recorder final : public StreamHandler {
 public:
  void on_connect(StreamId, std::uint64_t) override { ++connected; }
  void on_data(StreamId, std::uint64_t, std::string_view bytes) override {
    received.emplace_back(bytes);
  }
  void on_end(StreamId, std::uint64_t, int error) override { ends.push_back(error); }

  int connected = 0;
  std::vector<std::string> received;
  std::vector<int> ends;
};

struct Fixture {
  explicit Fixture(Backend backend) {
    auto made = make_loop({backend, 0, nullptr});
    REQUIRE(made);
    loop = std::move(*made);
  }
  StreamId open(const shm::Endpoint& peer, Payload first) {
    OpenRequest request;
    request.peer = peer;
    request.first = std::move(first);
    request.handler = &recorder;
    request.datagram = true;
    return loop->open(request);
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }
  // What has come to `peer`, once something has.
  std::string next(UdpPeer& peer) const {
    std::optional<std::string> got;
    until([&] { return (got = peer.receive()).has_value(); });
    return *got;
  }

  std::unique_ptr<Loop> loop;
  Recorder recorder;
};

TEST_CASE("datagrams go and come whole, one event each") {
  on_each_backend([](Backend backend) {
    for (const auto family : {shm::Family::ipv4, shm::Family::ipv6}) {
      UdpPeer peer(family);
      Fixture f(backend);
      const StreamId stream = f.open(peer.endpoint(), payload("ping"));
      CHECK(f.next(peer) == "ping");
      CHECK(f.recorder.connected == 1);
      peer.answer("one");
      peer.answer("two");
      f.until([&] { return f.recorder.received.size() == 2; });
      CHECK(f.recorder.received == std::vector<std::string>{"one", "two"});
      f.loop->send(stream, payload("again"));
      CHECK(f.next(peer) == "again");
      f.loop->send(stream, payload(std::string(9000, 'x')));
      CHECK(f.next(peer) == std::string(9000, 'x'));
      CHECK(f.recorder.ends.empty());
      f.loop->close(stream);
      f.until([&] { return f.loop->open_streams() == 0; });
      peer.answer("late");
      f.loop->run_once({});
      CHECK(f.recorder.received.size() == 2);
      CHECK(f.recorder.ends.empty());
    }
  });
}

TEST_CASE("an empty datagram is no end, and a long one is cut") {
  on_each_backend([](Backend backend) {
    UdpPeer peer;
    Fixture f(backend);
    f.open(peer.endpoint(), payload(""));
    CHECK(f.next(peer).empty());
    peer.answer("");
    f.until([&] { return f.recorder.received.size() == 1; });
    peer.answer("");
    peer.answer(std::string(kMaxDatagramBytes, 'a'));
    peer.answer(std::string(kMaxDatagramBytes + 1000, 'b'));
    peer.answer("c");
    f.until([&] { return f.recorder.received.size() == 5; });
    CHECK(f.recorder.received ==
          std::vector<std::string>{"", "", std::string(kMaxDatagramBytes, 'a'),
                                   std::string(kMaxDatagramBytes, 'b'), "c"});
    CHECK(f.recorder.ends.empty());
  });
}

TEST_CASE("a peer that speaks first is heard") {
  on_each_backend([](Backend backend) {
    UdpPeer peer;
    Fixture f(backend);
    const StreamId stream = f.open(peer.endpoint(), nullptr);
    f.until([&] { return f.recorder.connected == 1; });
    f.loop->send(stream, payload("hello"));
    CHECK(f.next(peer) == "hello");
  });
}

TEST_CASE("nobody listens: the first datagram is refused, and so is a later one") {
  on_each_backend([](Backend backend) {
    {
      Fixture f(backend);
      f.open(tests::free_udp_endpoint(), payload("anybody?"));
      f.until([&] { return !f.recorder.ends.empty(); });
      CHECK(f.recorder.ends == std::vector<int>{ECONNREFUSED});
      f.until([&] { return f.loop->open_streams() == 0; });
    }
    UdpPeer peer;
    Fixture f(backend);
    const StreamId stream = f.open(peer.endpoint(), payload("anybody?"));
    CHECK(f.next(peer) == "anybody?");
    peer.answer("yes");
    f.until([&] { return f.recorder.received.size() == 1; });
    peer.close();
    f.loop->send(stream, payload("still?"));
    f.until([&] { return !f.recorder.ends.empty(); });
    CHECK(f.recorder.ends == std::vector<int>{ECONNREFUSED});
    f.loop->send(stream, payload("stale"));
    f.until([&] { return f.loop->open_streams() == 0; });
    CHECK(f.recorder.ends.size() == 1);
  });
}

TEST_CASE("what cannot be sent ends it, told once and not from within send") {
  on_each_backend([](Backend backend) {
    UdpPeer peer;
    const Payload huge = payload(std::string(70'000, 'x'));
    {
      Fixture f(backend);
      f.open(peer.endpoint(), huge);
      f.until([&] { return !f.recorder.ends.empty(); });
      f.until([&] { return f.loop->open_streams() == 0; });
      CHECK(f.recorder.ends == std::vector<int>{EMSGSIZE});
    }
    Fixture f(backend);
    const StreamId stream = f.open(peer.endpoint(), payload("first"));
    CHECK(f.next(peer) == "first");
    f.loop->send(stream, huge);
    CHECK(f.recorder.ends.empty());
    f.until([&] { return !f.recorder.ends.empty(); });
    f.until([&] { return f.loop->open_streams() == 0; });
    CHECK(f.recorder.ends == std::vector<int>{EMSGSIZE});
    // Closed before it is told.
    const StreamId closed = f.open(peer.endpoint(), payload("first"));
    CHECK(f.next(peer) == "first");
    f.loop->send(closed, huge);
    f.loop->close(closed);
    f.until([&] { return f.loop->open_streams() == 0; });
    CHECK(f.recorder.ends.size() == 1);
  });
}

TEST_CASE("hundreds at once, and a loop that ends with all of them open") {
  on_each_backend([](Backend backend) {
    constexpr std::size_t kPeers = 300;
    UdpPeer peer;
    Fixture f(backend);
    for (std::size_t i = 0; i < kPeers; ++i)
      f.open(peer.endpoint(), payload(std::to_string(i)));
    std::size_t heard = 0;
    f.until([&] {
      while (peer.receive()) {
        ++heard;
        peer.answer("ok");
      }
      return heard == kPeers && f.recorder.received.size() == kPeers;
    });
    CHECK(f.recorder.ends.empty());
    f.loop.reset();
  });
}

}  // namespace
}  // namespace ballast::checker
