// An SSL object reads and writes by a BIO of ours, which stands for one call's input and output:
// what has come is taken apart completely before anybody is told of it, so that nothing is kept
// between calls but what OpenSSL itself keeps, and a handler may do what it likes.
#include "engine/checker/probing/tls_streams.hpp"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "engine/checker/loop/stream_places.hpp"
#include "engine/checker/probing/note.hpp"
#include "engine/checker/probing/tls_io.hpp"

namespace ballast::checker {

namespace {

// A server that hands out more sessions than these on one connection is not listened to.
constexpr unsigned kMaxSessionsTold = 8;
constexpr std::time_t kNever = std::numeric_limits<std::time_t>::max();

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> out{};
  return inet_pton(AF_INET, name.c_str(), out.data()) == 1 ||
         inet_pton(AF_INET6, name.c_str(), out.data()) == 1;
}

std::string common_name(X509* certificate) {
  if (certificate == nullptr) return {};
  std::array<char, 96> name{};
  const int n = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                          name.data(), name.size());
  return n <= 0 ? std::string() : std::string(name.data(), static_cast<std::size_t>(n));
}

// Only to remember whom the certificate names: OpenSSL forgets one that it refuses.
int on_verified(int accepted, X509_STORE_CTX* store) {
  if (accepted == 1) return 1;
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  TlsIo* io = TlsIo::of(ssl);
  if (io != nullptr) io->untrusted = common_name(X509_STORE_CTX_get0_cert(store));
  return 0;
}

// When the first certificate of the verified chain expires.
std::time_t chain_expiry(SSL* ssl) {
  std::time_t first = kNever;
  if (SSL_get_verify_mode(ssl) == SSL_VERIFY_NONE) return first;
  const STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  for (int i = 0; chain != nullptr && i < sk_X509_num(chain); ++i) {
    int days = 0;
    int seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(sk_X509_value(chain, i))) !=
        1) {
      return 0;
    }
    first = std::min(first, std::time(nullptr) + std::time_t{days} * 86'400 + seconds);
  }
  return first;
}

void drop_session(ssl_session_st*& session) {
  SSL_SESSION_free(std::exchange(session, nullptr));
}

}  // namespace

TlsPeer::TlsPeer(std::shared_ptr<const TlsClient> client, std::string name)
    : client_(std::move(client)), name_(std::move(name)) {}

TlsPeer::~TlsPeer() {
  drop_session(session_);
}

class TlsStreams::Impl final : public StreamHandler {
 public:
  explicit Impl(Loop& loop) : loop_(loop) {}

  ~Impl() {
    for (std::size_t index = 0; index < streams_.size(); ++index) {
      if (streams_[index].used) release(static_cast<std::uint32_t>(index));
    }
    if (broken_timer_) loop_.timers().destroy(*broken_timer_);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  StreamId open(const OpenRequest& request) {
    const StreamId id = streams_.claim(Left::nothing, std::numeric_limits<std::size_t>::max());
    Stream& stream = streams_[id.index];
    stream.handler = request.handler;
    stream.user = request.user;
    stream.peer = request.tls;
    stream.first = request.first;
    stream.abrupt = request.abrupt;
    OpenRequest inner;
    inner.peer = request.peer;
    inner.handler = this;
    inner.user = std::uint64_t{id.generation} << 32 | id.index;
    inner.doubtful = request.doubtful;
    inner.abrupt = request.abrupt;
    // With the first words ready, connecting and saying them is one submission; where a refusal is
    // likely, the work for them is put off.
    if (!request.doubtful) inner.first = hello(stream);
    stream.inner = loop_.open(inner);
    return id;
  }

  void send(StreamId id, Payload payload) {
    Stream* stream = streams_.find(id);
    if (stream == nullptr || stream->phase != Phase::open || payload == nullptr) return;
    TlsIo io;
    if (!encrypt(*stream, io, *payload)) return break_off(id);
    flush(*stream, io);
  }

  void close(StreamId id) {
    if (streams_.find(id) != nullptr) release(id.index);
  }

  [[nodiscard]] std::string_view note() const { return note_; }

  [[nodiscard]] bool shakes_hands(StreamId id) {
    const Stream* stream = streams_.find(id);
    return stream != nullptr && stream->phase == Phase::handshake;
  }

  [[nodiscard]] bool still_trusted(StreamId id) {
    const Stream* stream = streams_.find(id);
    return stream != nullptr &&
           (!stream->peer->client().verifies() || stream->trusted_until > std::time(nullptr));
  }

  [[nodiscard]] TlsStats stats() const { return stats_; }

  // ---- the loop's events

  void on_connect(StreamId inner, std::uint64_t user) override {
    const StreamId id = unpack(user);
    Stream* stream = find(id, inner);
    if (stream == nullptr) return;
    stream->phase = Phase::handshake;
    if (stream->ssl == nullptr) loop_.send(inner, hello(*stream));
    if (stream->ssl == nullptr) end(id, ENOMEM);
  }

  void on_data(StreamId inner, std::uint64_t user, std::string_view bytes) override {
    const StreamId id = unpack(user);
    Stream* stream = find(id, inner);
    // A backend may tell of data before it tells of the connection only if it is none of ours.
    if (stream == nullptr || stream->ssl == nullptr) return;
    stream->silent_bytes += bytes.size();

    // All of it first, and only then the handlers, who may close this stream or open others.
    TlsIo io{bytes, {}, {}};
    Turn turn;
    plain_.clear();
    {
      const TlsAttached attached(stream->ssl, io);
      turn = advance(*stream, io);
    }
    flush(*stream, io);

    StreamHandler* const handler = stream->handler;
    const std::uint64_t outer = stream->user;
    if (turn.connected) {
      handler->on_connect(id, outer);
      if (streams_.find(id) == nullptr) return;
    }
    if (!plain_.empty()) {
      handler->on_data(id, outer, plain_);
      if (streams_.find(id) == nullptr) return;
    }
    if (turn.ended) end(id, turn.error);
  }

  void on_end(StreamId inner, std::uint64_t user, int error) override {
    const StreamId id = unpack(user);
    Stream* stream = find(id, inner);
    if (stream == nullptr) return;
    stream->inner = {};
    if (stream->phase == Phase::handshake && error == 0) {
      note_ = "closed in the middle of the TLS handshake";
    }
    end(id, error);
  }

 private:
  enum class Phase : std::uint8_t { connecting, handshake, open };

  struct Stream {
    std::uint32_t generation = 1;
    bool used = false;
    bool abrupt = false;
    Left left = Left::nothing;
    Phase phase = Phase::connecting;
    std::uint8_t sessions_told = 0;
    std::size_t silent_bytes = 0;  // of the peer, since it has last said something
    SSL* ssl = nullptr;
    TlsPeer* peer = nullptr;
    StreamId inner;
    StreamHandler* handler = nullptr;
    std::uint64_t user = 0;
    Payload first;
    std::time_t trusted_until = 0;
  };

  // What has become of a stream by what has come.
  struct Turn {
    bool connected = false;
    bool ended = false;
    int error = 0;
  };

  static StreamId unpack(std::uint64_t user) {
    return {static_cast<std::uint32_t>(user), static_cast<std::uint32_t>(user >> 32)};
  }

  Stream* find(StreamId id, StreamId inner) {
    Stream* stream = streams_.find(id);
    return stream != nullptr && stream->inner == inner ? stream : nullptr;
  }

  // ---- beginning

  // Makes the SSL object; its first words, or null for want of memory.
  Payload hello(Stream& stream) {
    TlsPeer& peer = *stream.peer;
    SSL* ssl = SSL_new(peer.client().context());
    if (ssl == nullptr || !TlsIo::give(ssl) || !prepare(ssl, peer)) {
      SSL_free(ssl);
      return nullptr;
    }
    SSL_set_app_data(ssl, &stream);
    SSL_set_connect_state(ssl);
    SSL_CTX_sess_set_new_cb(SSL_get_SSL_CTX(ssl), on_session);
    if (peer.session_ != nullptr && peer.session_until_ <= std::time(nullptr)) {
      drop_session(peer.session_);
    }
    if (peer.session_ != nullptr) SSL_set_session(ssl, peer.session_);
    stream.ssl = ssl;
    TlsIo io;
    const TlsAttached attached(ssl, io);
    SSL_do_handshake(ssl);
    return std::make_shared<const std::string>(std::move(io.out));
  }

  static bool prepare(SSL* ssl, const TlsPeer& peer) {
    std::string name = peer.name();
    const bool address = is_address(name);
    // There is no SNI for addresses (RFC 6066). Not by its macro, which is an old-style cast.
    if (!address && !name.empty() &&
        SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) != 1) {
      return false;
    }
    if (!peer.client().verifies()) return true;
    SSL_set_verify(ssl, SSL_VERIFY_PEER, on_verified);
    X509_VERIFY_PARAM* param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return address ? X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) == 1
                   : X509_VERIFY_PARAM_set1_host(param, name.data(), name.size()) == 1;
  }

  // OpenSSL has a session for us: at the end of a TLS 1.2 handshake, and any time with TLS 1.3.
  static int on_session(SSL* ssl, SSL_SESSION* session) {
    auto* stream = static_cast<Stream*>(SSL_get_app_data(ssl));
    if (stream == nullptr || stream->sessions_told >= kMaxSessionsTold) return 0;
    ++stream->sessions_told;
    TlsPeer& peer = *stream->peer;
    if (SSL_session_reused(ssl) == 0) {
      peer.trusted_until_ = chain_expiry(ssl);
      peer.session_until_ = std::min(peer.trusted_until_, std::time(nullptr) + kMaxSessionSeconds);
    }
    drop_session(peer.session_);
    peer.session_ = session;
    return 1;  // it is ours now
  }

  // ---- going on

  // Takes apart what has come; with the BIO attached.
  Turn advance(Stream& stream, const TlsIo& io) {
    Turn turn;
    if (stream.phase != Phase::open) {
      const int result = SSL_do_handshake(stream.ssl);
      if (result != 1) {
        if (SSL_get_error(stream.ssl, result) != SSL_ERROR_WANT_READ) {
          return failed(stream, io);
        }
        return stream.silent_bytes > kMaxHandshakeBytes
                   ? refused("more than 128 KiB in the TLS handshake")
                   : turn;
      }
      if (!finish_handshake(stream)) {
        return refused("the server has not agreed to " + stream.peer->client().required_alpn());
      }
      turn.connected = true;
    }
    std::size_t n = 0;
    int result = 0;
    while ((result = SSL_read_ex(stream.ssl, block_.data(), block_.size(), &n)) == 1) {
      plain_.append(block_.data(), n);
      stream.silent_bytes = 0;
    }
    switch (SSL_get_error(stream.ssl, result)) {
      case SSL_ERROR_WANT_READ:
        break;
      case SSL_ERROR_ZERO_RETURN:
        turn.ended = true;
        return turn;
      default: {
        Turn end = failed(stream, io);
        end.connected = turn.connected;
        return end;
      }
    }
    if (stream.silent_bytes > kMaxSilentBytes) {
      Turn end = refused("64 KiB of TLS without any data");
      end.connected = turn.connected;
      return end;
    }
    return turn;
  }

  // False: no, not with this server.
  bool finish_handshake(Stream& stream) {
    const TlsPeer& peer = *stream.peer;
    const std::string& required = peer.client().required_alpn();
    if (!required.empty()) {
      const unsigned char* chosen = nullptr;
      unsigned length = 0;
      SSL_get0_alpn_selected(stream.ssl, &chosen, &length);
      if (required.size() != length || std::memcmp(required.data(), chosen, length) != 0) {
        return false;
      }
    }
    const bool resumed = SSL_session_reused(stream.ssl) != 0;
    stream.phase = Phase::open;
    stream.silent_bytes = 0;
    stream.trusted_until = resumed ? peer.trusted_until_ : chain_expiry(stream.ssl);
    ++stats_.handshakes;
    if (resumed) ++stats_.resumed;
    if (const Payload first = std::move(stream.first)) {
      SSL_write(stream.ssl, first->data(), static_cast<int>(first->size()));
    }
    return true;
  }

  bool encrypt(const Stream& stream, TlsIo& io, const std::string& bytes) {
    if (bytes.empty()) return true;
    const TlsAttached attached(stream.ssl, io);
    std::size_t written = 0;
    return SSL_write_ex(stream.ssl, bytes.data(), bytes.size(), &written) == 1;
  }

  void flush(const Stream& stream, TlsIo& io) {
    if (io.out.empty() || !stream.inner) return;
    loop_.send(stream.inner, std::make_shared<const std::string>(std::move(io.out)));
  }

  // ---- ending

  // What OpenSSL has just failed with.
  Turn failed(Stream& stream, const TlsIo& io) {
    const unsigned long code = ERR_peek_error();
    const long verified = SSL_get_verify_result(stream.ssl);
    ++stats_.failures;
    // A session that was worth nothing is not tried again.
    if (stream.phase != Phase::open) drop_session(stream.peer->session_);
    const bool untrusted = stream.phase != Phase::open && ERR_GET_LIB(code) == ERR_LIB_SSL &&
                           ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    if (untrusted) {
      note_ = std::string("certificate: ") + X509_verify_cert_error_string(verified);
      if (verified == X509_V_ERR_HOSTNAME_MISMATCH || verified == X509_V_ERR_IP_ADDRESS_MISMATCH) {
        note_ += ", it is not for \"" + stream.peer->name() + '"';
      }
      if (!io.untrusted.empty()) note_ += " (CN \"" + io.untrusted + "\")";
    } else {
      const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
      note_ = std::string("TLS: ") + (reason == nullptr ? "failed" : reason);
      if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) {
        note_ += "; the server seems not to speak TLS here";
      }
    }
    ERR_clear_error();
    note_ = to_note(note_);  // names come from the other side
    return {false, true, untrusted ? kBadCertificate : kTlsFailed};
  }

  // What we do not go along with.
  Turn refused(std::string why) {
    ++stats_.failures;
    note_ = "TLS: " + std::move(why);
    return {false, true, kTlsFailed};
  }

  void end(StreamId id, int error) {
    const Stream& stream = streams_[id.index];
    StreamHandler* handler = stream.handler;
    const std::uint64_t user = stream.user;
    release(id.index);
    handler->on_end(id, user, error);
    note_.clear();
  }

  void release(std::uint32_t index) {
    Stream& stream = streams_[index];
    if (stream.ssl != nullptr) {
      TlsIo io;
      if (stream.phase == Phase::open && !stream.abrupt) {
        const TlsAttached attached(stream.ssl, io);
        SSL_shutdown(stream.ssl);
      }
      flush(stream, io);
      // Otherwise OpenSSL takes the session for a bad one.
      SSL_set_shutdown(stream.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
      SSL_free(stream.ssl);
    }
    loop_.close(stream.inner);
    streams_.release(index);
  }

  // What went wrong inside send() is told in the next turn.
  void break_off(StreamId id) {
    broken_.push_back(id);
    if (!broken_timer_) broken_timer_ = loop_.timers().create([this] { end_broken(); });
    loop_.timers().arm(*broken_timer_, Loop::TimePoint{});
  }

  void end_broken() {
    std::vector<StreamId> broken;
    broken.swap(broken_);
    for (const StreamId id : broken) {
      Stream* stream = streams_.find(id);
      if (stream == nullptr) continue;
      const Turn turn = refused("cannot send");
      end(id, turn.error);
    }
  }

  Loop& loop_;
  StreamPlaces<Stream> streams_;
  TlsStats stats_;
  std::string note_;
  std::string plain_;
  std::array<char, 16384> block_{};
  std::vector<StreamId> broken_;
  std::optional<Timers::Id> broken_timer_;
};

TlsStreams::TlsStreams(Loop& loop) : impl_(std::make_unique<Impl>(loop)) {}
TlsStreams::~TlsStreams() = default;

StreamId TlsStreams::open(const OpenRequest& request) {
  return impl_->open(request);
}

void TlsStreams::send(StreamId stream, Payload payload) {
  impl_->send(stream, std::move(payload));
}

void TlsStreams::close(StreamId stream) {
  impl_->close(stream);
}

std::string_view TlsStreams::end_note() const {
  return impl_->note();
}

bool TlsStreams::shakes_hands(StreamId stream) const {
  return impl_->shakes_hands(stream);
}

bool TlsStreams::still_trusted(StreamId stream) const {
  return impl_->still_trusted(stream);
}

TlsStats TlsStreams::stats() const {
  return impl_->stats();
}

}  // namespace ballast::checker
