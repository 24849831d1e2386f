// Endpoints survive the trip through text, words and sockaddr, and refuse what is not an address.
#include "shm/endpoint.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

using ballast::shm::Endpoint;
using ballast::shm::Family;
using ballast::shm::parse_endpoint;

TEST_CASE("an address survives text and words") {
  for (const char* text : {"127.0.0.1:80", "10.1.2.3:65535", "[::1]:8080", "[2001:db8::7]:1"}) {
    CAPTURE(text);
    const auto e = parse_endpoint(text);
    REQUIRE(e.has_value());
    CHECK(e->to_text() == text);
    CHECK(Endpoint::from_words(e->to_words()) == *e);
  }
}

TEST_CASE("what is not an address is refused") {
  for (const char* text : {"", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
                           "127.0.0.1:80x", "::1:80", "[127.0.0.1]:80", "localhost:80", "[]:1"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_endpoint(text).has_value());
  }
}

TEST_CASE("an unknown family in mapped words reads as no address") {
  auto words = parse_endpoint("127.0.0.1:80")->to_words();
  words[0] |= std::uint64_t{1} << 40;
  CHECK(Endpoint::from_words(words).family == Family::none);
}

TEST_CASE("the sockaddr is what connect expects") {
  sockaddr_storage storage;
  CHECK(parse_endpoint("127.0.0.1:80")->to_sockaddr(storage) == sizeof(sockaddr_in));
  const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
  CHECK(ntohs(in->sin_port) == 80);
  CHECK(ntohl(in->sin_addr.s_addr) == 0x7f000001);
  CHECK(Endpoint{}.to_sockaddr(storage) == 0);
}
