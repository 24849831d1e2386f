// The conversation with an agent, fed by hand: whole, in pieces, without an end, too long.
#include "engine/checker/probing/agent_exchange.hpp"

#include <doctest/doctest.h>

#include <string>

#include "engine/checker/probing/agent_line.hpp"

namespace ballast::checker {
namespace {

TEST_CASE("the agent speaks first, or is asked") {
  AgentExchange silent("");
  CHECK(silent.begin(true) == nullptr);
  CHECK_FALSE(silent.connecting_is_all());
  AgentExchange asking("state?\n");
  for (int i = 0; i < 2; ++i) {
    const Payload first = asking.begin(true);
    REQUIRE(first != nullptr);
    CHECK(*first == "state?\n");
    CHECK_FALSE(asking.answered());
  }
}

TEST_CASE("a line ends at CR, LF or the connection's end, and is read in whatever pieces") {
  AgentExchange exchange("");
  for (const std::string end : {"\n", "\r\n", "\r", "\nmaint\n"}) {
    const std::string line = "drain,50%" + end;
    for (const std::size_t piece : {std::size_t{1}, std::size_t{4}, line.size()}) {
      static_cast<void>(exchange.begin(true));
      Exchange::Step step;
      for (std::size_t at = 0; at < line.size() && !step.done; at += piece)
        step = exchange.on_bytes(std::string_view(line).substr(at, piece));
      REQUIRE(step.done);
      CHECK_FALSE(step.keep);
      CHECK(exchange.answered());
      CHECK(step.result.passed());
      CHECK(step.result.agent == AgentReport{.admin = shm::Admin::drain, .weight_percent = 50});
    }
  }
  static_cast<void>(exchange.begin(true));
  CHECK_FALSE(exchange.on_bytes("up 7").done);
  const Exchange::Step step = exchange.on_bytes("5%");
  CHECK_FALSE(step.done);
  CHECK(exchange.on_close().result.agent == AgentReport{.up = true, .weight_percent = 75});
}

TEST_CASE("down is a failure with its words; none of it is one without") {
  AgentExchange exchange("");
  static_cast<void>(exchange.begin(true));
  Exchange::Step step = exchange.on_bytes("stopped 10% # for the night\n");
  CHECK(step.result.reason == Reason::agent_down);
  CHECK(step.result.note == "stopped: for the night");
  CHECK(step.result.agent == AgentReport{.up = false, .weight_percent = 10});

  static_cast<void>(exchange.begin(true));
  CHECK(exchange.on_close().result.reason == Reason::closed);

  for (const char* line : {"\n", "hello\n", "\nup\n"}) {
    static_cast<void>(exchange.begin(true));
    step = exchange.on_bytes(line);
    CHECK(step.done);
    CHECK(step.result.reason == Reason::bad_response);
    CHECK_FALSE(step.result.agent.has_value());
  }
}

TEST_CASE("a line without end is cut off") {
  AgentExchange exchange("");
  static_cast<void>(exchange.begin(true));
  CHECK_FALSE(exchange.on_bytes(std::string(kMaxAgentLineBytes, 'x')).done);
  CHECK(exchange.on_bytes("\n").result.reason == Reason::bad_response);
  static_cast<void>(exchange.begin(true));
  CHECK_FALSE(exchange.on_bytes("up " + std::string(kMaxAgentLineBytes - 3, ' ')).done);
  const Exchange::Step step = exchange.on_bytes(" ");
  CHECK(step.done);
  CHECK(step.result.reason == Reason::bad_response);
  CHECK_FALSE(step.result.agent.has_value());
  static_cast<void>(exchange.begin(true));
  CHECK(exchange.on_bytes("up " + std::string(kMaxAgentLineBytes - 3, ' ') + "\n").result.passed());
  CHECK(exchange.on_unasked("x").enough);
}

}  // namespace
}  // namespace ballast::checker
