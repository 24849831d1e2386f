// Wrong configurations: each error's line, caret and advice, exactly as people see them, and as
// many errors in one run as can be told apart.
#include <doctest/doctest.h>

#include <string>

#include "tests/tools/ballastd/config_errors.hpp"

namespace tools = ballast::tools;
namespace checker = ballast::checker;
using ballast::tests::errors_of;
using ballast::tests::read_text;

namespace {

std::string many_instances(std::size_t count) {
  std::string text = "[service.a]\ninstances = [\n";
  for (std::size_t i = 0; i < count; ++i) {
    text += "\"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":80\",\n";
  }
  return text + "]\n";
}

}  // namespace

TEST_CASE("a weight out of range") {
  CHECK(errors_of(R"~([service.checkout]
instances = ["127.0.0.1:8081", { address = "127.0.0.1:8082", weight = 5000 }]
)~") ==
        R"~(f.toml:2:71: weight 5000 is out of range: use 1 to 1000
   |
 2 | instances = ["127.0.0.1:8081", { address = "127.0.0.1:8082", weight = 5000 }]
   |                                                                       ^~~~ here)~");
}

TEST_CASE("weights of zero and of the wrong kind") {
  CHECK(errors_of(R"~([service.a]
instances = [
  { address = "1.1.1.1:1", weight = 0 },
  { address = "1.1.1.1:2", weight = "5" },
  { address = "1.1.1.1:3", weight = 1.5 },
  { address = "1.1.1.1:4", weight = 99999999999999999999999 },
]
)~") ==
        R"~(f.toml:3:37: weight 0 is out of range: use 1 to 1000
   |
 3 |   { address = "1.1.1.1:1", weight = 0 },
   |                                     ^ here
f.toml:4:37: weight is a string: it must be a whole number, such as weight = 1
   |
 4 |   { address = "1.1.1.1:2", weight = "5" },
   |                                     ^~~ here
f.toml:5:37: weight is a number with a fraction: it must be a whole number, such as weight = 1
   |
 5 |   { address = "1.1.1.1:3", weight = 1.5 },
   |                                     ^~~ here
f.toml:6:37: weight 99999999999999999999999 is out of range: use 1 to 1000
   |
 6 |   { address = "1.1.1.1:4", weight = 99999999999999999999999 },
   |                                     ^~~~~~~~~~~~~~~~~~~~~~~ here)~");
}

TEST_CASE("misspelt keys at every level") {
  CHECK(errors_of(R"~([balast]
[services.a]
[ballast]
max_worker = 3
[service.a]
instances = ["1.1.1.1:1", { adress = "1.1.1.1:2" }]
stratgey = "maglev"
[service.a.chek]
[service.a.check]
intervall = "2s"
)~") ==
        R"~(f.toml:1:2: unknown key "balast" in the file: did you mean "ballast"?
   |
 1 | [balast]
   |  ^~~~~~ ballast
f.toml:2:2: unknown key "services" in the file: did you mean "service"?
   |
 2 | [services.a]
   |  ^~~~~~~~ service
f.toml:4:1: unknown key "max_worker" in [ballast]: did you mean "max_workers"?
   |
 4 | max_worker = 3
   | ^~~~~~~~~~ max_workers
f.toml:6:29: unknown key "adress" in an instance: did you mean "address"?
   |
 6 | instances = ["1.1.1.1:1", { adress = "1.1.1.1:2" }]
   |                             ^~~~~~ address
f.toml:7:1: unknown key "stratgey" in [service.a]: did you mean "strategy"?
   |
 7 | stratgey = "maglev"
   | ^~~~~~~~ strategy
f.toml:8:12: unknown key "chek" in [service.a]: did you mean "check"?
   |
 8 | [service.a.chek]
   |            ^~~~ check
f.toml:10:1: unknown key "intervall" in [service.a.check]: did you mean "interval"?
    |
 10 | intervall = "2s"
    | ^~~~~~~~~ interval)~");
}

TEST_CASE("a key in the wrong table is sent to the right one") {
  CHECK(
      errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
interval = "1s"
weight = 3
namespace = "x"
check.instances = 1
)~") ==
      R"~(f.toml:3:1: unknown key "interval" in [service.a]: it belongs in [service.a.check] or [service.a.agent] or [service.a.outlier]
   |
 3 | interval = "1s"
   | ^~~~~~~~
f.toml:4:1: unknown key "weight" in [service.a]: it belongs in the instance: { address = "HOST:PORT", weight = 5 }
   |
 4 | weight = 3
   | ^~~~~~
f.toml:5:1: unknown key "namespace" in [service.a]: it belongs in [ballast]
   |
 5 | namespace = "x"
   | ^~~~~~~~~
f.toml:6:7: unknown key "instances" in [service.a.check]: it belongs in [service.a]
   |
 6 | check.instances = 1
   |       ^~~~~~~~~)~");
}

TEST_CASE("a key that resembles nothing lists what there is") {
  CHECK(
      errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
xylophone = 1
stale.zebra.deep = 1
)~") ==
      R"~(f.toml:3:1: unknown key "xylophone" in [service.a]: the keys here are instances, sources, strategy, hash, bound, choices, hot_cold, max_in_flight, service_max_in_flight, max_ejected, retry_budget, panic, stale, check, agent, breaker, outlier, slow_start, controller, spillover
   |
 3 | xylophone = 1
   | ^~~~~~~~~
f.toml:4:7: unknown key "zebra" in [service.a.stale]: the keys here are after, then
   |
 4 | stale.zebra.deep = 1
   |       ^~~~~)~");
}

TEST_CASE("two instances with one address show both places") {
  CHECK(
      errors_of(R"~([service.a]
instances = [
  "127.0.0.1:80",
  { address = "here:80", weight = 2 },
]
)~") ==
      R"~(f.toml:4:15: two instances of service "a" have the address 127.0.0.1:80: remove one of them
   |
 4 |   { address = "here:80", weight = 2 },
   |               ^~~~~~~~~ this one
  ...
 3 |   "127.0.0.1:80",
   |   ^~~~~~~~~~~~~~ is also here)~");
}

TEST_CASE("addresses: unresolvable, no port, wrong port, not an address, not a string") {
  CHECK(errors_of(R"~([service.a]
instances = ["nowhere:80", "127.0.0.1", "127.0.0.1:0",
  "::1:80", 5, { weight = 1 }]
)~") ==
        R"~(f.toml:2:14: cannot resolve "nowhere" (Name or service not known): correct the name
   |
 2 | instances = ["nowhere:80", "127.0.0.1", "127.0.0.1:0",
   |              ^~~~~~~~~~~~ here
f.toml:2:28: "127.0.0.1" has no port: add one, such as "127.0.0.1:80"
   |
 2 | instances = ["nowhere:80", "127.0.0.1", "127.0.0.1:0",
   |                            ^~~~~~~~~~~ here
f.toml:2:41: port "0" is wrong: use a number from 1 to 65535
   |
 2 | instances = ["nowhere:80", "127.0.0.1", "127.0.0.1:0",
   |                                         ^~~~~~~~~~~~~ here
f.toml:3:3: "::1:80" has more than one colon: put an IPv6 address in brackets, such as "[::1]:80"
   |
 3 |   "::1:80", 5, { weight = 1 }]
   |   ^~~~~~~~ here
f.toml:3:13: an instance's address is a whole number: it must be a string: "HOST:PORT"
   |
 3 |   "::1:80", 5, { weight = 1 }]
   |             ^ here
f.toml:3:16: this instance has no address: add address = "HOST:PORT"
   |
 3 |   "::1:80", 5, { weight = 1 }]
   |                ^~~~~~~~~~~~~~ here)~");
}

TEST_CASE("empty and missing instances") {
  CHECK(errors_of(R"~([service.a]
instances = []
[service.b]
[service.c]
instances = "1.1.1.1:1"
)~") ==
        R"~(f.toml:2:13: instances of service "a" is empty: add an address, or remove the service
   |
 2 | instances = []
   |             ^~ here
f.toml:3:10: service "b" has no instances: add instances = ["HOST:PORT"]
   |
 3 | [service.b]
   |          ^ to this service
f.toml:5:13: instances is a string: it must be an array of addresses: ["HOST:PORT"]
   |
 5 | instances = "1.1.1.1:1"
   |             ^~~~~~~~~~~ here)~");
}

TEST_CASE("service names") {
  CHECK(
      errors_of(R"~([service."a b"]
instances = ["1.1.1.1:1"]
[service."line\nbreak"]
[service.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]
instances = ["1.1.1.1:1"]
)~") ==
      R"~(f.toml:1:10: service name "a b" has a character that is not allowed: use letters, digits, '.', '_' and '-'
   |
 1 | [service."a b"]
   |          ^~~~~ here
f.toml:3:1: service "line?break" has no instances: add instances = ["HOST:PORT"]
   |
 3 | [service."line\nbreak"]
   | ^~~~~~~~~~~~~~~~~~~~~~~ to this service
f.toml:3:1: service name "line?break" has a character that is not allowed: use letters, digits, '.', '_' and '-'
   |
 3 | [service."line\nbreak"]
   | ^~~~~~~~~~~~~~~~~~~~~~~ here
f.toml:4:10: service name "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" is 64 bytes long: use at most 63
   |
 4 | [service.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]
   |          ^~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~ here)~");
}

TEST_CASE("the wrong kind of value") {
  CHECK(errors_of(R"~(ballast = []
[service]
a = 3
[service.b]
instances = ["1.1.1.1:1"]
check = { interval = 2, timeout = 1.5, jitter = 2020-01-01, path = true, status = [] }
)~") ==
        R"~(f.toml:1:11: ballast is an array: it must be a table: [ballast]
   |
 1 | ballast = []
   |           ^~ here
f.toml:3:5: service "a" is a whole number: it must be a table: [service.a]
   |
 3 | a = 3
   |     ^ here
f.toml:6:22: interval is a whole number: it must be a string with a unit, such as "2s"
   |
 6 | check = { interval = 2, timeout = 1.5, jitter = 2020-01-01, path = true, status = [] }
   |                      ^ here
f.toml:6:35: timeout is a number with a fraction: it must be a string with a unit, such as "2s"
   |
 6 | check = { interval = 2, timeout = 1.5, jitter = 2020-01-01, path = true, status = [] }
   |                                   ^~~ here
f.toml:6:49: jitter is a date or time: it must be a string, such as "10%"
   |
 6 | check = { interval = 2, timeout = 1.5, jitter = 2020-01-01, path = true, status = [] }
   |                                                 ^~~~~~~~~~ here
f.toml:6:68: path is a boolean: it must be a string, such as "/health"
   |
 6 | check = { interval = 2, timeout = 1.5, jitter = 2020-01-01, path = true, status = [] }
   |                                                                    ^~~~ here
f.toml:6:83: status has 0 ranges: use 1 to 32
   |
 6 | check = { interval = 2, timeout = 1.5, jitter = 2020-01-01, path = true, status = [] }
   |                                                                                   ^~ here)~");
}

TEST_CASE("services that are not tables") {
  CHECK(
      errors_of(R"~(service = 3
)~") ==
      R"~(f.toml:1:11: service is a whole number: it must be a table for each service: [service.NAME]
   |
 1 | service = 3
   |           ^ here)~");
}

TEST_CASE("an array of services") {
  CHECK(errors_of(R"~([[service]]
name = "a"
)~") ==
        R"~(f.toml:1:1: service is an array: it must be a table for each service: [service.NAME]
   |
 1 | [[service]]
   | ^~~~~~~~~~~ here)~");
}

TEST_CASE("the [ballast] table") {
  CHECK(
      errors_of(R"~([ballast]
namespace = "../x"
directory = "here"
workers_group = "nobodys"
max_workers = 5000
max_events = 100
[service.a]
instances = ["1.1.1.1:1"]
)~") ==
      R"~(f.toml:2:13: namespace "../x" has a character that is not allowed: use letters, digits, '.', '_' and '-'
   |
 2 | namespace = "../x"
   |             ^~~~~~ here
f.toml:3:13: directory "here" is not an absolute path: start it with a slash
   |
 3 | directory = "here"
   |             ^~~~~~ here
f.toml:4:17: there is no group "nobodys": add it with groupadd, or name one that exists
   |
 4 | workers_group = "nobodys"
   |                 ^~~~~~~~~ here
f.toml:5:15: max_workers 5000 is out of range: use 1 to 4096
   |
 5 | max_workers = 5000
   |               ^~~~ here
f.toml:6:14: max_events 100 is out of range: use 256 to 65536
   |
 6 | max_events = 100
   |              ^~~ here)~");
}

TEST_CASE("no service at all") {
  CHECK(errors_of(R"~()~") ==
        R"~(f.toml: no service is configured: add [service.NAME] with instances = ["HOST:PORT"])~");
}

TEST_CASE("more errors than anyone would read are counted") {
  std::string text = "[service.a]\ninstances = [";
  for (int i = 0; i < 2000; ++i)
    text += "1,";
  const auto result = read_text(text + "]\n");
  REQUIRE(result.errors.size() == tools::kMaxConfigErrors + 1);
  CHECK(result.errors.back().line == "f.toml: 1950 more errors: correct those above first");
}

TEST_CASE("more instances than the limit, of all services together") {
  const auto result =
      read_text(many_instances(checker::kMaxInstances) +
                "[service.b]\ninstances = [\n  \"1.1.1.1:1\",\n  \"1.1.1.1:2\"\n]\n");
  REQUIRE(result.errors.size() == 1);
  CHECK(result.errors[0].text ==
        "f.toml:60006:3: more than 60000 instances are configured: the limit is for all services "
        "together\n"
        "       |\n"
        " 60006 |   \"1.1.1.1:1\",\n"
        "       |   ^~~~~~~~~~~ the first one too many");
}

TEST_CASE("more services than the limit") {
  std::string text;
  for (std::size_t i = 0; i <= checker::kMaxServices; ++i) {
    text += "[service.s" + std::to_string(i) + "]\ninstances = [\"1.1.1.1:1\"]\n";
  }
  const auto result = read_text(text);
  REQUIRE(result.errors.size() == 1);
  CHECK(result.errors[0].line == "f.toml:8193:10: 4097 services are configured: the limit is 4096");
}
