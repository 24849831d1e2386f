// Any bytes may come from a server that is checked over TLS. A real server (OpenSSL's, in this
// process) shakes hands with the client; the input cuts what it says, turns bits in it, puts bytes
// between or leaves some out, ends the connection at any time, and uses a session again. The
// client's events must come in order and end with the stream, and what it says of failures must be
// printable. Keys are drawn anew, so that an input does not do the same every time, byte for byte;
// what must hold always holds.
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/checker/probing/tls_client.hpp"
#include "engine/checker/probing/tls_streams.hpp"
#include "tests/fuzz/pieces.hpp"
#include "tests/support/certificates.hpp"

namespace {

using namespace ballast::checker;
using ballast::fuzz::Pieces;
using ballast::fuzz::require;
using ballast::fuzz::require_printable;

// What waits to be delivered.
constexpr std::size_t kMaxComing = 256 << 10;

// The one connection there is at a time, without a network.
class OneStream final : public Loop {
 public:
  OneStream() : Loop(16) {}

  [[nodiscard]] Backend backend() const noexcept override { return Backend::epoll; }
  void watch(int /*fd*/, std::function<void()> /*ready*/) override {}
  void unwatch(int /*fd*/) override {}
  StreamId open(const OpenRequest& request) override {
    require(!is_open);
    is_open = true;
    asked = request;
    ++id.generation;
    if (request.first != nullptr) sent += *request.first;
    return id;
  }
  void send(StreamId stream, Payload payload) override {
    if (!is_open || stream != id || payload == nullptr) return;
    sent += *payload;
  }
  void close(StreamId stream) override {
    if (stream == id) is_open = false;
  }
  // Of the peer's side.
  void end(int error) {
    if (!is_open) return;
    is_open = false;
    asked.handler->on_end(id, asked.user, error);
  }

  bool is_open = false;
  StreamId id;
  OpenRequest asked;
  std::string sent;

 protected:
  void poll(Duration /*wait*/) override {}
};

// Who is told, and holds the streams to their promises.
struct Told final : StreamHandler {
  void on_connect(StreamId stream, std::uint64_t user) override {
    require(user == 5 && is_open && !connected);
    connected = true;
    if (closes_at_connect) {
      is_open = false;
      streams->close(stream);
    }
  }
  void on_data(StreamId stream, std::uint64_t /*user*/, std::string_view bytes) override {
    require(is_open && connected && !bytes.empty());
    if (closes_at_data) {
      is_open = false;
      streams->close(stream);
    }
  }
  void on_end(StreamId /*stream*/, std::uint64_t /*user*/, int error) override {
    require(is_open);
    is_open = false;
    require_printable(streams->end_note());
    require(error != kTlsFailed || !streams->end_note().empty());
  }

  TlsStreams* streams = nullptr;
  bool is_open = false;
  bool connected = false;
  bool closes_at_connect = false;
  bool closes_at_data = false;
};

// The other side, over memory.
class Server {
 public:
  explicit Server(SSL_CTX* context) : ssl_(SSL_new(context)) {
    BIO* in = BIO_new(BIO_s_mem());
    BIO* out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(ssl_, in, out);
    SSL_set_accept_state(ssl_);
  }
  ~Server() { SSL_free(ssl_); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void hear(std::string_view bytes) {
    BIO_write(SSL_get_rbio(ssl_), bytes.data(), static_cast<int>(bytes.size()));
    char block[4096];
    while (SSL_read(ssl_, block, sizeof block) > 0) {
    }
  }
  void say(std::string_view bytes) {
    if (SSL_is_init_finished(ssl_) != 0 && !bytes.empty())
      SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size()));
  }
  void update_key() {
    if (SSL_is_init_finished(ssl_) == 0) return;
    SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(ssl_);
  }
  void tell_session() {
    if (SSL_is_init_finished(ssl_) == 0) return;
    SSL_new_session_ticket(ssl_);
    SSL_do_handshake(ssl_);
  }
  void say_goodbye() {
    if (SSL_is_init_finished(ssl_) != 0) SSL_shutdown(ssl_);
  }
  // What it wants to send.
  std::string take() {
    std::string all(BIO_ctrl_pending(SSL_get_wbio(ssl_)), '\0');
    if (!all.empty()) BIO_read(SSL_get_wbio(ssl_), all.data(), static_cast<int>(all.size()));
    return all;
  }

 private:
  SSL* ssl_;
};

struct World {
  World() {
    const auto pem = authority.sign({"good", {"DNS:good.example"}, -60, 864'000});
    BIO* bio = BIO_new_mem_buf(pem.certificate.data(), static_cast<int>(pem.certificate.size()));
    X509* certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    bio = BIO_new_mem_buf(pem.key.data(), static_cast<int>(pem.key.size()));
    EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    for (SSL_CTX*& context : contexts) {
      context = SSL_CTX_new(TLS_server_method());
      require(SSL_CTX_use_certificate(context, certificate) == 1);
      require(SSL_CTX_use_PrivateKey(context, key) == 1);
      SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
    SSL_CTX_set_max_proto_version(contexts[1], TLS1_2_VERSION);
    X509_free(certificate);
    EVP_PKEY_free(key);
    for (const bool verify : {false, true}) {
      TlsSettings settings;
      settings.enabled = true;
      settings.verify = verify;
      settings.ca_file = "ca";
      settings.ca = FileText(std::make_shared<const std::string>(authority.certificate()));
      clients[verify ? 1 : 0] = *TlsClient::make(settings, CheckKind::tcp);
    }
  }

  ballast::tests::Authority authority{"An Authority"};
  SSL_CTX* contexts[2] = {};
  std::shared_ptr<const TlsClient> clients[2];
};

// Begins, does as the input says, and ends; with the same peer as the time before.
void connect(Pieces& input, const World& world, OneStream& loop, TlsStreams& streams,
             TlsPeer& peer) {
  const std::uint8_t what = input.number();
  Told told;
  told.streams = &streams;
  told.closes_at_connect = (what & 32) != 0;
  told.closes_at_data = (what & 1) != 0;
  OpenRequest request;
  request.tls = &peer;
  request.handler = &told;
  request.user = 5;
  request.doubtful = (what & 2) != 0;
  request.abrupt = (what & 4) != 0;
  if ((what & 8) != 0) request.first = std::make_shared<const std::string>("first");
  Server server(world.contexts[(what & 16) != 0 ? 1 : 0]);
  loop.sent.clear();
  const StreamId stream = streams.open(request);
  told.is_open = true;
  const auto inner = loop.asked;
  inner.handler->on_connect(loop.id, inner.user);
  std::string coming;
  const auto deliver = [&](std::string_view bytes) {
    if (loop.is_open && !bytes.empty()) inner.handler->on_data(loop.id, inner.user, bytes);
  };
  bool goes_on = true;
  while (goes_on && !input.empty() && told.is_open) {
    server.hear(std::exchange(loop.sent, {}));
    coming += server.take();
    coming.resize(std::min(coming.size(), kMaxComing));
    const std::uint8_t step = input.number();
    const std::size_t number = step >> 4U;
    switch (step & 15U) {
      case 0:  // all that there is
      case 1:
        deliver(std::exchange(coming, {}));
        break;
      case 2: {  // some of it
        const std::string some = coming.substr(0, input.number() + 1U);
        coming.erase(0, some.size());
        deliver(some);
        break;
      }
      case 3:  // a bit turned
        if (!coming.empty()) {
          const std::size_t at = (number << 8U | input.number()) % coming.size();
          coming[at] = static_cast<char>(coming[at] ^ (1 << number % 8U));
        }
        break;
      case 4:  // bytes between
        coming.insert((number << 8U | input.number()) % (coming.size() + 1),
                      input.piece(input.number()));
        break;
      case 5:  // left out
        if (!coming.empty()) coming.erase(input.number() % coming.size(), number + 1);
        break;
      case 6:  // twice
        coming += std::string(coming);
        break;
      case 7:
        server.say(std::string(number * 1000 + 1, 'd'));
        break;
      case 8:
        for (std::size_t n = 0; n <= number * number; ++n)
          server.update_key();
        break;
      case 9:
        for (std::size_t n = 0; n <= number * number; ++n)
          server.tell_session();
        break;
      case 10:
        server.say_goodbye();
        break;
      case 11:
        streams.send(stream, std::make_shared<const std::string>(number * 2000, 'c'));
        break;
      case 12:  // nothing but these
        deliver(input.piece(input.number()));
        break;
      case 13:  // the same over and over
        if (const std::string one(input.piece(number + 1)); !one.empty()) {
          std::string much;
          while (much.size() < 70'000)
            much += one;
          deliver(much);
        }
        break;
      case 14:
        loop.end(number == 0 ? 0 : 104);
        break;
      default:
        goes_on = false;
    }
    static_cast<void>(streams.shakes_hands(stream));
    require(!told.is_open || !told.connected || !peer.client().verifies() ||
            streams.still_trusted(stream));
    loop.run_once(std::chrono::milliseconds(0));
  }
  told.is_open = false;
  streams.close(stream);
  require(!loop.is_open);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const World world;
  Pieces input(data, size);
  const std::uint8_t first = input.number();
  OneStream loop;
  TlsStreams streams(loop);
  TlsPeer peer(world.clients[first & 1U], (first & 2U) != 0 ? "other.example" : "good.example");
  for (int n = 0; n < 4 && !input.empty(); ++n)
    connect(input, world, loop, streams, peer);
  return 0;
}
