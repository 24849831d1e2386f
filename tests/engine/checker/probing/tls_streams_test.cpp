// TLS over both backends, against a server of OpenSSL's that does what it should, or anything else.
#include "engine/checker/probing/tls_streams.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/loops.hpp"
#include "tests/support/tiny_server.hpp"
#include "tests/support/tls_server.hpp"

namespace ballast::checker {
namespace {

using tests::on_each_backend;
using tests::TlsBehaviour;
using tests::TlsServer;
using tests::TlsServerOptions;

Payload say(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

// A loop, streams over it, and all that they have told.
struct Talk final : StreamHandler {
  explicit Talk(Backend backend) {
    auto made = make_loop({backend, 0, nullptr});
    REQUIRE(made);
    loop = std::move(*made);
    streams = std::make_unique<TlsStreams>(*loop);
  }
  void on_connect(StreamId stream, std::uint64_t /*user*/) override {
    ++connects;
    if (then) then(stream);
  }
  void on_data(StreamId stream, std::uint64_t user, std::string_view bytes) override {
    CHECK(user == 77);
    received += bytes;
    if (on_bytes) on_bytes(stream);
  }
  void on_end(StreamId /*stream*/, std::uint64_t /*user*/, int error) override {
    ++ends;
    last_error = error;
    note = streams->end_note();
  }

  StreamId open(const shm::Endpoint& peer, TlsPeer& tls, const std::string& first,
                bool doubtful = false) {
    OpenRequest request;
    request.peer = peer;
    request.tls = &tls;
    request.first = first.empty() ? nullptr : say(first);
    request.handler = this;
    request.user = 77;
    request.doubtful = doubtful;
    return streams->open(request);
  }
  void until(const std::function<bool()>& done) const { tests::turn_until(*loop, done); }
  // Opens, waits for the answer to `text`, and closes.
  void ask(const shm::Endpoint& peer, TlsPeer& tls, const std::string& text) {
    received.clear();
    const int before = ends;
    const StreamId stream = open(peer, tls, text);
    until([&] { return received == text || ends > before; });
    CHECK(received == text);
    streams->close(stream);
  }
  // How a connection that cannot come about ends.
  int failure(const shm::Endpoint& peer, TlsPeer& tls) {
    const int before = ends;
    static_cast<void>(open(peer, tls, "x"));
    until([&] { return ends > before; });
    return last_error;
  }

  std::unique_ptr<Loop> loop;
  std::unique_ptr<TlsStreams> streams;
  std::function<void(StreamId)> then;
  std::function<void(StreamId)> on_bytes;
  int connects = 0;
  int ends = 0;
  int last_error = 0;
  std::string received;
  std::string note;
};

struct World {
  World() { settings.enabled = true; }

  std::shared_ptr<const TlsClient> client(CheckKind kind = CheckKind::tcp) const {
    TlsSettings all = settings;
    all.ca_file = "ca";
    all.ca = FileText(std::make_shared<const std::string>(authority.certificate()));
    auto made = TlsClient::make(all, kind);
    REQUIRE(made);
    return *made;
  }
  TlsServerOptions options(TlsBehaviour behaviour = TlsBehaviour::echoes) const {
    TlsServerOptions made;
    made.pem = authority.sign({"good", {"DNS:good.example", "IP:127.0.0.1"}, -60, 3600});
    made.behaviour = behaviour;
    return made;
  }

  tests::Authority authority{"An Authority"};
  TlsSettings settings;
  shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
};

TEST_CASE("shakes hands, sends, receives, and resumes the session the next time") {
  on_each_backend([](Backend backend) {
    for (const bool only_tls12 : {false, true}) {
      World world;
      TlsServerOptions options = world.options();
      options.only_tls12 = only_tls12;
      const TlsServer server(world.endpoint, options);
      TlsPeer peer(world.client(), "good.example");
      Talk talk(backend);
      const StreamId stream = talk.open(world.endpoint, peer, "first");
      talk.until([&] { return talk.received == "first"; });
      CHECK(talk.connects == 1);
      CHECK(talk.streams->still_trusted(stream));
      // More than a record, so that it comes in parts.
      const std::string much(100'000, 'm');
      talk.received.clear();
      talk.streams->send(stream, say(much));
      talk.streams->send(stream, say("and more"));
      talk.until([&] { return talk.received == much + "and more"; });
      talk.streams->close(stream);
      talk.streams->send(stream, say("nobody"));
      CHECK(talk.streams->stats().resumed == 0);
      for (std::uint64_t i = 1; i <= 3; ++i) {
        talk.ask(world.endpoint, peer, "again");
        CHECK(talk.streams->stats().handshakes == i + 1);
        CHECK(talk.streams->stats().resumed == i);
      }
      // Another instance has a session of its own, and none yet.
      TlsPeer other(world.client(), "127.0.0.1");
      talk.ask(world.endpoint, other, "other");
      CHECK(talk.streams->stats().resumed == 3);
      CHECK(talk.streams->stats().failures == 0);
      CHECK(talk.ends == 0);
      talk.until([&] { return talk.loop->open_streams() == 0; });
    }
  });
}

TEST_CASE("a doubtful connection is refused, or works as any other") {
  on_each_backend([](Backend backend) {
    World world;
    TlsPeer peer(world.client(), "good.example");
    Talk talk(backend);
    static_cast<void>(talk.open(world.endpoint, peer, "x", /*doubtful=*/true));
    talk.until([&] { return talk.ends == 1; });
    CHECK(talk.last_error == ECONNREFUSED);
    const TlsServer server(world.endpoint, world.options());
    const StreamId stream = talk.open(world.endpoint, peer, "x", /*doubtful=*/true);
    talk.until([&] { return talk.received == "x"; });
    talk.streams->close(stream);
  });
}

TEST_CASE("the server speaks first, or ends with close_notify, or without") {
  on_each_backend([](Backend backend) {
    World world;
    TlsPeer peer(world.client(), "good.example");
    Talk talk(backend);
    {
      const TlsServer server(world.endpoint, world.options(TlsBehaviour::greets));
      const StreamId stream = talk.open(world.endpoint, peer, "");
      talk.until([&] { return talk.received == "hello"; });
      CHECK(talk.connects == 1);
      talk.streams->close(stream);
    }
    for (const TlsBehaviour behaviour : {TlsBehaviour::closes, TlsBehaviour::cuts}) {
      const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
      const TlsServer server(endpoint, world.options(behaviour));
      talk.received.clear();
      talk.ends = 0;
      static_cast<void>(talk.open(endpoint, peer, "bye"));
      talk.until([&] { return talk.ends == 1; });
      CHECK(talk.received == "bye");
      CHECK(talk.last_error == 0);
    }
  });
}

TEST_CASE("handlers that close, open and send from within their events") {
  on_each_backend([](Backend backend) {
    World world;
    const TlsServer server(world.endpoint, world.options());
    TlsPeer peer(world.client(), "good.example");
    Talk talk(backend);
    talk.then = [&](StreamId stream) { talk.streams->close(stream); };
    static_cast<void>(talk.open(world.endpoint, peer, "unheard"));
    talk.until([&] { return talk.connects == 1 && talk.loop->open_streams() == 0; });
    CHECK(talk.received.empty());
    talk.then = nullptr;
    int rounds = 0;
    talk.on_bytes = [&](StreamId stream) {
      if (++rounds < 5) return talk.streams->send(stream, say("round"));
      talk.streams->close(stream);
      if (rounds == 5) static_cast<void>(talk.open(world.endpoint, peer, "last"));
    };
    static_cast<void>(talk.open(world.endpoint, peer, "round"));
    talk.until([&] { return rounds == 6 && talk.loop->open_streams() == 0; });
    CHECK(talk.received == "roundroundroundroundroundlast");
    CHECK(talk.ends == 0);
    // All that is open ends with the streams.
    talk.on_bytes = nullptr;
    static_cast<void>(talk.open(world.endpoint, peer, "x"));
    talk.until([&] { return talk.connects == 4; });
    talk.streams.reset();
    talk.until([&] { return talk.loop->open_streams() == 0; });
  });
}

TEST_CASE("certificates that are not to be trusted") {
  on_each_backend([](Backend backend) {
    World world;
    Talk talk(backend);
    TlsPeer good(world.client(), "good.example");
    TlsPeer wrong(world.client(), "other.example");
    TlsPeer wrong_address(world.client(), "127.0.0.2");
    const auto fails = [&](const tests::Pem& pem, TlsPeer& peer, const std::string& note) {
      const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
      TlsServerOptions options;
      options.pem = pem;
      const TlsServer server(endpoint, options);
      CHECK(talk.failure(endpoint, peer) == kBadCertificate);
      INFO(talk.note);
      CHECK(talk.note.find(note) != std::string::npos);
      CHECK(talk.note.size() <= 200);
    };
    const std::vector<std::string> names = {"DNS:good.example"};
    fails(world.authority.sign({"old", names, -7200, -3600}), good, "expired");
    fails(world.authority.sign({"young", names, 3600, 7200}), good, "not yet valid");
    fails(world.options().pem, wrong, "it is not for \"other.example\" (CN \"good\")");
    fails(world.options().pem, wrong_address, "it is not for \"127.0.0.2\"");
    fails(tests::Authority("Nobody").sign({"stranger", names, -60, 3600}), good,
          "unable to get local issuer certificate (CN \"stranger\")");
    CHECK(talk.connects == 0);

    // Any of them will do where nothing is verified.
    World lax;
    lax.settings.verify = false;
    TlsPeer peer(lax.client(), "whoever");
    TlsServerOptions options;
    options.pem = world.authority.sign({"old", {}, -7200, -3600});
    const TlsServer server(lax.endpoint, options);
    talk.ask(lax.endpoint, peer, "fine");
    talk.ask(lax.endpoint, peer, "fine");
    CHECK(talk.streams->stats().resumed == 1);
  });
}

TEST_CASE("a certificate that expires is not believed on old connections, nor by old sessions") {
  on_each_backend([](Backend backend) {
    World world;
    TlsServerOptions options;
    // So soon that a session with it is never resumed; so late that the handshake gets through.
    options.pem = world.authority.sign({"dying", {"DNS:good.example"}, -60, 2});
    const TlsServer server(world.endpoint, options);
    TlsPeer peer(world.client(), "good.example");
    Talk talk(backend);
    const StreamId stream = talk.open(world.endpoint, peer, "x");
    talk.until([&] { return talk.received == "x" || talk.ends == 1; });
    if (talk.ends == 1) return tests::skip("this machine was too slow for a certificate of 2 s");
    talk.until([&] { return !talk.streams->still_trusted(stream); });
    CHECK(talk.failure(world.endpoint, peer) == kBadCertificate);
    CHECK(talk.streams->stats().resumed == 0);
  });
}

TEST_CASE("a server that asks for a certificate") {
  on_each_backend([](Backend backend) {
    World world;
    TlsServerOptions options = world.options();
    options.client_ca = world.authority.certificate();
    const TlsServer server(world.endpoint, options);
    Talk talk(backend);
    TlsPeer without(world.client(), "good.example");
    CHECK(talk.failure(world.endpoint, without) == kTlsFailed);
    CHECK(talk.note.find("certificate required") != std::string::npos);

    const tests::Pem mine = world.authority.sign({"client", {}, -60, 3600});
    world.settings.certificate_file = "mine";
    world.settings.certificate =
        FileText(std::make_shared<const std::string>(mine.certificate + mine.key));
    TlsPeer with(world.client(), "good.example");
    talk.ask(world.endpoint, with, "it is me");
  });
}

TEST_CASE("HTTP/2 has to be agreed to") {
  on_each_backend([](Backend backend) {
    World world;
    Talk talk(backend);
    TlsPeer peer(world.client(CheckKind::grpc), "good.example");
    {
      const TlsServer server(world.endpoint, world.options());
      CHECK(talk.failure(world.endpoint, peer) == kTlsFailed);
      CHECK(talk.note == "TLS: the server has not agreed to h2");
    }
    const shm::Endpoint endpoint = tests::local_endpoint(tests::free_port());
    TlsServerOptions options = world.options();
    options.alpn = "h2";
    const TlsServer server(endpoint, options);
    talk.ask(endpoint, peer, "agreed");
  });
}

TEST_CASE("servers that do not speak TLS, or only begin to") {
  on_each_backend([](Backend backend) {
    World world;
    TlsPeer peer(world.client(), "good.example");
    Talk talk(backend);
    const auto endpoint = [] { return tests::local_endpoint(tests::free_port()); };
    {
      const auto at = endpoint();
      const tests::TinyServer server(tests::Behaviour::banner, {at});
      CHECK(talk.failure(at, peer) == kTlsFailed);
      CHECK(talk.note.find("seems not to speak TLS") != std::string::npos);
    }
    {
      const auto at = endpoint();
      const TlsServer server(at, world.options(TlsBehaviour::drops));
      const int error = talk.failure(at, peer);
      CHECK((error == 0 || error == ECONNRESET));
      if (error == 0) CHECK(talk.note == "closed in the middle of the TLS handshake");
    }
    {
      const auto at = endpoint();
      const TlsServer server(at, world.options(TlsBehaviour::half));
      const int before = talk.ends;
      const StreamId stream = talk.open(at, peer, "x");
      talk.until([&] { return talk.streams->shakes_hands(stream); });
      for (int i = 0; i < 10; ++i)
        talk.loop->run_once(std::chrono::milliseconds(5));
      CHECK(talk.ends == before);
      talk.streams->close(stream);
    }
    talk.until([&] { return talk.loop->open_streams() == 0; });
  });
}

TEST_CASE("a server that wants to agree by a prime of its own choice gets none of our time") {
  on_each_backend([](Backend backend) {
    World world;
    TlsPeer peer(world.client(), "good.example");
    Talk talk(backend);
    for (const bool only_tls12 : {false, true}) {
      const auto endpoint = tests::local_endpoint(tests::free_port());
      TlsServerOptions options = world.options();
      options.pem = world.authority.sign({"good", {"DNS:good.example"}, -60, 3600, true});
      options.only_tls12 = only_tls12;
      options.finite_field = true;
      const TlsServer server(endpoint, options);
      CHECK(talk.failure(endpoint, peer) == kTlsFailed);
      CHECK(talk.connects == 0);
    }
  });
}

TEST_CASE("servers that never come to the point") {
  on_each_backend([](Backend backend) {
    World world;
    TlsPeer peer(world.client(), "good.example");
    Talk talk(backend);
    for (const TlsBehaviour behaviour : {TlsBehaviour::updates, TlsBehaviour::tickets}) {
      const auto endpoint = tests::local_endpoint(tests::free_port());
      const TlsServer server(endpoint, world.options(behaviour));
      CHECK(talk.failure(endpoint, peer) == kTlsFailed);
      INFO(talk.note);
      const bool bounded = talk.note.find("without any data") != std::string::npos ||
                           talk.note.find("too many key updates") != std::string::npos;
      CHECK(bounded);
    }
    const auto endpoint = tests::local_endpoint(tests::free_port());
    const TlsServer server(endpoint, world.options(TlsBehaviour::big_chain));
    CHECK(talk.failure(endpoint, peer) == kTlsFailed);
    CHECK(talk.note.find("excessive message size") != std::string::npos);
    CHECK(talk.received.empty());
  });
}

}  // namespace
}  // namespace ballast::checker
