// Requests as operators write them, right and wrong.
#include "engine/checker/control/request.hpp"

#include <doctest/doctest.h>

#include <string>

namespace ballast::checker {
namespace {

Request right(std::string_view line) {
  const auto parsed = parse_request(line);
  const auto* refusal = std::get_if<Refusal>(&parsed);
  REQUIRE_MESSAGE(refusal == nullptr, (refusal == nullptr ? "" : refusal->text));
  return std::get<Request>(parsed);
}

// "code: text"
std::string wrong(std::string_view line) {
  const auto parsed = parse_request(line);
  const auto* refusal = std::get_if<Refusal>(&parsed);
  REQUIRE_MESSAGE(refusal != nullptr, std::string(line));
  return refusal->code + ": " + refusal->text;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("fields are read") {
  const Request add =
      right(R"({"verb":"add","id":7,"service":"web","instance":["10.0.0.1:80","10.0.0.2:80"],)"
            R"("weight":5,"tier":1,"zone":"b","name":"backend:80","admin":"maintenance"})");
  CHECK(add.verb == Verb::add);
  CHECK(add.id == "7");
  CHECK(add.service == "web");
  CHECK(add.instances == std::vector<std::string>{"10.0.0.1:80", "10.0.0.2:80"});
  CHECK(add.weight == 5);
  CHECK(add.tier == 1);
  CHECK(add.zone == "b");
  CHECK(add.name == "backend:80");
  CHECK(add.admin == shm::Admin::maintenance);
  CHECK(right(R"({"verb":"strategy","service":"w","strategy":"ketama"})").strategy ==
        engine::Strategy::ketama);
  CHECK(right(R"({"verb":"eject","service":"w","instance":"a:1","for_ms":0})").duration ==
        Milliseconds(0));
  const Request wait = right(
      R"( {"verb":"wait","service":"w","epoch":9,"timeout_ms":10,"progress":true,"state":true,"id":"x"} )");
  CHECK(wait.epoch == 9);
  CHECK(wait.timeout == Milliseconds(10));
  CHECK(wait.progress);
  CHECK(wait.state);
  CHECK(wait.id == "\"x\"");
  CHECK(right(R"({"verb":"wait","service":"w"})").timeout == kDefaultWait);
}

TEST_CASE("every verb is known by its place, and asks for fields that are read") {
  for (const VerbInfo& info : verbs()) {
    CHECK(&info_of(info.verb) == &info);
    const std::string without = std::string(R"({"verb":")") + info.name + "\"}";
    if (info.needs.empty()) {
      CHECK(right(without).verb == info.verb);
    } else {
      CHECK(has(wrong(without), " needs \""));
    }
  }
}

TEST_CASE("what is misspelt gets the right word") {
  CHECK(wrong(R"({"verb":"drian","service":"w"})") ==
        "unknown_verb: there is no verb \"drian\": did you mean \"drain\"?");
  CHECK(has(wrong(R"({"verb":"frobnicate"})"), "ask for \"help\""));
  CHECK(wrong(R"({"verb":"drain","servce":"w","instance":"a:1"})") ==
        "unknown_field: drain has no field \"servce\": did you mean \"service\"?");
  CHECK(wrong(R"({"verb":"drain","service":"w","instance":"a:1","weight":1})") ==
        "unknown_field: drain has no field \"weight\": drain takes service instance");
  CHECK(has(wrong(R"({"verb":"help","service":"w"})"), "help takes none"));
  CHECK(has(wrong(R"({"verb":"strategy","service":"w","strategy":"ketma"})"),
            "did you mean \"ketama\"?"));
  CHECK(has(wrong(R"({"verb":"strategy","service":"w","strategy":"?"})"), "use maglev, ketama"));
}

TEST_CASE("what is wrong says what would be right") {
  CHECK(has(wrong(""), "a request is one line of JSON"));
  CHECK(has(wrong("hello"), "parse error at line 1, column 1"));
  CHECK(has(wrong("[1]"), "a request is a JSON object"));
  CHECK(has(wrong("{}"), "needs a \"verb\""));
  CHECK(has(wrong(R"({"verb":5})"), "verb must be a string"));
  CHECK(has(wrong(R"({"verb":"weight","service":"w","instance":"a:1","weight":1001})"),
            "weight must be a whole number from 1 to 1000"));
  CHECK(has(wrong(R"({"verb":"weight","service":"w","instance":"a:1","weight":1.5})"),
            "weight must be a whole number"));
  CHECK(has(wrong(R"({"verb":"weight","service":"w","instance":"a:1","weight":-1})"),
            "weight must be a whole number"));
  CHECK(has(wrong(R"({"verb":"drain","service":"w","instance":[]})"), "empty list"));
  CHECK(has(wrong(R"({"verb":"drain","service":"w","instance":[1]})"), "must be a string"));
  CHECK(has(wrong(R"({"verb":"drain","service":"","instance":"a"})"), "service is empty"));
  CHECK(has(wrong(R"({"verb":"drain","service":"a\nb","instance":"a"})"), "control character"));
  CHECK(has(wrong(R"({"verb":"add","service":"w","instance":"a:1","admin":"off"})"),
            "use ready, drain or maintenance"));
  CHECK(has(wrong(R"({"verb":"add","service":"w","instance":"1.1.1.1:1","name":"a b"})"),
            "name is \"a b\": it stands in a check's Host header"));
  std::string list = R"("1.1.1.1:1")";
  for (std::size_t n = 1; n < kMaxRequestInstances; ++n)
    list += R"(,"1.1.1.1:1")";
  const std::string many = R"({"verb":"wait","service":"w","instance":[)" + list;
  CHECK(right(many + "]}").instances.size() == kMaxRequestInstances);
  CHECK(has(wrong(many + R"(,"1.1.1.1:1"]})"), "names 257 instances: at most 256 a request"));
  CHECK(has(wrong(R"({"verb":"status","id":[]})"), "id must be a string or a number"));
  CHECK(has(wrong(R"({"verb":"wait","service":"w","timeout_ms":3600001})"), "3600000"));
  CHECK(has(wrong(R"({"verb":"status","service":")" + std::string(64, 'a') + "\"}"),
            "longer than 63 bytes"));
}

TEST_CASE("a refusal names the request, as far as that could be read") {
  const auto parsed = parse_request(R"({"id":"q1","verb":"drian"})");
  CHECK(std::get<Refusal>(parsed).id == "\"q1\"");
}

TEST_CASE("bytes that are no text are shown as question marks") {
  const std::string text = wrong(std::string_view("{\xff\x01\x80", 4));
  for (const char c : text)
    CHECK((c >= 0x20 && c < 0x7F));
}

}  // namespace
}  // namespace ballast::checker
