// Stands for tls_client.cpp and tls_streams.cpp in a build without OpenSSL: no TlsClient can be
// made, which the configuration is told, and so nothing is ever encrypted to.
#include <cerrno>
#include <utility>

#include "engine/checker/probing/tls_client.hpp"
#include "engine/checker/probing/tls_streams.hpp"

namespace ballast::checker {

bool tls_is_built_in() noexcept {
  return false;
}

shm::Status read_tls_files(TlsSettings& /*settings*/) {
  return shm::Error{
      shm::ErrorKind::invalid, ENOTSUP, "use TLS", {}, "this program was built without OpenSSL"};
}

shm::Result<std::shared_ptr<const TlsClient>> TlsClient::make(const TlsSettings& /*settings*/,
                                                              CheckKind /*kind*/) {
  return shm::Error{
      shm::ErrorKind::invalid, ENOTSUP, "use TLS", {}, "this program was built without OpenSSL"};
}

TlsClient::~TlsClient() = default;

TlsPeer::TlsPeer(std::shared_ptr<const TlsClient> client, std::string name)
    : client_(std::move(client)), name_(std::move(name)) {}
TlsPeer::~TlsPeer() = default;

class TlsStreams::Impl {};

TlsStreams::TlsStreams(Loop& /*loop*/) {}
TlsStreams::~TlsStreams() = default;

StreamId TlsStreams::open(const OpenRequest& /*request*/) {
  return {};
}
void TlsStreams::send(StreamId /*stream*/, Payload /*payload*/) {}
void TlsStreams::close(StreamId /*stream*/) {}
std::string_view TlsStreams::end_note() const {
  return {};
}
bool TlsStreams::shakes_hands(StreamId /*stream*/) const {
  return false;
}
bool TlsStreams::still_trusted(StreamId /*stream*/) const {
  return false;
}
TlsStats TlsStreams::stats() const {
  return {};
}

}  // namespace ballast::checker
