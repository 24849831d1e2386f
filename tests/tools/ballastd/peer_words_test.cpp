// Whoever brings the words of another balancer along is told ours.
#include "tools/ballastd/peer_words.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string_view>

using ballast::tools::meant_word;

TEST_CASE("another balancer's word leads to ours, where that is possible") {
  constexpr std::array<std::string_view, 4> keys{"max_in_flight", "breaker", "outlier",
                                                 "slow_start"};
  CHECK(meant_word("max_conns", keys) == "max_in_flight");
  CHECK(meant_word("outlier_detection", keys) == "outlier");
  CHECK(meant_word("OUTLIER_DETECTION", keys) == "outlier");
  CHECK(meant_word("least_conn", keys).empty());  // known, but no key of this table
}

TEST_CASE("their share and their time of ejections lead to two keys in two tables") {
  constexpr std::array<std::string_view, 2> of_service{"max_ejected", "max_in_flight"};
  constexpr std::array<std::string_view, 2> of_outlier{"ejection", "ejection_max"};
  CHECK(meant_word("max_ejection_percent", of_service) == "max_ejected");
  CHECK(meant_word("max_ejection_time", of_outlier) == "ejection_max");
}

TEST_CASE("a slip of the hand is still one") {
  constexpr std::array<std::string_view, 2> keys{"breaker", "slow_start"};
  CHECK(meant_word("slowstart", keys) == "slow_start");
  CHECK(meant_word("braeker", keys) == "breaker");
  CHECK(meant_word("xylophone", keys).empty());
}

TEST_CASE("strategies by the names of nginx, HAProxy and Envoy") {
  constexpr std::array<std::string_view, 4> strategies{"consistent_hash", "round_robin",
                                                       "least_connections", "least_response_time"};
  CHECK(meant_word("least_conn", strategies) == "least_connections");
  CHECK(meant_word("leastconn", strategies) == "least_connections");
  CHECK(meant_word("LEAST_REQUEST", strategies) == "least_connections");
  CHECK(meant_word("RING_HASH", strategies) == "consistent_hash");
  CHECK(meant_word("roundrobin", strategies) == "round_robin");
  CHECK(meant_word("ip_hash", strategies).empty());
}
