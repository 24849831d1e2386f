// What the checks of one kind need to speak TLS: trust, the client's own certificate, protocols.
// Made from TlsSettings whose files have been read when the configuration was, so that a check
// never reads a file, and shared by all who have the same settings. Never changed once made, gone
// with its last user. Without OpenSSL in the build (option `tls`) none can be made.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/settings.hpp"
#include "shm/result.hpp"

struct ssl_ctx_st;
struct ssl_st;

namespace ballast::checker {

// Of a PEM file, of a chain that a server sends, and of a list of protocols.
inline constexpr std::size_t kMaxPemBytes = 4 << 20;
inline constexpr std::size_t kMaxChainBytes = 64 << 10;
inline constexpr std::size_t kMaxAlpn = 8;

// Whether this build speaks TLS at all.
[[nodiscard]] bool tls_is_built_in() noexcept;

// Reads the files that the settings name into them; with no `ca_file`, the system's certificates.
// The error's path is the file at fault.
[[nodiscard]] shm::Status read_tls_files(TlsSettings& settings);

class TlsClient {
 public:
  // `settings` as read_tls_files() left them; `kind` decides what is offered by ALPN if they do not
  // say. The error's path is the file at fault, empty if it is none.
  [[nodiscard]] static shm::Result<std::shared_ptr<const TlsClient>> make(
      const TlsSettings& settings, CheckKind kind);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  [[nodiscard]] ssl_ctx_st* context() const noexcept { return context_; }
  [[nodiscard]] bool verifies() const noexcept { return verifies_; }
  // What the server has to agree to; empty: nothing.
  [[nodiscard]] const std::string& required_alpn() const noexcept { return required_alpn_; }

 private:
  explicit TlsClient(ssl_ctx_st* context) noexcept : context_(context) {}

  ssl_ctx_st* context_;
  bool verifies_ = true;
  std::string required_alpn_;
};

}  // namespace ballast::checker
