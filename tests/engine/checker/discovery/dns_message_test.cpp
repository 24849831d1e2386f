// Answers of name servers, right ones and every kind of wrong one.
#include "engine/checker/discovery/dns_message.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/fake_dns.hpp"

namespace ballast::checker {
namespace {

using tests::dns_a;
using tests::dns_answer;
using tests::dns_cname;
using tests::dns_soa;
using tests::dns_srv;
using tests::DnsBytes;

std::optional<DnsMessage> parse(const std::string& bytes) {
  return parse_dns_message({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
}

std::string question(const std::string& name, unsigned type) {
  return DnsBytes().name(name).u16(type).u16(1).bytes();
}

TEST_CASE("addresses come with the shortest time to live on the way to them") {
  const auto message = parse(
      dns_answer(7, question("Web.test", 1),
                 {{dns_cname("web.test", "pool.test", 20), dns_a("pool.test", "10.0.0.1", 300),
                   dns_a("POOL.test", "10.0.0.2", 40), dns_a("pool.test", "fd00::1", 50)},
                  {},
                  {dns_a("elsewhere.test", "10.9.9.9", 45)}}));
  REQUIRE(message);
  CHECK(message->rcode == kDnsNoError);
  CHECK_FALSE(message->truncated);
  REQUIRE(message->addresses.size() == 3);
  CHECK(message->addresses[0].address.to_text() == "10.0.0.1:0");
  CHECK(message->addresses[1].name == "pool.test");
  CHECK(message->addresses[2].address.to_text() == "[fd00::1]:0");
  CHECK(message->additional.size() == 1);
  CHECK(message->ttl_s == 20);
  CHECK_FALSE(message->negative_ttl_s);
}

TEST_CASE("services come with priority, weight, port and target") {
  const auto message = parse(dns_answer(7, question("_web._tcp.test", 33),
                                        {{dns_srv("_web._tcp.test", 10, 5, 8080, "A.test"),
                                          dns_srv("_web._tcp.test", 20, 0, 8081, "")}}));
  REQUIRE(message);
  REQUIRE(message->services.size() == 2);
  CHECK(message->services[0].priority == 10);
  CHECK(message->services[0].weight == 5);
  CHECK(message->services[0].port == 8080);
  CHECK(message->services[0].target == "a.test");
  CHECK(message->services[1].target == "");
}

TEST_CASE("an answer that there is nothing says for how long") {
  tests::DnsReply reply;
  reply.rcode = 3;
  reply.authority = {dns_soa(90, 15)};
  auto message = parse(dns_answer(7, question("no.test", 1), reply));
  REQUIRE(message);
  CHECK(message->rcode == kDnsNoSuchName);
  CHECK(message->negative_ttl_s == 15);
  CHECK_FALSE(message->ttl_s);
  reply.authority = {dns_soa(9, 15)};
  message = parse(dns_answer(7, question("no.test", 1), reply));
  REQUIRE(message);
  CHECK(message->negative_ttl_s == 9);
}

TEST_CASE("a time to live with its top bit set is none") {
  const auto message =
      parse(dns_answer(7, question("a.test", 1), {{dns_a("a.test", "10.0.0.1", 0x8000'0000U)}}));
  REQUIRE(message);
  CHECK(message->ttl_s == 0);
}

std::string header(unsigned answers) {
  return DnsBytes().u16(7).u16(0x8180).u16(1).u16(answers).u16(0).u16(0).bytes();
}

TEST_CASE("names are followed backwards only") {
  const std::string asked = question("a.test", 1);  // the name is at 12
  const auto record = [](const std::string& name) {
    return name + DnsBytes().u16(1).u16(1).u32(60).u16(4).raw("\x0A\x01\x01\x01").bytes();
  };
  const auto with = [&](const std::string& name) {
    return parse(header(1) + asked + record(name));
  };
  const auto pointer = [](unsigned to) { return DnsBytes().u16(0xC000U | to).bytes(); };
  REQUIRE(with(pointer(12)));
  CHECK(with(pointer(12))->addresses.front().name == "a.test");
  CHECK(with(pointer(14))->addresses.front().name == "test");
  CHECK(with(DnsBytes().u8(1).raw("b").raw(pointer(14)).bytes())->addresses.front().name ==
        "b.test");
  const auto here = static_cast<unsigned>(header(1).size() + asked.size());
  CHECK_FALSE(with(pointer(here)));                                         // itself
  CHECK_FALSE(with(DnsBytes().u8(1).raw("b").raw(pointer(here)).bytes()));  // round and round
  CHECK_FALSE(with(pointer(here + 4)));                                     // forwards
  CHECK_FALSE(with(pointer(16383)));                                        // out of the message
  CHECK_FALSE(with(DnsBytes().u8(0x40).bytes()));                           // of no known kind
  CHECK_FALSE(with(DnsBytes().u8(3).raw("a.b").u8(0).bytes()));
  CHECK_FALSE(with(DnsBytes().u8(3).raw("a\nb").u8(0).bytes()));
  std::string longest;
  for (int i = 0; i < 127; ++i)
    longest += "\x01x";
  CHECK(with(longest + '\0'));
  CHECK_FALSE(with(longest + "\x01x" + '\0'));
}

TEST_CASE("names led through pointers upon pointers come to an end") {
  const std::string asked = question("a.test", 1);  // the name is at 12
  // Text nobody reads, of pointers each of which leads to the one before.
  const auto with = [&](unsigned pointers) {
    DnsBytes text;
    const auto begin = static_cast<unsigned>(header(2).size() + asked.size()) + 11;
    for (unsigned i = 0; i + 1 < pointers; ++i)
      text.u16(0xC000U | (i == 0 ? 12 : begin + 2 * (i - 1)));
    const unsigned length = 2 * (pointers - 1);
    const std::string hops =
        DnsBytes().u8(0).u16(16).u16(1).u32(60).u16(length).raw(text.bytes()).bytes();
    const unsigned last = pointers == 1 ? 12 : begin + length - 2;
    return parse(header(2) + asked + hops + DnsBytes().u16(0xC000U | last).bytes() +
                 DnsBytes().u16(1).u16(1).u32(60).u16(4).raw("\x0A\x01\x01\x01").bytes());
  };
  for (const unsigned pointers : {1U, 2U, 127U}) {
    const auto message = with(pointers);
    REQUIRE(message);
    CHECK(message->addresses.front().name == "a.test");
  }
  for (const unsigned pointers : {128U, 8000U})
    CHECK_FALSE(with(pointers));
}

TEST_CASE("an address of the wrong length, or no answer at all, is refused") {
  const std::string asked = question("a.test", 1);
  for (const unsigned length : {0U, 3U, 5U, 16U}) {
    CAPTURE(length);
    const std::string record = DnsBytes()
                                   .u16(0xC00C)
                                   .u16(1)
                                   .u16(1)
                                   .u32(60)
                                   .u16(length)
                                   .raw(std::string(length, 'x'))
                                   .bytes();
    CHECK_FALSE(parse(header(1) + asked + record));
  }
  CHECK_FALSE(parse(DnsBytes().u16(7).u16(0x0100).u16(0).u16(0).u16(0).u16(0).bytes()));
  CHECK(parse(DnsBytes().u16(7).u16(0x8100).u16(0).u16(0).u16(0).u16(0).bytes()));
}

TEST_CASE("cut anywhere, it is refused") {
  tests::DnsReply reply;
  reply.answers = {dns_srv("_web._tcp.test", 10, 5, 8080, "a.test"), dns_a("a.test", "fd00::1")};
  reply.authority = {dns_soa(9, 15)};
  reply.additional = {dns_a("a.test", "10.0.0.1")};
  const std::string whole = dns_answer(7, question("_web._tcp.test", 33), reply);
  REQUIRE(parse(whole));
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(parse(whole.substr(0, n)));
  }
}

TEST_CASE("codes have their names") {
  CHECK(dns_rcode_text(0) == "NOERROR");
  CHECK(dns_rcode_text(2) == "SERVFAIL");
  CHECK(dns_rcode_text(3) == "NXDOMAIN");
  CHECK(dns_rcode_text(5) == "REFUSED");
  CHECK(dns_rcode_text(9) == "RCODE 9");
}

}  // namespace
}  // namespace ballast::checker
