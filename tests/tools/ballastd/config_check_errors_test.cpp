// Wrong [service.NAME.check] tables: each error's line, caret and advice, exactly as people see
// them.
#include <doctest/doctest.h>

#include <string>

#include "tests/tools/ballastd/config_errors.hpp"

using ballast::tests::errors_of;
using ballast::tests::read_text;

TEST_CASE("every key of a check") {
  CHECK(
      errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
[service.a.check]
kind = "http"
path = "health"
host = "a b"
status = "399-200"
keep_alive = "yes"
interval = "2 s"
fast_interval = "1ms"
timeout = "2h"
rise = 0
fall = 101
jitter = "60%"
first_check = "sideways"
)~") ==
      R"~(f.toml:5:8: path "health" does not start with a slash: write it as in a request, such as "/health"
   |
 5 | path = "health"
   |        ^~~~~~~~ here
f.toml:6:8: host has a character that is not allowed in a header: write a host name, with a port if the server wants one
   |
 6 | host = "a b"
   |        ^~~~~ here
f.toml:7:10: "399-200" is an empty range: put the lower code first
   |
 7 | status = "399-200"
   |          ^~~~~~~~~ here
f.toml:8:14: keep_alive is a string: it must be true or false
   |
 8 | keep_alive = "yes"
   |              ^~~~~ here
f.toml:9:12: "2 s" is not a duration: write a number and a unit, such as "250ms", "2s" or "1m"
   |
 9 | interval = "2 s"
   |            ^~~~~ here
f.toml:10:17: fast_interval "1ms" is out of range: use 10ms to 1h
    |
 10 | fast_interval = "1ms"
    |                 ^~~~~ here
f.toml:11:11: timeout "2h" is out of range: use 1ms to 1h
    |
 11 | timeout = "2h"
    |           ^~~~ here
f.toml:12:8: rise 0 is out of range: use 1 to 100
    |
 12 | rise = 0
    |        ^ here
f.toml:13:8: fall 101 is out of range: use 1 to 100
    |
 13 | fall = 101
    |        ^~~ here
f.toml:14:10: jitter "60%" is out of range: use "0%" to "50%"
    |
 14 | jitter = "60%"
    |          ^~~~~ here
f.toml:15:15: unknown first_check "sideways": use one of decides, up
    |
 15 | first_check = "sideways"
    |               ^~~~~~~~~~ here)~");
}

TEST_CASE("what an HTTP check asks for, and which answers pass") {
  CHECK(errors_of(R"~([service.a]
instances = [{ address = "1.1.1.1:1", check_address = "1.1.1.1" }]
[service.a.check]
port = 65536
method = "GTE"
headers = { "X Probe" = "1", Host = "a", "X-Line" = "a\r\nb", "X-Number" = 1 }
status = ["200", "0"]
body_contains = ""
body_regex = "a(b"
max_body_bytes = 2000000
[service.b]
instances = ["1.1.1.1:1"]
check = { kind = "tcp", method = "GET" }
[service.c]
instances = ["1.1.1.1:1"]
check = { method = "HEAD", body_contains = "ok", status = [] }
)~") ==
        R"~(f.toml:2:55: "1.1.1.1" has no port: add one, such as "1.1.1.1:80"
   |
 2 | instances = [{ address = "1.1.1.1:1", check_address = "1.1.1.1" }]
   |                                                       ^~~~~~~~~ here
f.toml:4:8: port 65536 is out of range: use 1 to 65535, or 0 for the instance's own
   |
 4 | port = 65536
   |        ^~~~~ here
f.toml:5:10: method "GTE" is not one that checks: did you mean "GET"?
   |
 5 | method = "GTE"
   |          ^~~~~ here
f.toml:6:25: "X Probe" is not the name of a header: use letters, digits and '-', such as "X-Probe"
   |
 6 | headers = { "X Probe" = "1", Host = "a", "X-Line" = "a\r\nb", "X-Number" = 1 }
   |                         ^~~ here
f.toml:6:37: the header Host is not for you to set here: set host
   |
 6 | headers = { "X Probe" = "1", Host = "a", "X-Line" = "a\r\nb", "X-Number" = 1 }
   |                                     ^~~ here
f.toml:6:53: the value of the header X-Line has a character that is not allowed: use printable ASCII on one line
   |
 6 | headers = { "X Probe" = "1", Host = "a", "X-Line" = "a\r\nb", "X-Number" = 1 }
   |                                                     ^~~~~~~~ here
f.toml:6:76: the header "X-Number" is a whole number: it must be a string
   |
 6 | headers = { "X Probe" = "1", Host = "a", "X-Line" = "a\r\nb", "X-Number" = 1 }
   |                                                                            ^ here
f.toml:7:18: "0" is not a range of HTTP status codes: use codes from 100 to 599
   |
 7 | status = ["200", "0"]
   |                  ^~~ here
f.toml:8:17: body_contains is empty: leave it out to take any body
   |
 8 | body_contains = ""
   |                 ^~ here
f.toml:9:14: body_regex cannot be used: missing ): a(b: write it in RE2's syntax
   |
 9 | body_regex = "a(b"
   |              ^~~~~ here
f.toml:10:18: max_body_bytes 2000000 is out of range: use 1 to 1048576
    |
 10 | max_body_bytes = 2000000
    |                  ^~~~~~~ here
f.toml:13:25: method has no meaning unless kind is "http": remove it, or set kind = "http"
    |
 13 | check = { kind = "tcp", method = "GET" }
    |                         ^~~~~~ here
f.toml:16:28: body_contains has no meaning unless the answer has a body: remove it, or set another method than HEAD
    |
 16 | check = { method = "HEAD", body_contains = "ok", status = [] }
    |                            ^~~~~~~~~~~~~ here
f.toml:16:59: status has 0 ranges: use 1 to 32
    |
 16 | check = { method = "HEAD", body_contains = "ok", status = [] }
    |                                                           ^~ here)~");
}

TEST_CASE("presets and steps") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
check = { kind = "tcp", preset = "reddis" }
[service.b]
instances = ["1.1.1.1:1"]
check = { kind = "tcp", preset = "redis", steps = [{ expect = "x" }] }
[service.c]
instances = ["1.1.1.1:1"]
check = { kind = "tcp", steps = [{ send = "x" }] }
[service.d]
instances = ["1.1.1.1:1"]
check = { preset = "smtp" }
)~") == R"~(f.toml:3:34: unknown preset "reddis": did you mean "redis"?
   |
 3 | check = { kind = "tcp", preset = "reddis" }
   |                                  ^~~~~~~~ here
f.toml:6:51: steps and preset are two ways to say the same: remove one of them
   |
 6 | check = { kind = "tcp", preset = "redis", steps = [{ expect = "x" }] }
   |                                                   ^~~~~~~~~~~~~~~~~~ here
f.toml:9:33: steps expect nothing, so that no answer would end the check: add { expect = ... }
   |
 9 | check = { kind = "tcp", steps = [{ send = "x" }] }
   |                                 ^~~~~~~~~~~~~~~~ here
f.toml:12:11: preset has no meaning unless kind is "tcp": remove it, or set kind = "tcp"
    |
 12 | check = { preset = "smtp" }
    |           ^~~~~~ here)~");
}

TEST_CASE("kinds and strategies") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
strategy = "magelv"
check.kind = "htpp"
[service.b]
instances = ["1.1.1.1:1"]
strategy = 1
check = { kind = "tcp", path = "/", status = "200" }
)~") ==
        R"~(f.toml:3:12: unknown strategy "magelv": did you mean "maglev"?
   |
 3 | strategy = "magelv"
   |            ^~~~~~~~ here
f.toml:4:14: unknown kind "htpp": did you mean "http"?
   |
 4 | check.kind = "htpp"
   |              ^~~~~~ here
f.toml:7:12: strategy is a whole number: it must be a string
   |
 7 | strategy = 1
   |            ^ here
f.toml:8:25: path has no meaning unless kind is "http": remove it, or set kind = "http"
   |
 8 | check = { kind = "tcp", path = "/", status = "200" }
   |                         ^~~~ here
f.toml:8:37: status has no meaning unless kind is "http": remove it, or set kind = "http"
   |
 8 | check = { kind = "tcp", path = "/", status = "200" }
   |                                     ^~~~~~ here)~");
}

TEST_CASE("keys of another kind of check") {
  CHECK(
      errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
check = { kind = "tcp", keep_alive = false, tcp_sentinel = "yes" }
[service.b]
instances = ["1.1.1.1:1"]
check.tcp_sentinel = true
)~") ==
      R"~(f.toml:3:25: keep_alive has no meaning unless kind is "http": remove it, or set kind = "http"
   |
 3 | check = { kind = "tcp", keep_alive = false, tcp_sentinel = "yes" }
   |                         ^~~~~~~~~~ here
f.toml:3:60: tcp_sentinel is a string: it must be true or false
   |
 3 | check = { kind = "tcp", keep_alive = false, tcp_sentinel = "yes" }
   |                                                            ^~~~~ here
f.toml:6:7: tcp_sentinel has no meaning unless kind is "tcp": remove it, or set kind = "tcp"
   |
 6 | check.tcp_sentinel = true
   |       ^~~~~~~~~~~~ here)~");
}

TEST_CASE("a timeout and a fast interval longer than the interval") {
  CHECK(
      errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
[service.a.check]
interval = "1s"
timeout = "1001ms"
[service.b]
instances = ["1.1.1.1:1"]
check.fast_interval = "3s"
)~") ==
      R"~(f.toml:5:11: timeout is longer than the interval of 1s: shorten it, or lengthen the interval
   |
 5 | timeout = "1001ms"
   |           ^~~~~~~~ is longer than
  ...
 4 | interval = "1s"
   |            ^~~~ the interval
f.toml:8:23: fast_interval is longer than the interval of 2s: shorten it, or lengthen the interval
   |
 8 | check.fast_interval = "3s"
   |                       ^~~~ here)~");
}
