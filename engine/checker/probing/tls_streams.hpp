// TLS over the loop's streams, offered as streams: on_connect comes after the handshake, data is
// what was encrypted. OpenSSL works on memory alone (what has come in, what is to go out), so that
// both backends carry it as they carry anything else. One thread, its loop's. A peer may be
// hostile: what it can make us keep or do is bounded (docs/probing.md). With the process everything
// here goes, sessions included.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/probing/tls_client.hpp"

struct ssl_session_st;

namespace ballast::checker {

// Bytes of the server until the handshake is over, and after it until one of them is data.
inline constexpr std::size_t kMaxHandshakeBytes = 128 << 10;
inline constexpr std::size_t kMaxSilentBytes = 64 << 10;
// However often a session is resumed, the server has to show its certificate again after this.
inline constexpr std::time_t kMaxSessionSeconds = 600;

// Whom to encrypt to, and what is known of earlier times: one for each instance that is checked.
class TlsPeer {
 public:
  // `name`: what is asked for (SNI) and verified, a host name or an address.
  TlsPeer(std::shared_ptr<const TlsClient> client, std::string name);
  ~TlsPeer();
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  [[nodiscard]] const TlsClient& client() const noexcept { return *client_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }

 private:
  friend class TlsStreams;

  std::shared_ptr<const TlsClient> client_;
  std::string name_;
  ssl_session_st* session_ = nullptr;
  std::time_t session_until_ = 0;  // when it has to be made anew
  std::time_t trusted_until_ = 0;  // when the first certificate of the chain expires
};

struct TlsStats {
  std::uint64_t handshakes = 0;  // that succeeded
  std::uint64_t resumed = 0;     // of them, those that resumed a session
  std::uint64_t failures = 0;    // of the handshake, or of what came later
};

class TlsStreams final : public Streams {
 public:
  // `loop` must outlive it; all its streams end with it, without an event.
  explicit TlsStreams(Loop& loop);
  ~TlsStreams();
  TlsStreams(const TlsStreams&) = delete;
  TlsStreams& operator=(const TlsStreams&) = delete;

  // `request.tls` says with whom.
  [[nodiscard]] StreamId open(const OpenRequest& request) override;
  void send(StreamId stream, Payload payload) override;
  void close(StreamId stream) override;
  // Why a handshake has failed, or that it was not over.
  [[nodiscard]] std::string_view end_note() const override;

  // Whether the connection stands and the handshake is under way.
  [[nodiscard]] bool shakes_hands(StreamId stream) const;
  // Whether the peer's certificate is valid still: no proof of anything once it is not.
  [[nodiscard]] bool still_trusted(StreamId stream) const;
  [[nodiscard]] TlsStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast::checker
