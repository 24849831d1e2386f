// Wrong tables of breaker, outlier detection, slow start and the rest: each error's line, caret and
// advice, exactly as people see them.
#include <doctest/doctest.h>

#include <string>

#include "tests/tools/ballastd/config_errors.hpp"

using ballast::tests::errors_of;

TEST_CASE("the breaker") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
[service.a.breaker]
enabled = "no"
consecutive = 1001
failure_rate = 0.85
requests = 0
window = "10ms"
open = "5ms"
open_max = "2h"
trial = "1h"
jitter = "51%"
outcomes = ["time_out", "success", 5]
[service.b]
instances = ["1.1.1.1:1"]
breaker = { open = "2s", open_max = "1s", outcomes = [], failure_rate = "0%", requests = 3, window = "1s" }
[service.c]
instances = ["1.1.1.1:1"]
breaker = { open_max = "1s", outcomes = "timeout", failures = 3 }
)~") ==
        R"~(f.toml:4:11: enabled is a string: it must be true or false
   |
 4 | enabled = "no"
   |           ^~~~ here
f.toml:5:15: consecutive 1001 is out of range: use 0 to 1000
   |
 5 | consecutive = 1001
   |               ^~~~ here
f.toml:6:16: failure_rate is a number with a fraction: it must be a string, such as "10%"
   |
 6 | failure_rate = 0.85
   |                ^~~~ here
f.toml:7:12: requests 0 is out of range: use 1 to 4000
   |
 7 | requests = 0
   |            ^ here
f.toml:8:10: window "10ms" is out of range: use 100ms to 10m
   |
 8 | window = "10ms"
   |          ^~~~~~ here
f.toml:9:8: open "5ms" is out of range: use 10ms to 1h
   |
 9 | open = "5ms"
   |        ^~~~~ here
f.toml:10:12: open_max "2h" is out of range: use 10ms to 1h
    |
 10 | open_max = "2h"
    |            ^~~~ here
f.toml:11:9: trial "1h" is out of range: use 10ms to 10m
    |
 11 | trial = "1h"
    |         ^~~~ here
f.toml:12:10: jitter "51%" is out of range: use "0%" to "50%"
    |
 12 | jitter = "51%"
    |          ^~~~~ here
f.toml:13:13: unknown outcome "time_out": did you mean "timeout"?
    |
 13 | outcomes = ["time_out", "success", 5]
    |             ^~~~~~~~~~ here
f.toml:13:25: unknown outcome "success": use one of connect_failure, timeout, reset, server_error, overload, cancelled, abandoned
    |
 13 | outcomes = ["time_out", "success", 5]
    |                         ^~~~~~~~~ here
f.toml:13:36: an outcome is a whole number: it must be a string, such as "timeout"
    |
 13 | outcomes = ["time_out", "success", 5]
    |                                    ^ here
f.toml:16:37: open_max is shorter than open, 2s: lengthen it, or shorten open
    |
 16 | breaker = { open = "2s", open_max = "1s", outcomes = [], failure_rate = "0%", requests = 3, window =...
    |                                     ^~~~ is shorter than
   ...
 16 | breaker = { open = "2s", open_max = "1s", outcomes = [], failure_rate = "0%", requests = 3, window =...
    |                    ^~~~ open
f.toml:16:54: outcomes is empty: name what counts as a failure, or set enabled = false
    |
 16 | ...aker = { open = "2s", open_max = "1s", outcomes = [], failure_rate = "0%", requests = 3, window = "1...
    |                                                      ^~ here
f.toml:16:79: requests has no meaning unless failure_rate is above "0%": remove it, or raise that
    |
 16 | ...n_max = "1s", outcomes = [], failure_rate = "0%", requests = 3, window = "1s" }
    |                                                      ^~~~~~~~ here
f.toml:16:93: window has no meaning unless failure_rate is above "0%": remove it, or raise that
    |
 16 | ...outcomes = [], failure_rate = "0%", requests = 3, window = "1s" }
    |                                                      ^~~~~~ here
f.toml:19:24: open_max is shorter than open, 5s: lengthen it, or shorten open
    |
 19 | breaker = { open_max = "1s", outcomes = "timeout", failures = 3 }
    |                        ^~~~ here
f.toml:19:41: outcomes is a string: it must be an array of outcomes: ["timeout", "reset"]
    |
 19 | breaker = { open_max = "1s", outcomes = "timeout", failures = 3 }
    |                                         ^~~~~~~~~ here
f.toml:19:52: unknown key "failures" in [service.c.breaker]: the keys here are enabled, consecutive, failure_rate, requests, window, open, open_max, trial, jitter, outcomes
    |
 19 | breaker = { open_max = "1s", outcomes = "timeout", failures = 3 }
    |                                                    ^~~~~~~~)~");
}

TEST_CASE("outlier detection") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
[service.a.outlier]
enabled = 1
interval = "10ms"
success_rate_sigma = 10.1
success_rate_instances = 2
success_rate_requests = 0
failure_rate = "x"
failure_requests = 0
latency_factor = 1
latency_requests = 0
ejection = "1ms"
ejection_max = "25h"
checks_take_back = "yes"
[service.b]
instances = ["1.1.1.1:1"]
[service.b.outlier]
success_rate_sigma = 0
success_rate_instances = 3
success_rate_requests = 10
failure_rate = "0%"
failure_requests = 10
latency_factor = 0
latency_requests = 10
ejection = "10m"
ejection_max = "1m"
)~") ==
        R"~(f.toml:4:11: enabled is a whole number: it must be true or false
   |
 4 | enabled = 1
   |           ^ here
f.toml:5:12: interval "10ms" is out of range: use 100ms to 1h
   |
 5 | interval = "10ms"
   |            ^~~~~~ here
f.toml:6:22: success_rate_sigma 10.1 is out of range: use 0.1 to 10, or 0 for off
   |
 6 | success_rate_sigma = 10.1
   |                      ^~~~ here
f.toml:7:26: success_rate_instances 2 is out of range: use 3 to 1000
   |
 7 | success_rate_instances = 2
   |                          ^ here
f.toml:8:25: success_rate_requests 0 is out of range: use 1 to 1000000
   |
 8 | success_rate_requests = 0
   |                         ^ here
f.toml:9:16: "x" is not a percentage: write a whole number from 0 to 100 and %, such as "10%"
   |
 9 | failure_rate = "x"
   |                ^~~ here
f.toml:10:20: failure_requests 0 is out of range: use 1 to 1000000
    |
 10 | failure_requests = 0
    |                    ^ here
f.toml:11:18: latency_factor 1 is out of range: use 1.1 to 100, or 0 for off
    |
 11 | latency_factor = 1
    |                  ^ here
f.toml:12:20: latency_requests 0 is out of range: use 1 to 1000000
    |
 12 | latency_requests = 0
    |                    ^ here
f.toml:13:12: ejection "1ms" is out of range: use 100ms to 1h
    |
 13 | ejection = "1ms"
    |            ^~~~~ here
f.toml:14:16: "25h" is too long: use at most 24h
    |
 14 | ejection_max = "25h"
    |                ^~~~~ here
f.toml:15:20: checks_take_back is a string: it must be true or false
    |
 15 | checks_take_back = "yes"
    |                    ^~~~~ here
f.toml:20:1: success_rate_instances has no meaning unless success_rate_sigma is above 0: remove it, or raise that
    |
 20 | success_rate_instances = 3
    | ^~~~~~~~~~~~~~~~~~~~~~ here
f.toml:21:1: success_rate_requests has no meaning unless success_rate_sigma is above 0: remove it, or raise that
    |
 21 | success_rate_requests = 10
    | ^~~~~~~~~~~~~~~~~~~~~ here
f.toml:23:1: failure_requests has no meaning unless failure_rate is above "0%": remove it, or raise that
    |
 23 | failure_requests = 10
    | ^~~~~~~~~~~~~~~~ here
f.toml:25:1: latency_requests has no meaning unless latency_factor is above 0: remove it, or raise that
    |
 25 | latency_requests = 10
    | ^~~~~~~~~~~~~~~~ here
f.toml:27:16: ejection_max is shorter than ejection, 10m: lengthen it, or shorten ejection
    |
 27 | ejection_max = "1m"
    |                ^~~~ is shorter than
   ...
 26 | ejection = "10m"
    |            ^~~~~ ejection)~");
}

TEST_CASE("slow start, the controller, spillover, and keys in the wrong table") {
  CHECK(errors_of(R"~([service.a]
instances = ["1.1.1.1:1"]
slow_start = { aggression = 0, floor = "0%", window = "2h" }
controller = { enabled = true, update = "1ms", blackout = "2h", expiry = "1ms", error_penalty = 11, floor = "0%", damping = "0%" }
spillover = { overprovisioning = 0.9, prefer_local_zone = "eu" }
[service.b]
instances = ["1.1.1.1:1"]
slow_start = { aggression = 1.25, floor = "10%" }
controller = { update = "1s", damping = "20%" }
spillover = 1.4
[service.c]
instances = ["1.1.1.1:1"]
slow_start.window = "0s"
slow_start.floor = "50%"
window = "30s"
share = "20%"
floor = "20%"
overprovisioning = 1.4
)~") ==
        R"~(f.toml:3:29: aggression 0 is out of range: use 0.1 to 10
   |
 3 | slow_start = { aggression = 0, floor = "0%", window = "2h" }
   |                             ^ here
f.toml:3:40: floor "0%" is out of range: use "1%" to "100%"
   |
 3 | slow_start = { aggression = 0, floor = "0%", window = "2h" }
   |                                        ^~~~ here
f.toml:3:55: window "2h" is out of range: use 100ms to 1h
   |
 3 | slow_start = { aggression = 0, floor = "0%", window = "2h" }
   |                                                       ^~~~ here
f.toml:4:41: update "1ms" is out of range: use 100ms to 1m
   |
 4 | controller = { enabled = true, update = "1ms", blackout = "2h", expiry = "1ms", error_penalty = 11, ...
   |                                         ^~~~~ here
f.toml:4:59: blackout "2h" is out of range: use 0s to 1h
   |
 4 | ...er = { enabled = true, update = "1ms", blackout = "2h", expiry = "1ms", error_penalty = 11, floor = ...
   |                                                      ^~~~ here
f.toml:4:74: expiry "1ms" is out of range: use 1s to 1h
   |
 4 | ...= true, update = "1ms", blackout = "2h", expiry = "1ms", error_penalty = 11, floor = "0%", damping =...
   |                                                      ^~~~~ here
f.toml:4:97: error_penalty 11 is out of range: use 0 to 10
   |
 4 | ... blackout = "2h", expiry = "1ms", error_penalty = 11, floor = "0%", damping = "0%" }
   |                                                      ^~ here
f.toml:4:109: floor "0%" is out of range: use "1%" to "100%"
   |
 4 | ..."2h", expiry = "1ms", error_penalty = 11, floor = "0%", damping = "0%" }
   |                                                      ^~~~ here
f.toml:4:125: damping "0%" is out of range: use "1%" to "100%"
   |
 4 | ...1ms", error_penalty = 11, floor = "0%", damping = "0%" }
   |                                                      ^~~~ here
f.toml:5:34: overprovisioning 0.9 is out of range: use 1 to 10
   |
 5 | spillover = { overprovisioning = 0.9, prefer_local_zone = "eu" }
   |                                  ^~~ here
f.toml:5:59: prefer_local_zone is a string: it must be true or false
   |
 5 | spillover = { overprovisioning = 0.9, prefer_local_zone = "eu" }
   |                                                           ^~~~ here
f.toml:8:16: aggression has no meaning unless there is a window: remove it, or add window = "30s"
   |
 8 | slow_start = { aggression = 1.25, floor = "10%" }
   |                ^~~~~~~~~~ here
f.toml:8:29: aggression 1.25 is finer than 0.1: round it
   |
 8 | slow_start = { aggression = 1.25, floor = "10%" }
   |                             ^~~~ here
f.toml:8:35: floor has no meaning unless there is a window: remove it, or add window = "30s"
   |
 8 | slow_start = { aggression = 1.25, floor = "10%" }
   |                                   ^~~~~ here
f.toml:9:16: update has no meaning unless enabled is true: remove it, or add enabled = true
   |
 9 | controller = { update = "1s", damping = "20%" }
   |                ^~~~~~ here
f.toml:9:31: damping has no meaning unless enabled is true: remove it, or add enabled = true
   |
 9 | controller = { update = "1s", damping = "20%" }
   |                               ^~~~~~~ here
f.toml:10:13: spillover is a number with a fraction: it must be a table: [service.b.spillover]
    |
 10 | spillover = 1.4
    |             ^~~ here
f.toml:14:12: floor has no meaning unless there is a window: remove it, or add window = "30s"
    |
 14 | slow_start.floor = "50%"
    |            ^~~~~ here
f.toml:15:1: unknown key "window" in [service.c]: it belongs in [service.c.breaker] or [service.c.slow_start]
    |
 15 | window = "30s"
    | ^~~~~~
f.toml:16:1: unknown key "share" in [service.c]: did you mean "stale"?
    |
 16 | share = "20%"
    | ^~~~~ stale
f.toml:17:1: unknown key "floor" in [service.c]: it belongs in [service.c.slow_start] or [service.c.controller]
    |
 17 | floor = "20%"
    | ^~~~~
f.toml:18:1: unknown key "overprovisioning" in [service.c]: it belongs in [service.c.spillover]
    |
 18 | overprovisioning = 1.4
    | ^~~~~~~~~~~~~~~~)~");
}
