// A name server of a test's own, on the loop under test: says what it is told to, counts what it is
// asked, and fails in every way that name servers do. UDP, and TCP when an answer is cut off.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/checker/loop/loop.hpp"
#include "shm/endpoint.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::tests {

// An answer as it is on the wire.
class DnsBytes {
 public:
  DnsBytes& u8(unsigned value) {
    bytes_ += static_cast<char>(value);
    return *this;
  }
  DnsBytes& u16(unsigned value) { return u8(value >> 8 & 255U).u8(value & 255U); }
  DnsBytes& u32(std::uint32_t value) { return u16(value >> 16).u16(value & 0xFFFFU); }
  DnsBytes& raw(const std::string& bytes) {
    bytes_ += bytes;
    return *this;
  }
  DnsBytes& name(const std::string& dotted) {
    for (std::size_t at = 0; at < dotted.size();) {
      const auto dot = std::min(dotted.find('.', at), dotted.size());
      u8(static_cast<unsigned>(dot - at)).raw(dotted.substr(at, dot - at));
      at = dot + 1;
    }
    return u8(0);
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

struct DnsRecord {
  std::string name;
  std::uint16_t type = 1;
  std::uint32_t ttl = 60;
  std::string data;
};

inline DnsRecord dns_a(const std::string& name, const std::string& address,
                       std::uint32_t ttl = 60) {
  const bool v6 = address.find(':') != std::string::npos;
  const auto endpoint = shm::parse_endpoint(v6 ? "[" + address + "]:1" : address + ":1");
  if (!endpoint) throw std::runtime_error("no address: " + address);
  return {name, static_cast<std::uint16_t>(v6 ? 28 : 1), ttl,
          std::string(endpoint->address.begin(), endpoint->address.begin() + (v6 ? 16 : 4))};
}
inline DnsRecord dns_srv(const std::string& name, unsigned priority, unsigned weight, unsigned port,
                         const std::string& target, std::uint32_t ttl = 60) {
  return {name, 33, ttl, DnsBytes().u16(priority).u16(weight).u16(port).name(target).bytes()};
}
inline DnsRecord dns_cname(const std::string& name, const std::string& target,
                           std::uint32_t ttl = 60) {
  return {name, 5, ttl, DnsBytes().name(target).bytes()};
}
inline DnsRecord dns_soa(std::uint32_t ttl, std::uint32_t minimum) {
  DnsBytes data;
  data.name("ns.test").name("root.test").u32(1).u32(1).u32(1).u32(1).u32(minimum);
  return {"test", 6, ttl, data.bytes()};
}

struct DnsReply {
  std::vector<DnsRecord> answers{};
  std::vector<DnsRecord> authority{};
  std::vector<DnsRecord> additional{};
  unsigned rcode = 0;
  bool silent = false;     // no answer at all
  bool truncated = false;  // over UDP: nothing but the word that there is more
  std::string garbage{};   // instead of everything behind the question
};

inline std::string dns_answer(std::uint16_t id, const std::string& question, const DnsReply& reply,
                              bool truncated = false) {
  DnsBytes out;
  out.u16(id).u16(0x8180U | reply.rcode | (truncated ? 0x0200U : 0U)).u16(question.empty() ? 0 : 1);
  const std::array<const std::vector<DnsRecord>*, 3> sections{&reply.answers, &reply.authority,
                                                              &reply.additional};
  for (const auto* section : sections)
    out.u16(truncated ? 0 : static_cast<unsigned>(section->size()));
  out.raw(question);
  if (!reply.garbage.empty()) return out.raw(reply.garbage).bytes();
  if (truncated) return out.bytes();
  for (const auto* section : sections) {
    for (const DnsRecord& record : *section) {
      out.name(record.name).u16(record.type).u16(1).u32(record.ttl);
      out.u16(static_cast<unsigned>(record.data.size())).raw(record.data);
    }
  }
  return out.bytes();
}

class FakeDns {
 public:
  using Question = std::pair<std::string, std::uint16_t>;

  explicit FakeDns(checker::Loop& loop) : loop_(loop), port_(free_port()) {
    const auto endpoint = local_endpoint(port_);
    sockaddr_storage address{};
    const socklen_t length = endpoint.to_sockaddr(address);
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    udp_ = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    tcp_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int yes = 1;
    setsockopt(tcp_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(udp_, generic, length) != 0 || bind(tcp_, generic, length) != 0 ||
        listen(tcp_, 8) != 0) {
      throw std::runtime_error("fake DNS: bind");
    }
    loop_.watch(udp_, [this] { on_datagram(); });
    loop_.watch(tcp_, [this] { on_connection(); });
  }
  ~FakeDns() {
    for (const int fd : {udp_, tcp_}) {
      loop_.unwatch(fd);
      close(fd);
    }
    for (const auto& [fd, bytes] : connections_) {
      loop_.unwatch(fd);
      close(fd);
    }
  }
  FakeDns(const FakeDns&) = delete;
  FakeDns& operator=(const FakeDns&) = delete;

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::size_t asked(const std::string& name, std::uint16_t type) const {
    const auto found = asked_.find({name, type});
    return found == asked_.end() ? 0 : found->second;
  }

  std::map<Question, DnsReply> replies;  // to what is not here: NXDOMAIN
  bool down = false;                     // answers nobody
  std::size_t over_tcp = 0;

 private:
  std::string answer(const std::string& query, bool tcp) {
    if (query.size() < 17) return {};
    std::string name;
    std::size_t at = 12;
    while (at < query.size() && query[at] != 0) {
      const auto length = static_cast<std::size_t>(static_cast<unsigned char>(query[at]));
      if (!name.empty()) name += '.';
      name += query.substr(at + 1, length);
      at += length + 1;
    }
    if (at + 5 > query.size()) return {};
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(query[i]); };
    const auto type = static_cast<std::uint16_t>(byte(at + 1) << 8 | byte(at + 2));
    ++asked_[{name, type}];
    if (down) return {};
    DnsReply reply;
    reply.rcode = 3;
    const auto found = replies.find({name, type});
    if (found != replies.end()) reply = found->second;
    if (reply.silent) return {};
    const auto id = static_cast<std::uint16_t>(byte(0) << 8 | byte(1));
    return dns_answer(id, query.substr(12, at + 5 - 12), reply, reply.truncated && !tcp);
  }

  void on_datagram() {
    std::array<char, 4096> buffer{};
    sockaddr_storage from{};
    socklen_t length = sizeof from;
    auto* const generic = reinterpret_cast<sockaddr*>(&from);
    for (;;) {
      length = sizeof from;
      const ssize_t n = recvfrom(udp_, buffer.data(), buffer.size(), 0, generic, &length);
      if (n < 0) return;
      const std::string out = answer({buffer.data(), static_cast<std::size_t>(n)}, false);
      if (!out.empty()) sendto(udp_, out.data(), out.size(), 0, generic, length);
    }
  }

  void on_connection() {
    const int fd = accept4(tcp_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    connections_[fd];
    loop_.watch(fd, [this, fd] { on_stream(fd); });
  }

  void on_stream(int fd) {
    std::array<char, 4096> buffer{};
    const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n <= 0) {
      loop_.unwatch(fd);
      close(fd);
      connections_.erase(fd);
      return;
    }
    std::string& bytes = connections_[fd];
    bytes.append(buffer.data(), static_cast<std::size_t>(n));
    if (bytes.size() < 2) return;
    const std::size_t length = std::size_t{static_cast<unsigned char>(bytes[0])} << 8 |
                               static_cast<unsigned char>(bytes[1]);
    if (bytes.size() < length + 2) return;
    ++over_tcp;
    const std::string out = answer(bytes.substr(2, length), true);
    bytes.erase(0, length + 2);
    const std::string framed = DnsBytes().u16(static_cast<unsigned>(out.size())).raw(out).bytes();
    static_cast<void>(send(fd, framed.data(), framed.size(), MSG_NOSIGNAL));
  }

  checker::Loop& loop_;
  std::uint16_t port_;
  int udp_ = -1;
  int tcp_ = -1;
  std::map<int, std::string> connections_;
  std::map<Question, std::size_t> asked_;
};

}  // namespace ballast::tests
