// What `ballast bridge haproxy` answers: the wording, the questions that it takes, and the table as
// it changes under it, without a network.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "tests/support/published.hpp"
#include "tools/ballast/bridge_answer.hpp"
#include "tools/ballast/bridge_table.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Published;
using tests::service_of;
using tests::settings_of;
using tools::agent_answer;
using tools::AgentFacts;
using tools::BridgeTable;
using tools::parse_agent_question;

namespace {

AgentFacts healthy(std::uint32_t weight = 1) {
  AgentFacts facts;
  facts.state.health = shm::Health::up;
  facts.state.reason = shm::Reason::passed;
  facts.state.usable = facts.state.plain = true;
  facts.state.weight = static_cast<std::uint16_t>(weight * shm::kWeightUnit);
  facts.configured_weight = weight;
  return facts;
}

// Reads the table anew at each question.
struct Asked {
  explicit Asked(const std::string& directory)
      : table(directory, [this](const std::string& line) { log.push_back(line); }) {}
  std::string ask(const std::string& line) {
    now_ms += BridgeTable::kMaxAgeMs;
    return table.answer(line, now_ms);
  }
  std::vector<std::string> log;
  std::uint64_t now_ms = 1'000'000;
  BridgeTable table;
};

}  // namespace

TEST_CASE("questions: a service, an address, perhaps a weight, and nothing else") {
  const auto plain = parse_agent_question("web 10.0.0.1:80");
  REQUIRE(plain);
  CHECK(plain->service == "web");
  CHECK(plain->endpoint.to_text() == "10.0.0.1:80");
  CHECK(plain->full_weight == 0);
  const auto six = parse_agent_question("\tweb   [::1]:80 \t 5 ");
  REQUIRE(six);
  CHECK(six->endpoint.to_text() == "[::1]:80");
  CHECK(six->full_weight == 5);
  for (const char* wrong :
       {"", " ", "web", "web ", "10.0.0.1:80", "web 10.0.0.1", "web 10.0.0.1:0", "web name:80",
        "web 10.0.0.1:80 x", "web 10.0.0.1:80 0", "web 10.0.0.1:80 -1", "web 10.0.0.1:80 65536",
        "web 10.0.0.1:80 5 5", "web 10.0.0.1:80 5x", "GET / HTTP/1.1"}) {
    INFO(wrong);
    CHECK(!parse_agent_question(wrong));
  }
  CHECK(parse_agent_question(std::string(63, 's') + " 10.0.0.1:80"));
  CHECK(!parse_agent_question(std::string(64, 's') + " 10.0.0.1:80"));
  CHECK(!parse_agent_question("web 10.0.0.1:80" + std::string(300, ' ')));
}

TEST_CASE("verdicts in HAProxy's words") {
  AgentFacts facts = healthy(4);
  CHECK(agent_answer(facts, 0) == "up ready 100%\n");
  CHECK(agent_answer(facts, 8) == "up ready 50%\n");
  CHECK(agent_answer(facts, 1) == "up ready 400%\n");
  facts.state.weight = 3 * shm::kWeightUnit;
  CHECK(agent_answer(facts, 0) == "up ready 75%\n");
  SUBCASE("a little is never nothing, and nothing is nothing") {
    facts.state.weight = 1;
    CHECK(agent_answer(facts, 0) == "up ready 1%\n");
    CHECK(agent_answer(facts, 65'535) == "up ready 1%\n");
    facts.state.weight = 0;
    CHECK(agent_answer(facts, 0) == "up ready 0%\n");
    facts.state.weight = 65'535;
    facts.configured_weight = UINT64_MAX;
    CHECK(agent_answer(facts, 0) == "up ready 2%\n");
    CHECK(agent_answer(facts, 1) == "up ready 25600%\n");
    facts.configured_weight = 0;
    CHECK(agent_answer(facts, 0) == "up ready 0%\n");
  }
  SUBCASE("down, with the reason") {
    facts.state.health = shm::Health::down;
    facts.state.usable = facts.state.plain = false;
    facts.state.reason = shm::Reason::timeout;
    CHECK(agent_answer(facts, 0) == "ready down #timeout\n");
    facts.state.admin = shm::Admin::drain;
    CHECK(agent_answer(facts, 0) == "drain down #timeout\n");
    facts.state.admin = shm::Admin::maintenance;
    CHECK(agent_answer(facts, 0) == "maint\n");
  }
  SUBCASE("drained, in maintenance, gone") {
    facts.state.usable = facts.state.plain = false;
    facts.state.admin = shm::Admin::drain;
    CHECK(agent_answer(facts, 0) == "drain up\n");
    facts.state.admin = shm::Admin::maintenance;
    CHECK(agent_answer(facts, 0) == "maint\n");
    facts.has_left = true;
    CHECK(agent_answer(facts, 0) == "drain up\n");
  }
  SUBCASE("kept away by its breaker or by outlier detection") {
    facts.breaker_is_open = true;
    CHECK(agent_answer(facts, 0) == "ready down #circuit breaker\n");
    facts.state.ejected = true;
    facts.state.usable = facts.state.plain = false;
    CHECK(agent_answer(facts, 0) == "ready down #ejected\n");
  }
  SUBCASE("panic, as workers have it") {
    facts.state.health = shm::Health::down;
    facts.state.usable = facts.state.plain = false;
    facts.breaker_is_open = true;
    facts.panic = engine::PanicMode::all;
    CHECK(agent_answer(facts, 0) == "up ready 75%\n");
    facts.state.admin = shm::Admin::drain;  // is honoured in panic, too
    CHECK(agent_answer(facts, 0).starts_with("drain"));
    facts = healthy();
    facts.panic = engine::PanicMode::fail;
    CHECK(agent_answer(facts, 0).starts_with("ready down #panic"));
  }
}

TEST_CASE("answers follow the table") {
  Published published(settings_of({service_of("web", Strategy::maglev, 3)}));
  Asked asked(published.directory());
  CHECK(asked.ask("web 127.1.0.1:8080") == "up ready 100%\n");
  CHECK(asked.table.size() == 3);
  published.set_usable(0, 0, false);
  CHECK(asked.ask("web 127.1.0.1:8080") == "ready down #connect_refused\n");
  CHECK(asked.ask("web 127.1.0.2:8080") == "up ready 100%\n");
  published.set_usable(0, 0, true);
  CHECK(asked.ask("web 127.1.0.1:8080") == "up ready 100%\n");

  // Questions in between are answered from the last reading.
  published.set_usable(0, 0, false);
  CHECK(asked.table.answer("web 127.1.0.1:8080", asked.now_ms + 1) == "up ready 100%\n");
  CHECK(asked.ask("web 127.1.0.1:8080") == "ready down #connect_refused\n");

  // Who leaves is drained; who leaves with its service is not known any more.
  published.apply(settings_of({service_of("web", Strategy::maglev, 2)}));
  CHECK(asked.ask("web 127.1.0.3:8080") == "drain up\n");
  CHECK(asked.table.size() == 2);
  published.apply(settings_of({service_of("web", Strategy::maglev, 3)}));
  CHECK(asked.ask("web 127.1.0.3:8080") == "up ready 100%\n");
  published.apply(settings_of({service_of("other", Strategy::maglev, 3, 10)}));
  CHECK(asked.ask("web 127.1.0.3:8080").empty());
}

TEST_CASE("what cannot be answered is not, and is said once") {
  Published published(settings_of({service_of("web", Strategy::maglev, 2)}));
  Asked asked(published.directory());
  for (int i = 0; i < 10; ++i) {
    CHECK(asked.ask("web 10.9.9.9:80").empty());
    CHECK(asked.ask("mail 127.1.0.1:8080").empty());
    CHECK(asked.ask("\x1b[2J nonsense \xff").empty());
  }
  REQUIRE(asked.log.size() == 2);  // that it answers, and one complaint
  CHECK(asked.log[1] == "asked about web 10.9.9.9:80, which is not in the table: no answer");
  asked.now_ms += 60'000;
  CHECK(asked.ask("\x1b[2J\n nonsense").empty());
  REQUIRE(asked.log.size() == 3);
  CHECK(asked.log[2].find("\"?[2J? nonsense\"") != std::string::npos);
  CHECK(asked.log[2].find("29 more such") != std::string::npos);
}

TEST_CASE("without a checker the last verdicts stand, and without files there are no answers") {
  Published published(settings_of({service_of("web", Strategy::maglev, 2)}));
  Asked nobody(published.directory() + "/none");
  CHECK(nobody.ask("web 127.1.0.1:8080").empty());
  CHECK(nobody.ask("web 127.1.0.1:8080").empty());
  CHECK(nobody.log.size() == 1);

  Asked asked(published.directory());
  published.set_usable(0, 0, false);
  CHECK(asked.ask("web 127.1.0.1:8080") == "ready down #connect_refused\n");
  published.leave();
  CHECK(asked.ask("web 127.1.0.1:8080") == "ready down #connect_refused\n");
  CHECK(asked.ask("web 127.1.0.2:8080") == "up ready 100%\n");
  REQUIRE(asked.log.size() == 2);
  CHECK(asked.log[1] == "no checker is running: its last verdicts stand");
  published.restart();
  CHECK(asked.ask("web 127.1.0.2:8080") == "up ready 100%\n");
  CHECK(asked.log.back() == "a checker is running again");
}
