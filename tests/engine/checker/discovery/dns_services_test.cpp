// What SRV records mean for instances.
#include "engine/checker/discovery/dns_services.hpp"

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

namespace ballast::checker {
namespace {

TEST_CASE("priorities are ranked into tiers, and great weights shrink together") {
  const auto at = [](const char* text) {
    auto endpoint = *shm::parse_endpoint(text);
    endpoint.port = 0;
    return endpoint;
  };
  const std::map<std::string, std::vector<shm::Endpoint>> addresses{{"a", {at("10.0.0.1:1")}},
                                                                    {"b", {at("10.0.0.2:1")}},
                                                                    {"c", {at("10.0.0.3:1")}},
                                                                    {"d", {at("10.0.0.4:1")}},
                                                                    {"e", {at("10.0.0.5:1")}}};
  auto found = to_instances({{5, 65535, 80, "a"},
                             {7, 6553, 80, "b"},
                             {100, 1, 80, "c"},
                             {200, 0, 80, "d"},
                             {65535, 32768, 80, "e"}},
                            addresses)
                   .instances;
  REQUIRE(found.size() == 5);
  const std::vector<std::uint32_t> tiers{0, 1, 2, 3, 3};
  const std::vector<std::uint32_t> weights{1000, 100, 1, 1, 500};
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].tier == tiers[i]);
    CHECK(found[i].weight == weights[i]);
  }
  // The same address twice: the preferred, then the heavier one.
  found = to_instances({{9, 9, 80, "a"},
                        {5, 1, 80, "a"},
                        {5, 3, 80, "a"},
                        {1, 1, 0, "b"},
                        {1, 1, 80, ""},
                        {1, 1, 80, "nobody"}},
                       addresses)
              .instances;
  REQUIRE(found.size() == 1);
  CHECK(found[0].weight == 3);
  CHECK(found[0].tier == 1);  // 1 has a target, if no address
}

TEST_CASE("one long list of addresses at thousands of ports is refused before it is made") {
  std::map<std::string, std::vector<shm::Endpoint>> addresses;
  for (std::uint32_t i = 0; i < 4000; ++i) {
    auto endpoint = *shm::parse_endpoint("10.0." + std::to_string(i / 250) + "." +
                                         std::to_string(i % 250) + ":1");
    endpoint.port = 0;
    addresses["a"].push_back(endpoint);
  }
  std::vector<DnsService> services;
  for (std::uint16_t port = 1; port <= 3300; ++port)
    services.push_back({1, 1, port, "a"});
  const Discovered refused = to_instances(services, addresses);
  CHECK(refused.instances.empty());
  CHECK(refused.error == "3300 services lead to 13200000 instances: at most 60000 are taken");
  // The same service named again and again is one.
  for (DnsService& service : services)
    service.port = 80;
  const Discovered taken = to_instances(services, addresses);
  CHECK(taken.error.empty());
  CHECK(taken.instances.size() == 4000);
}

}  // namespace
}  // namespace ballast::checker
