// An SSL_CTX from settings. Everything that can be wrong with a file is found here, in words.
#include "engine/checker/probing/tls_client.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <utility>

namespace ballast::checker {

namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

// A chain longer than this is nobody's.
constexpr int kMaxChainDepth = 10;

// What keys are agreed on by: curves that cost this side well below a millisecond. Over finite
// fields the server names the prime, and one of 10,000 bits would cost the loop a second.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL";
constexpr const char* kGroups = "X25519:P-256:P-384";

shm::Error invalid(std::string path, std::string detail) {
  return {shm::ErrorKind::invalid, 0, "use for TLS", std::move(path), std::move(detail)};
}

// Why the last call failed, in OpenSSL's words; clears its queue.
std::string why() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason == nullptr ? "unknown reason" : reason;
}

shm::Result<FileText> read_file(const std::string& path) {
  // Neither a pipe that nobody writes to nor a device without end.
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  if (type == std::filesystem::file_type::none)
    return shm::system_error(error.value(), "read", path);
  if (type == std::filesystem::file_type::not_found) {
    return shm::system_error(ENOENT, "read", path);
  }
  if (type != std::filesystem::file_type::regular) return invalid(path, "is not a file");
  std::ifstream file(path, std::ios::binary);
  if (!file) return shm::system_error(errno, "read", path);
  std::string text;
  std::array<char, 65536> block{};
  while (file.read(block.data(), block.size()), file.gcount() > 0) {
    text.append(block.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > kMaxPemBytes) {
      return invalid(path, "is longer than 4 MiB; a file of PEM certificates is expected");
    }
  }
  if (file.bad()) return shm::system_error(errno, "read", path);
  // Who reads an unchanged file again gets the same text, so that comparing the settings of ten
  // thousand instances does not compare as many bundles of certificates.
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<const std::string>> known;
  const std::lock_guard lock(mutex);
  std::erase_if(known, [](const auto& one) { return one.second.expired(); });
  const auto before = known[path].lock();
  if (before != nullptr && *before == text) return FileText(before);
  const auto now = std::make_shared<const std::string>(std::move(text));
  known[path] = now;
  return FileText(now);
}

// Where systems keep the certificates that they trust: OpenSSL's own places, then Debian's and
// Red Hat's. A single file, because a directory would be searched during handshakes.
std::vector<std::string> system_ca_files() {
  std::vector<std::string> files;
  if (const char* set = std::getenv(X509_get_default_cert_file_env())) files.emplace_back(set);
  files.emplace_back(X509_get_default_cert_file());
  files.emplace_back("/etc/ssl/certs/ca-certificates.crt");
  files.emplace_back("/etc/pki/tls/certs/ca-bundle.crt");
  return files;
}

Bio reader(const FileText& text) {
  return Bio(BIO_new_mem_buf(text.get().data(), static_cast<int>(text.get().size())));
}

// Instead of asking on the terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

shm::Status trust(SSL_CTX* context, const TlsSettings& settings) {
  const std::string& path = settings.ca_file;
  const Bio bio = reader(settings.ca);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  std::size_t found = 0;
  while (const auto one =
             Certificate(PEM_read_bio_X509_AUX(bio.get(), nullptr, no_passphrase, nullptr))) {
    if (X509_STORE_add_cert(store, one.get()) != 1) return invalid(path, why());
    ++found;
  }
  const unsigned long code = ERR_peek_last_error();
  const bool is_end =
      ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  const std::string reason = why();
  if (!is_end) {
    return invalid(
        path, "its certificate number " + std::to_string(found + 1) + " cannot be read: " + reason);
  }
  if (found == 0) return invalid(path, "holds no certificate in PEM (\"BEGIN CERTIFICATE\")");
  return shm::Done{};
}

shm::Status present(SSL_CTX* context, const TlsSettings& settings) {
  const std::string& path = settings.certificate_file;
  const Bio bio = reader(settings.certificate);
  const Certificate leaf(PEM_read_bio_X509_AUX(bio.get(), nullptr, no_passphrase, nullptr));
  if (leaf == nullptr) {
    ERR_clear_error();
    return invalid(path, "holds no certificate in PEM (\"BEGIN CERTIFICATE\")");
  }
  if (SSL_CTX_use_certificate(context, leaf.get()) != 1) return invalid(path, why());
  while (auto more = Certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr))) {
    if (SSL_CTX_add0_chain_cert(context, more.get()) != 1) return invalid(path, why());
    static_cast<void>(more.release());
  }
  ERR_clear_error();

  const bool in_one = settings.key_file.empty();
  const std::string& key_path = in_one ? path : settings.key_file;
  const Bio key_bio = reader(in_one ? settings.certificate : settings.key);
  const Key key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, no_passphrase, nullptr));
  if (key == nullptr) {
    const FileText& text = in_one ? settings.certificate : settings.key;
    const bool none = text.get().find("PRIVATE KEY-----") == std::string::npos;
    const unsigned long code = ERR_peek_last_error();
    const bool locked =
        ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_BAD_PASSWORD_READ;
    const std::string reason = why();
    if (none && in_one) return invalid(path, "holds no private key, and no key file is set");
    if (none) return invalid(key_path, "holds no private key in PEM (\"BEGIN PRIVATE KEY\")");
    if (locked)
      return invalid(key_path, "its key is encrypted; a key without passphrase is needed");
    return invalid(key_path, "its key cannot be read: " + reason);
  }
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
    ERR_clear_error();
    return invalid(key_path, "its key is not that of the certificate in " + path);
  }
  return shm::Done{};
}

shm::Status offer(SSL_CTX* context, const std::vector<std::string>& protocols) {
  if (protocols.empty()) return shm::Done{};
  if (protocols.size() > kMaxAlpn) return invalid({}, "more than 8 protocols are offered by ALPN");
  std::vector<unsigned char> wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      return invalid({}, "a protocol offered by ALPN has 1 to 255 bytes");
    }
    wire.push_back(static_cast<unsigned char>(protocol.size()));
    wire.insert(wire.end(), protocol.begin(), protocol.end());
  }
  // Unlike nearly all else in OpenSSL it returns 0 for success.
  if (SSL_CTX_set_alpn_protos(context, wire.data(), static_cast<unsigned>(wire.size())) != 0) {
    return invalid({}, why());
  }
  return shm::Done{};
}

}  // namespace

bool tls_is_built_in() noexcept {
  return true;
}

shm::Status read_tls_files(TlsSettings& settings) {
  struct Wanted {
    const std::string& path;
    FileText& text;
  };
  for (const Wanted& one : {Wanted{settings.ca_file, settings.ca},
                            Wanted{settings.certificate_file, settings.certificate},
                            Wanted{settings.key_file, settings.key}}) {
    one.text = {};
    if (one.path.empty()) continue;
    auto text = read_file(one.path);
    if (!text) return text.error();
    one.text = std::move(*text);
  }
  if (!settings.verify || !settings.ca_file.empty()) return shm::Done{};
  for (const std::string& path : system_ca_files()) {
    auto text = read_file(path);
    if (!text) continue;
    settings.ca = std::move(*text);
    return shm::Done{};
  }
  return invalid(system_ca_files().back(),
                 "neither this nor any other file of certificates that the system trusts can be "
                 "read: install ca-certificates, or set ca_file, or verify = false");
}

shm::Result<std::shared_ptr<const TlsClient>> TlsClient::make(const TlsSettings& settings,
                                                              CheckKind kind) {
  ERR_clear_error();
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) return invalid({}, why());
  const std::shared_ptr<TlsClient> client(new TlsClient(context));

  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  if (SSL_CTX_set_cipher_list(context, kCiphers) != 1 ||
      SSL_CTX_set1_groups_list(context, kGroups) != 1) {
    return invalid({}, why());
  }
  // Idle connections, of which there may be ten thousand, hold no buffers.
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_max_cert_list(context, kMaxChainBytes);
  SSL_CTX_set_verify_depth(context, kMaxChainDepth);
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
  SSL_CTX_set_verify(context, settings.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  client->verifies_ = settings.verify;

  if (settings.verify) {
    if (auto status = trust(context, settings); !status) return status.error();
  }
  if (!settings.certificate_file.empty()) {
    if (auto status = present(context, settings); !status) return status.error();
  } else if (!settings.key_file.empty()) {
    return invalid(settings.key_file, "there is no certificate to this key; set certificate_file");
  }
  std::vector<std::string> protocols = settings.alpn;
  if (protocols.empty() && kind == CheckKind::http) protocols = {"http/1.1"};
  if (protocols.empty() && kind == CheckKind::grpc) protocols = {"h2"};
  if (auto status = offer(context, protocols); !status) return status.error();
  // A server that has not agreed to HTTP/2 would be spoken to in another language than its own.
  if (kind == CheckKind::grpc) client->required_alpn_ = "h2";
  return std::shared_ptr<const TlsClient>(client);
}

TlsClient::~TlsClient() {
  SSL_CTX_free(context_);
}

}  // namespace ballast::checker
