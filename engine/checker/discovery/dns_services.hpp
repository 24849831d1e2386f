// What the SRV records of an answer mean for instances. Pure, and needs no c-ares.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/checker/discovery/dns_message.hpp"
#include "engine/checker/discovery/source.hpp"
#include "engine/checker/settings.hpp"
#include "shm/endpoint.hpp"

namespace ballast::checker {

// An instance at an address of DNS. Its text is never the name that led there: a checker that
// starts while DNS is away knows the addresses from the table, and keys must not move for that.
[[nodiscard]] InstanceSettings instance_at(shm::Endpoint address, std::uint16_t port);

// What the services of an answer say, in our terms: the priorities in their order are the tiers
// (what comes after the last tier belongs to it), and weights above the limit shrink all together.
// `addresses` are those of the targets. Services that together have more than kMaxInstances
// addresses are an error: a short answer can name one long list of addresses at thousands of ports.
[[nodiscard]] Discovered to_instances(
    std::vector<DnsService> services,
    const std::map<std::string, std::vector<shm::Endpoint>>& addresses);

}  // namespace ballast::checker
