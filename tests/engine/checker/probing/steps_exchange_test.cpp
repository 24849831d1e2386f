// Conversations of steps, fed by hand: whole, in pieces, byte by byte, and with answers that are
// not the expected ones.
#include "engine/checker/probing/steps_exchange.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace ballast::checker {
namespace {

ExchangeStep send(std::string bytes) {
  return {ExchangeStep::Kind::send, std::move(bytes)};
}
ExchangeStep expect(std::string bytes) {
  return {ExchangeStep::Kind::expect, std::move(bytes)};
}

TEST_CASE("who speaks first says so, and what is sent follows what was expected") {
  const std::vector<ExchangeStep> steps{expect("220"), send("HELO x\r\n"), expect("250"),
                                        send("QUIT\r\n")};
  StepsExchange exchange(steps);
  CHECK(exchange.begin(true) == nullptr);
  CHECK_FALSE(exchange.answered());
  Exchange::Step step = exchange.on_bytes("220 mail.example 250 ESMTP\r\n");
  CHECK(exchange.answered());
  CHECK_FALSE(step.done);  // the 250 in the greeting answers nothing
  REQUIRE(step.reply != nullptr);
  CHECK(*step.reply == "HELO x\r\n");
  step = exchange.on_bytes("250 hello\r\n");
  CHECK(step.done);
  CHECK(step.keep);
  CHECK(step.result.reason == Reason::passed);
  REQUIRE(step.reply != nullptr);
  CHECK(*step.reply == "QUIT\r\n");
}

TEST_CASE("byte by byte, with bytes of any value, again and again") {
  const std::vector<ExchangeStep> steps{send("a"), send(std::string("\0b", 2)),
                                        expect(std::string("\0\xff", 2)), expect("z")};
  StepsExchange exchange(steps);
  for (int round = 0; round < 3; ++round) {
    const Payload first = exchange.begin(true);
    REQUIRE(first != nullptr);
    CHECK(*first == std::string("a\0b", 3));
    for (const char c : std::string("xx\0\xffyy", 6))
      CHECK_FALSE(exchange.on_bytes({&c, 1}).done);
    CHECK(exchange.on_bytes("z").done);
  }
}

TEST_CASE("another answer is told apart from none") {
  const std::vector<ExchangeStep> steps{send("PING\r\n"), expect("+PONG")};
  StepsExchange exchange(steps);
  static_cast<void>(exchange.begin(true));
  CHECK(exchange.on_timeout().reason == Reason::none);
  CHECK(exchange.on_close().result.reason == Reason::closed);

  static_cast<void>(exchange.begin(true));
  CHECK_FALSE(exchange.on_bytes("-LOADING\x01 the dataset\r\n").done);
  const CheckResult late = exchange.on_timeout();
  CHECK(late.reason == Reason::unexpected);
  CHECK(late.note == "-LOADING? the dataset");
  const Exchange::Step closed = exchange.on_close();
  CHECK(closed.done);
  CHECK_FALSE(closed.keep);
  CHECK(closed.result.reason == Reason::unexpected);
}

TEST_CASE("a peer that talks without end is cut off") {
  const std::vector<ExchangeStep> steps{expect("never")};
  StepsExchange exchange(steps);
  static_cast<void>(exchange.begin(true));
  const std::string much(1000, 'x');
  std::size_t given = 0;
  Exchange::Step step;
  while (!step.done) {
    REQUIRE(given <= StepsExchange::kMaxUnmatchedBytes);
    step = exchange.on_bytes(much);
    given += much.size();
  }
  CHECK(step.result.reason == Reason::unexpected);
  CHECK(step.result.note.size() == kMaxNoteBytes);
  CHECK_FALSE(exchange.on_unasked("hello").enough);
  CHECK(exchange.on_unasked(std::string(100'000, 'x')).enough);
}

TEST_CASE("datagrams answer one by one") {
  const std::vector<ExchangeStep> steps{send("a"), expect("1"), expect("2"), send("b"),
                                        expect("3")};
  StepsExchange exchange(steps, /*datagrams=*/true);
  static_cast<void>(exchange.begin(true));
  CHECK_FALSE(exchange.on_bytes("1 and 2").done);
  const Exchange::Step second = exchange.on_bytes("2 and 3");
  CHECK_FALSE(second.done);
  REQUIRE(second.reply != nullptr);
  CHECK(*second.reply == "b");
  CHECK(exchange.on_bytes("3").result.reason == Reason::passed);

  static_cast<void>(exchange.begin(true));
  CHECK(exchange.on_bytes("2").result.reason == Reason::unexpected);
}

}  // namespace
}  // namespace ballast::checker
