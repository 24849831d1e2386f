// The words of HAProxy's agent-check, as its manual has them, and lines that are none.
#include "engine/checker/probing/agent_line.hpp"

#include <doctest/doctest.h>

#include <string>

namespace ballast::checker {
namespace {

using engine::AgentReport;
using shm::Admin;

AgentReport read(std::string_view line) {
  const AgentLine read = parse_agent_line(line);
  CHECK(read.understood);
  return read.report;
}

TEST_CASE("each word alone") {
  CHECK(read("up") == AgentReport{.up = true});
  for (const char* down : {"down", "fail", "stopped", "failed"})
    CHECK(read(down) == AgentReport{.up = false});
  CHECK(read("ready") == AgentReport{.admin = Admin::ready});
  CHECK(read("drain") == AgentReport{.admin = Admin::drain});
  CHECK(read("maint") == AgentReport{.admin = Admin::maintenance});
  CHECK(read("75%") == AgentReport{.weight_percent = 75});
  CHECK(read("0%") == AgentReport{.weight_percent = 0});
  CHECK(read("150%") == AgentReport{.weight_percent = 100});  // never above the configured one
  CHECK(read("maxconn:30") == AgentReport{.max_in_flight = 30});
  CHECK(read("maxconn:0") == AgentReport{.max_in_flight = 0});
  CHECK(read("maxconn:999999999") == AgentReport{.max_in_flight = engine::kMaxAgentInFlight});
}

TEST_CASE("several, in any order, between blanks, tabs and commas, in any case") {
  const AgentReport all{true, Admin::ready, 75, 30};
  CHECK(read("up ready 75% maxconn:30") == all);
  CHECK(read("maxconn:30,75%,,ready\tup") == all);
  CHECK(read("  UP  Ready , 75% MaxConn:30  ") == all);
  CHECK(read("up\r") == AgentReport{.up = true});
  // The last one counts.
  CHECK(read("down up 10% 20% drain ready") == AgentReport{true, Admin::ready, 20, {}});
}

TEST_CASE("a text for people goes along, printable") {
  AgentLine line = parse_agent_line("down #disk is full");
  CHECK(line.report == AgentReport{.up = false});
  CHECK(line.note == "down: disk is full");
  line = parse_agent_line("75% Stopped # moved, up again at 8: 50%");
  CHECK(line.report == AgentReport{.up = false, .weight_percent = 75});
  CHECK(line.note == "Stopped: moved, up again at 8: 50%");
  line = parse_agent_line("fail");
  CHECK(line.note == "fail");
  line = parse_agent_line("up#all \x1b[31m well\x07");
  CHECK(line.report == AgentReport{.up = true});
  CHECK(line.note == "all ?[31m well?");
  line = parse_agent_line("drain");
  CHECK(line.note.empty());
  line = parse_agent_line("down up");
  CHECK(line.note.empty());
}

TEST_CASE("words that nobody knows are passed over; a line of nothing else says nothing") {
  CHECK(read("weather:fine up") == AgentReport{.up = true});
  for (const char* line : {"",
                           " ",
                           ",",
                           "#up",
                           "hello",
                           "upp",
                           "u",
                           "%",
                           "x%",
                           "5%%",
                           "+5%",
                           "-5%",
                           "5 %",
                           "0x5%",
                           "1234567890%",
                           "maxconn",
                           "maxconn:",
                           "maxconn:-1",
                           "maxconn: 3",
                           "maxconn:3x",
                           "75",
                           "HTTP/1.1 200 OK"}) {
    CAPTURE(line);
    const AgentLine read = parse_agent_line(line);
    CHECK_FALSE(read.understood);
    CHECK(read.report == AgentReport{});
  }
  CHECK(parse_agent_line(" HTTP/1.1  400").note == "HTTP/1.1 400");
}

}  // namespace
}  // namespace ballast::checker
