// Checks of kinds "udp", "exec" and "agent", steps, and [service.NAME.agent]: what right ones come
// to, and what people see of wrong ones.
#include <doctest/doctest.h>

#include <string>

#include "tests/tools/ballastd/config_errors.hpp"

using ballast::checker::AgentSettings;
using ballast::checker::CheckKind;
using ballast::checker::CheckSettings;
using ballast::checker::ExchangeStep;
using ballast::checker::Milliseconds;
using ballast::checker::ServiceSettings;
using ballast::tests::errors_of;
using ballast::tests::read_text;

namespace {

const std::string kHead = "[service.a]\ninstances = [\"1.1.1.1:1\"]\n";

ServiceSettings service_of(const std::string& text) {
  const auto result = read_text(kHead + text);
  for (const auto& error : result.errors)
    MESSAGE(error.text);
  REQUIRE(result.settings.has_value());
  return result.settings->services.at(0);
}

}  // namespace

TEST_CASE("steps in words and in hexadecimal, over TCP and UDP") {
  const std::string steps = R"~(steps = [
  { send = "PING\r\n" }, { expect = "+PONG" }, { send_hex = "00 FF 0a" }, { expect_hex = "7f" }]
)~";
  for (const CheckKind kind : {CheckKind::tcp, CheckKind::udp}) {
    const std::string word = kind == CheckKind::tcp ? "tcp" : "udp";
    const CheckSettings check =
        service_of("[service.a.check]\nkind = \"" + word + "\"\n" + steps).check;
    CHECK(check.kind == kind);
    CHECK(check.steps ==
          std::vector<ExchangeStep>{{ExchangeStep::Kind::send, "PING\r\n"},
                                    {ExchangeStep::Kind::expect, "+PONG"},
                                    {ExchangeStep::Kind::send, std::string("\0\xff\n", 3)},
                                    {ExchangeStep::Kind::expect, "\x7f"}});
  }
  // Whoever is spoken to first may only be listened to over TCP.
  CHECK(service_of("[service.a.check]\nkind = \"tcp\"\nsteps = [{ expect = \"220\" }]\n")
            .check.steps.size() == 1);
  CHECK(service_of("[service.a.check]\nkind = \"tcp\"\n").check.steps.empty());
}

TEST_CASE("a command, and agents") {
  CheckSettings check = service_of(R"~([service.a.check]
kind = "exec"
command = ["/usr/bin/true", "--fast", "$HOME"]
max_output_bytes = 100
timeout = "2s")~")
                            .check;
  CHECK(check.kind == CheckKind::exec);
  CHECK(check.command == std::vector<std::string>{"/usr/bin/true", "--fast", "$HOME"});
  CHECK(check.max_output_bytes == 100);

  ServiceSettings service = service_of(R"~([service.a.check]
kind = "agent"
port = 9999
agent_send = "state\n")~");
  CHECK(service.check.kind == CheckKind::agent);
  CHECK(service.check.agent_send == "state\n");
  CHECK(service.agent == AgentSettings{});

  service = service_of(R"~([service.a.agent]
port = 9999
send = "state\n"
interval = "500ms")~");
  CHECK(service.check.kind == CheckKind::http);
  CHECK(service.agent == AgentSettings{9999, "state\n", Milliseconds(500), Milliseconds(500)});
}

TEST_CASE("wrong steps") {
  CHECK(errors_of(kHead + R"~([service.a.check]
kind = "tcp"
steps = [{ send = "" }, { send = "a", expect = "b" }, { exspect = "c" }, {}, "d", { send_hex = "0" },
         { expect = 5 }, { expect_hex = "no" }]
)~") == R"~(f.toml:5:19: send is 0 bytes long: use 1 to 4096
   |
 5 | steps = [{ send = "" }, { send = "a", expect = "b" }, { exspect = "c" }, {}, "d", { send_hex = "0" }...
   |                   ^~ here
f.toml:5:25: a step says several things: give it one key of send, expect, send_hex, expect_hex
   |
 5 | steps = [{ send = "" }, { send = "a", expect = "b" }, { exspect = "c" }, {}, "d", { send_hex = "0" }...
   |                         ^~~~~~~~~~~~~~~~~~~~~~~~~~~~ here
f.toml:5:57: unknown key "exspect" in a step: did you mean "expect"?
   |
 5 | ...= [{ send = "" }, { send = "a", expect = "b" }, { exspect = "c" }, {}, "d", { send_hex = "0" },
   |                                                      ^~~~~~~ expect
f.toml:5:74: a step says nothing: give it one key of send, expect, send_hex, expect_hex
   |
 5 | ... { send = "a", expect = "b" }, { exspect = "c" }, {}, "d", { send_hex = "0" },
   |                                                      ^~ here
f.toml:5:78: a step is a string: it must be a table: { send = "PING\r\n" } or { expect = "+PONG" }
   |
 5 | ...end = "a", expect = "b" }, { exspect = "c" }, {}, "d", { send_hex = "0" },
   |                                                      ^~~ here
f.toml:5:96: "0" is not a number of bytes in hexadecimal: write two digits for each, such as "00 ff"
   |
 5 | ...= "b" }, { exspect = "c" }, {}, "d", { send_hex = "0" },
   |                                                      ^~~ here
f.toml:6:21: expect is a whole number: it must be a string
   |
 6 |          { expect = 5 }, { expect_hex = "no" }]
   |                     ^ here
f.toml:6:41: "no" is not a number of bytes in hexadecimal: write two digits for each, such as "00 ff"
   |
 6 |          { expect = 5 }, { expect_hex = "no" }]
   |                                         ^~~~ here)~");
}

TEST_CASE("steps over UDP that prove nothing") {
  CHECK(
      errors_of(kHead + R"~([service.a.check]
kind = "udp"
)~") ==
      R"~(f.toml:3:1: a check of kind "udp" has no steps: add steps = [{ send = "..." }, { expect = "..." }]
   |
 3 | [service.a.check]
   | ^~~~~~~~~~~~~~~~~ here)~");
  CHECK(errors_of(kHead + R"~([service.a.check]
kind = "udp"
steps = [{ expect = "a" }, { send = "b" }, { send = "c" }]
)~") == R"~(f.toml:5:10: over UDP nobody answers who was not asked: begin with { send = ... }
   |
 5 | steps = [{ expect = "a" }, { send = "b" }, { send = "c" }]
   |          ^~~~~~~~~~~~~~~~ here
f.toml:5:44: over UDP only an answer shows that somebody is there: end with { expect = ... }
   |
 5 | steps = [{ expect = "a" }, { send = "b" }, { send = "c" }]
   |                                            ^~~~~~~~~~~~~~ here
f.toml:5:44: two datagrams in a row: expect an answer to the first one, or send one only
   |
 5 | steps = [{ expect = "a" }, { send = "b" }, { send = "c" }]
   |                                            ^~~~~~~~~~~~~~ here)~");
  CHECK(errors_of(kHead + R"~([service.a.check]
kind = "udp"
steps = []
)~") == R"~(f.toml:5:9: steps has 0 steps: use 1 to 32
   |
 5 | steps = []
   |         ^~ here)~");
  CHECK(
      errors_of(kHead + R"~([service.a.check]
kind = "udp"
steps = "ping"
)~") ==
      R"~(f.toml:5:9: steps is a string: it must be an array: [{ send = "PING\r\n" }, { expect = "+PONG" }]
   |
 5 | steps = "ping"
   |         ^~~~~~ here)~");
}

TEST_CASE("wrong commands") {
  CHECK(
      errors_of(kHead + R"~([service.a.check]
kind = "exec"
)~") ==
      R"~(f.toml:3:1: a check of kind "exec" has no command: add command = ["/usr/local/bin/check", "--fast"]
   |
 3 | [service.a.check]
   | ^~~~~~~~~~~~~~~~~ here)~");
  CHECK(
      errors_of(kHead + R"~([service.a.check]
kind = "exec"
command = "/usr/bin/check --fast"
)~") ==
      R"~(f.toml:5:11: command is a string: it must be an array, since no shell takes a line apart: ["/usr/local/bin/check", "--fast"]
   |
 5 | command = "/usr/bin/check --fast"
   |           ^~~~~~~~~~~~~~~~~~~~~~~ here)~");
  CHECK(
      errors_of(kHead + R"~([service.a.check]
kind = "exec"
command = ["check", 5, "a\u0000b"]
max_output_bytes = 0
)~") ==
      R"~(f.toml:5:12: command "check" is not an absolute path: write where the program is, such as "/usr/bin/check"
   |
 5 | command = ["check", 5, "a\u0000b"]
   |            ^~~~~~~ here
f.toml:5:21: an argument is a whole number: it must be a string
   |
 5 | command = ["check", 5, "a\u0000b"]
   |                     ^ here
f.toml:5:24: an argument has a NUL byte: leave it out
   |
 5 | command = ["check", 5, "a\u0000b"]
   |                        ^~~~~~~~~~ here
f.toml:6:20: max_output_bytes 0 is out of range: use 1 to 65536
   |
 6 | max_output_bytes = 0
   |                    ^ here)~");
  CHECK(errors_of(kHead + R"~([service.a.check]
kind = "exec"
command = []
)~") == R"~(f.toml:5:11: command has 0 words of 0 bytes: use 1 to 64 words and at most 4096 bytes
   |
 5 | command = []
   |           ^~ here)~");
  CHECK(
      errors_of(kHead + R"~([service.a.check]
command = ["/usr/bin/true"]
steps = [{ expect = "a" }]
agent_send = "x"
)~") ==
      R"~(f.toml:4:1: command has no meaning unless kind is "exec": remove it, or set kind = "exec"
   |
 4 | command = ["/usr/bin/true"]
   | ^~~~~~~ here
f.toml:5:1: steps has no meaning unless kind is "tcp" or "udp": remove it, or set kind to one of them
   |
 5 | steps = [{ expect = "a" }]
   | ^~~~~ here
f.toml:6:1: agent_send has no meaning unless kind is "agent": remove it, or set kind = "agent"
   |
 6 | agent_send = "x"
   | ^~~~~~~~~~ here)~");
}

TEST_CASE("wrong agents") {
  CHECK(errors_of(kHead + R"~([service.a.agent]
send = "x"
)~") == R"~(f.toml:3:1: the agent has no port: add port = 9999, or where it listens
   |
 3 | [service.a.agent]
   | ^~~~~~~~~~~~~~~~~ here)~");
  CHECK(errors_of(kHead + R"~([service.a.agent]
port = 0
intervall = "1s"
timeout = "3s"
)~") == R"~(f.toml:4:8: port 0 is out of range: use 1 to 65535
   |
 4 | port = 0
   |        ^ here
f.toml:5:1: unknown key "intervall" in [service.a.agent]: did you mean "interval"?
   |
 5 | intervall = "1s"
   | ^~~~~~~~~ interval
f.toml:6:11: timeout is longer than the interval of 2s: shorten it, or lengthen the interval
   |
 6 | timeout = "3s"
   |           ^~~~ here)~");
  CHECK(
      errors_of(kHead + R"~([service.a.check]
kind = "agent"
port = 9999
[service.a.agent]
port = 9999
)~") ==
      R"~(f.toml:6:1: the agent is the check of this service already: remove this table, or give the check another kind
   |
 6 | [service.a.agent]
   | ^~~~~~~~~~~~~~~~~ here)~");
  CHECK(errors_of("[service.a]\ninstances = [\"1.1.1.1:1\"]\nagent_check = {}\n") ==
        R"~(f.toml:3:1: unknown key "agent_check" in [service.a]: did you mean "agent"?
   |
 3 | agent_check = {}
   | ^~~~~~~~~~~ agent)~");
}
