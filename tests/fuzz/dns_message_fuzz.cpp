// Any bytes may come back from where a name server should be. Reading them must end, and what is
// accepted leads to instances within their limits.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "engine/checker/discovery/dns_message.hpp"
#include "engine/checker/discovery/dns_services.hpp"

namespace {

using namespace ballast::checker;

void require(bool condition) {
  if (!condition) std::abort();
}

void require_name(const std::string& name) {
  require(name.size() <= kMaxDnsNameBytes);
  for (const char c : name)
    require(c > ' ' && c <= '~' && !(c >= 'A' && c <= 'Z'));
}

// The addresses of "a", "b" and "c": one, three, and more than all services together may lead to,
// so that what is built stays small and what is refused is never begun. Made once: it is no input.
const std::map<std::string, std::vector<ballast::shm::Endpoint>>& long_lists() {
  static const auto lists = [] {
    ballast::shm::Endpoint endpoint = *ballast::shm::parse_endpoint("10.0.0.1:1");
    endpoint.port = 0;
    std::map<std::string, std::vector<ballast::shm::Endpoint>> made;
    made["a"].assign(1, endpoint);
    made["b"].assign(3, endpoint);
    made["c"].assign(kMaxInstances + 1, endpoint);
    return made;
  }();
  return lists;
}

// A few bytes for each service, of one target or another: what no single message can hold.
void multiply(const std::vector<std::uint8_t>& bytes) {
  std::vector<DnsService> services;
  for (std::size_t i = 0; i + 4 <= bytes.size() && services.size() < 4000; i += 4) {
    const std::uint8_t which = bytes[i] % 64;
    services.push_back({bytes[i], bytes[i + 1],
                        static_cast<std::uint16_t>(bytes[i + 2] << 8U | bytes[i + 3]),
                        which == 0       ? "c"
                        : which % 2 == 0 ? "b"
                                         : "a"});
  }
  const Discovered found = to_instances(services, long_lists());
  require(found.instances.size() <= kMaxInstances);
  require(found.error.empty() || found.instances.empty());
}

void read(const std::vector<std::uint8_t>& bytes) {
  const auto message = parse_dns_message(bytes);
  if (!message) return;
  std::map<std::string, std::vector<ballast::shm::Endpoint>> addresses;
  for (const auto* section : {&message->addresses, &message->additional}) {
    for (const DnsAddress& found : *section) {
      require_name(found.name);
      require(found.address.family != ballast::shm::Family::none && found.address.port == 0);
      require(message->ttl_s.has_value());
      addresses[found.name].push_back(found.address);
    }
  }
  for (const DnsService& service : message->services)
    require_name(service.target);
  const Discovered found = to_instances(message->services, addresses);
  require(found.instances.size() <= kMaxInstances);
  require(found.error.empty() || found.instances.empty());
  for (const auto& one : found.instances) {
    require(one.weight >= 1 && one.weight <= kMaxWeight && one.tier <= kMaxTier);
    require(one.endpoint.port != 0 && one.text == one.endpoint.to_text());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  read(bytes);
  multiply(bytes);
  // Past the header, which says how many records there are.
  std::vector<std::uint8_t> answer{0, 7, 0x81, 0x80, 0, 0, 0, 2, 0, 1, 0, 2};
  answer.insert(answer.end(), bytes.begin(), bytes.end());
  read(answer);
  return 0;
}
