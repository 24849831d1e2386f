// Wrong strategies, limits and zones: each error's line, caret and advice, exactly as people see
// them.
#include <doctest/doctest.h>

#include <string>

#include "tests/tools/ballastd/config_errors.hpp"

using ballast::tests::errors_of;

TEST_CASE("zones, tiers, the sticky key and the load interval") {
  CHECK(
      errors_of(R"~([ballast]
zone = "a b"
sticky_key_file = "key"
load_interval = "251ms"
[service.a]
instances = [{ address = "1.1.1.1:1", tier = 4, zone = "" }, { address = "1.1.1.1:2", tier = "1", zone = 3 }]
strategy = "round_robbin"
)~") ==
      R"~(f.toml:2:8: zone "a b" has a character that is not allowed: use letters, digits, '.', '_' and '-'
   |
 2 | zone = "a b"
   |        ^~~~~ here
f.toml:3:19: sticky_key_file "key" is not an absolute path: start it with a slash
   |
 3 | sticky_key_file = "key"
   |                   ^~~~~ here
f.toml:4:17: load_interval "251ms" is out of range: use 1ms to 250ms
   |
 4 | load_interval = "251ms"
   |                 ^~~~~~~ here
f.toml:6:46: tier 4 is out of range: use 0 to 3
   |
 6 | instances = [{ address = "1.1.1.1:1", tier = 4, zone = "" }, { address = "1.1.1.1:2", tier = "1", zo...
   |                                              ^ here
f.toml:6:56: zone is empty: give it a name
   |
 6 | ...nces = [{ address = "1.1.1.1:1", tier = 4, zone = "" }, { address = "1.1.1.1:2", tier = "1", zone = ...
   |                                                      ^~ here
f.toml:6:94: tier is a string: it must be a whole number, such as tier = 1
   |
 6 | ...= 4, zone = "" }, { address = "1.1.1.1:2", tier = "1", zone = 3 }]
   |                                                      ^~~ here
f.toml:6:106: zone is a whole number: it must be a string
   |
 6 | ..."" }, { address = "1.1.1.1:2", tier = "1", zone = 3 }]
   |                                                      ^ here
f.toml:7:12: unknown strategy "round_robbin": did you mean "round_robin"?
   |
 7 | strategy = "round_robbin"
   |            ^~~~~~~~~~~~~~ here)~");
}

TEST_CASE("zones of a host that is in none, once a file") {
  CHECK(
      errors_of(R"~([service.a]
instances = [{ address = "1.1.1.1:1", zone = "x" }, { address = "1.1.1.1:2", zone = "y" }]
)~") ==
      R"~(f.toml:2:39: zone has no meaning unless [ballast] says in which zone this host is: remove it, or add zone = "NAME" to [ballast]
   |
 2 | instances = [{ address = "1.1.1.1:1", zone = "x" }, { address = "1.1.1.1:2", zone = "y" }]
   |                                       ^~~~ here)~");
}

TEST_CASE("strategies and the keys that only some have") {
  CHECK(
      errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
strategy = "ip_hash"
hash = "magelv"
choices = 9
[service.b]
instances = ["1.1.1.1:1"]
strategy = "consistent_hash"
hash = "magelv"
bound = 1.0
choices = 2
[service.c]
instances = ["1.1.1.1:1"]
strategy = "random"
hash = "maglev"
bound = 1.25
choices = 2
hot_cold = true
[service.d]
instances = ["1.1.1.1:1"]
strategy = "maglev"
hash = "ketama"
bound = 1.255
hot_cold = true
[service.e]
instances = ["1.1.1.1:1"]
strategy = "least_connections"
choices = "both"
bound = "1.25"
[service.f]
instances = ["1.1.1.1:1"]
strategy = "adaptive"
choices = true
hot_cold = 1
[service.g]
instances = ["1.1.1.1:1"]
bound = nan
strategy = "consistent_hash"
[service.h]
instances = ["1.1.1.1:1"]
bound = -1
)~") ==
      R"~(f.toml:3:12: unknown strategy "ip_hash": use one of consistent_hash, maglev, rendezvous, ketama, round_robin, weighted_round_robin, random, least_connections, least_response_time, adaptive
   |
 3 | strategy = "ip_hash"
   |            ^~~~~~~~~ here
f.toml:5:11: choices 9 is out of range: use 2 to 8, or "all"
   |
 5 | choices = 9
   |           ^ here
f.toml:9:8: unknown hash "magelv": did you mean "maglev"?
   |
 9 | hash = "magelv"
   |        ^~~~~~~~ here
f.toml:10:9: bound 1.0 is out of range: use 1.01 to 10, or 0 for unbounded
    |
 10 | bound = 1.0
    |         ^~~ here
f.toml:15:1: hash has no meaning unless strategy is "consistent_hash": remove it, or set strategy = "consistent_hash"
    |
 15 | hash = "maglev"
    | ^~~~ here
f.toml:16:1: bound has no meaning unless strategy is "consistent_hash": remove it, or set strategy = "consistent_hash"
    |
 16 | bound = 1.25
    | ^~~~~ here
f.toml:17:1: choices has no meaning unless strategy is "least_connections", "least_response_time" or "adaptive": remove it, or set one of these
    |
 17 | choices = 2
    | ^~~~~~~ here
f.toml:18:1: hot_cold has no meaning unless strategy is "adaptive": remove it, or set strategy = "adaptive"
    |
 18 | hot_cold = true
    | ^~~~~~~~ here
f.toml:22:1: hash has no meaning unless strategy is "consistent_hash": remove it, or set strategy = "consistent_hash"
    |
 22 | hash = "ketama"
    | ^~~~ here
f.toml:23:9: bound 1.255 is finer than 0.01: round it
    |
 23 | bound = 1.255
    |         ^~~~~ here
f.toml:24:1: hot_cold has no meaning unless strategy is "adaptive": remove it, or set strategy = "adaptive"
    |
 24 | hot_cold = true
    | ^~~~~~~~ here
f.toml:28:11: choices "both" is out of range: use 2 to 8, or "all"
    |
 28 | choices = "both"
    |           ^~~~~~ here
f.toml:29:1: bound has no meaning unless strategy is "consistent_hash": remove it, or set strategy = "consistent_hash"
    |
 29 | bound = "1.25"
    | ^~~~~ here
f.toml:29:9: bound is a string: it must be a number, such as bound = 1.5
    |
 29 | bound = "1.25"
    |         ^~~~~~ here
f.toml:33:11: choices is a boolean: it must be a whole number, such as choices = 3, or "all"
    |
 33 | choices = true
    |           ^~~~ here
f.toml:34:12: hot_cold is a whole number: it must be true or false
    |
 34 | hot_cold = 1
    |            ^ here
f.toml:37:9: bound nan is out of range: use 1.01 to 10, or 0 for unbounded
    |
 37 | bound = nan
    |         ^~~ here
f.toml:41:9: bound -1 is out of range: use 1.01 to 10, or 0 for unbounded
    |
 41 | bound = -1
    |         ^~ here)~");
}

TEST_CASE("limits, retry budget, panic and staleness") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
max_in_flight = 16777217
service_max_in_flight = -1
max_ejected = "101%"
retry_budget = "0%"
panic = "50%"
stale = { after = "500ms", then = "panic" }
[service.b]
instances = ["1.1.1.1:1"]
retry_budget = 20
panic = { then = "all" }
stale = { after = "10s" }
[service.c]
instances = ["1.1.1.1:1"]
retry_budget = { minimum = 3 }
panic = { below = "0%", then = "keep" }
stale = { after = "10s", then = "keep" }
[service.d]
instances = ["1.1.1.1:1"]
retry_budget = { share = 20, minimum = -1, atleast = 3 }
panic.under = "50%"
max_ejected = "10%"
breaker.enabled = false
outlier.enabled = false
)~") ==
        R"~(f.toml:3:17: max_in_flight 16777217 is out of range: use 0 to 16777216
   |
 3 | max_in_flight = 16777217
   |                 ^~~~~~~~ here
f.toml:4:25: service_max_in_flight -1 is out of range: use 0 to 16777216
   |
 4 | service_max_in_flight = -1
   |                         ^~ here
f.toml:5:15: "101%" is not a percentage: write a whole number from 0 to 100 and %, such as "10%"
   |
 5 | max_ejected = "101%"
   |               ^~~~~~ here
f.toml:6:16: retry_budget "0%" is out of range: use "1%" to "100%"
   |
 6 | retry_budget = "0%"
   |                ^~~~ here
f.toml:7:9: panic is a string: it must be a table: [service.a.panic]
   |
 7 | panic = "50%"
   |         ^~~~~ here
f.toml:8:19: after "500ms" is out of range: use 1s to 24h
   |
 8 | stale = { after = "500ms", then = "panic" }
   |                   ^~~~~~~ here
f.toml:8:35: unknown then "panic": use one of keep, all, fail
   |
 8 | stale = { after = "500ms", then = "panic" }
   |                                   ^~~~~~~ here
f.toml:11:16: retry_budget is a whole number: it must be a string, or a table such as { share = "20%", minimum = 3 }
    |
 11 | retry_budget = 20
    |                ^~ here
f.toml:12:11: then has no meaning unless there is a threshold: remove it, or add below = "50%"
    |
 12 | panic = { then = "all" }
    |           ^~~~ here
f.toml:13:11: after has no meaning unless then is "all" or "fail": remove it, or set one of these
    |
 13 | stale = { after = "10s" }
    |           ^~~~~ here
f.toml:16:18: minimum has no meaning unless there is a share: remove it, or add share = "20%"
    |
 16 | retry_budget = { minimum = 3 }
    |                  ^~~~~~~ here
f.toml:17:19: below "0%" is out of range: use "1%" to "100%"
    |
 17 | panic = { below = "0%", then = "keep" }
    |                   ^~~~ here
f.toml:17:32: unknown then "keep": use one of all, fail
    |
 17 | panic = { below = "0%", then = "keep" }
    |                                ^~~~~~ here
f.toml:18:11: after has no meaning unless then is "all" or "fail": remove it, or set one of these
    |
 18 | stale = { after = "10s", then = "keep" }
    |           ^~~~~ here
f.toml:21:26: share is a whole number: it must be a string, such as "10%"
    |
 21 | retry_budget = { share = 20, minimum = -1, atleast = 3 }
    |                          ^~ here
f.toml:21:40: minimum -1 is out of range: use 0 to 1048576
    |
 21 | retry_budget = { share = 20, minimum = -1, atleast = 3 }
    |                                        ^~ here
f.toml:21:44: unknown key "atleast" in [service.d.retry_budget]: the keys here are share, minimum
    |
 21 | retry_budget = { share = 20, minimum = -1, atleast = 3 }
    |                                            ^~~~~~~
f.toml:22:7: unknown key "under" in [service.d.panic]: the keys here are below, then
    |
 22 | panic.under = "50%"
    |       ^~~~~
f.toml:23:1: max_ejected has no meaning unless the breaker or outlier detection is on: remove it, or switch one of them on
    |
 23 | max_ejected = "10%"
    | ^~~~~~~~~~~ here)~");
}
