// Bodies against rules, cut at every place, and what a whole response with such a rule comes to.
#include "engine/checker/probing/body_match.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "engine/checker/probing/http_exchange.hpp"
#include "engine/checker/probing/recipe.hpp"

namespace ballast::checker {
namespace {

bool fits(const BodyRule& rule, std::string_view body, std::size_t piece) {
  BodyMatch match(rule);
  match.begin();
  for (std::size_t at = 0; at < body.size(); at += piece)
    match.on_body(body.substr(at, piece));
  return match.matches();
}

CheckSettings wants(std::string contains, std::string regex = {}) {
  CheckSettings check;
  check.body_contains = std::move(contains);
  check.body_regex = std::move(regex);
  return check;
}

TEST_CASE("a text is found wherever the body is cut") {
  const BodyRule rule(wants("abcabd"));
  const BodyRule one(wants("d"));
  for (std::size_t piece = 1; piece < 20; ++piece) {
    CAPTURE(piece);
    CHECK(fits(rule, "abcabcabcabd", piece));
    CHECK(fits(rule, "xxabcabd--and more of it", piece));
    CHECK_FALSE(fits(rule, "abcabcabcabc", piece));
    CHECK_FALSE(fits(rule, "abcab", piece));
    CHECK(fits(one, "aaaad", piece));
    CHECK_FALSE(fits(one, "aaaaa", piece));
  }
  CHECK_FALSE(fits(rule, "", 1));
}

TEST_CASE("an expression may fit anywhere, over any bytes, and with a text both must be there") {
  const BodyRule rule(wants("", "\"status\": *\"(up|ok)\""));
  CHECK(fits(rule, "{\"status\":   \"ok\"}", 3));
  CHECK_FALSE(fits(rule, "{\"status\": \"down\"}", 3));
  CHECK(fits(rule, std::string("\xff\xfe\0 \"status\":\"up\"", 17), 2));
  const BodyRule both(wants("primary", "lag=[0-3]\\b"));
  CHECK(fits(both, "primary lag=2", 4));
  CHECK_FALSE(fits(both, "replica lag=2", 4));
  CHECK_FALSE(fits(both, "primary lag=25", 4));
}

TEST_CASE("an expression that is wrong says why, and fits nothing") {
  CHECK_FALSE(judge_regex("a|b").has_value());
  REQUIRE(judge_regex("a(b").has_value());
  CHECK(judge_regex("a(b")->find("missing") != std::string::npos);
  CHECK(judge_regex("(?=x)").has_value());  // no look-ahead: it would not be linear
  const BodyRule wrong(wants("", "a(b"));
  CHECK_FALSE(fits(wrong, "a(b", 1));
}

TEST_CASE("what comes after the limit is not looked at") {
  CheckSettings check = wants("end");
  check.max_body_bytes = 10;
  const BodyRule rule(check);
  CHECK(fits(rule, "1234567end", 4));
  CHECK_FALSE(fits(rule, "12345678end", 4));
  check = wants("", "end");
  check.max_body_bytes = 10;
  const BodyRule regex(check);
  CHECK(fits(regex, "1234567end", 4));
  CHECK_FALSE(fits(regex, "12345678end", 4));
}

Recipe recipe_of(const CheckSettings& check) {
  Recipe recipe;
  recipe.settings = check;
  recipe.request = RequestText(check);
  if (!check.body_contains.empty() || !check.body_regex.empty())
    recipe.body = std::make_unique<const BodyRule>(check);
  return recipe;
}

const InstanceSettings kInstance{*shm::parse_endpoint("10.0.0.1:80"), "10.0.0.1:80", 1};

TEST_CASE("a response passes with the right body only, and check after check anew") {
  const Recipe recipe = recipe_of(wants("all well"));
  HttpExchange exchange(recipe, kInstance);
  for (int round = 0; round < 2; ++round) {
    static_cast<void>(exchange.begin(round == 0));
    CHECK_FALSE(
        exchange.on_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n")
            .done);
    const Exchange::Step good = exchange.on_bytes("4\r\nwell\r\n0\r\n\r\n");
    CHECK(good.done);
    CHECK(good.keep);
    CHECK(good.result.reason == Reason::passed);
    CHECK(good.result.detail == 200);

    static_cast<void>(exchange.begin(false));
    const Exchange::Step bad =
        exchange.on_bytes("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall\nis lost\n");
    CHECK(bad.done);
    CHECK(bad.keep);  // the connection is as good as before
    CHECK(bad.result.reason == Reason::bad_body);
    CHECK(bad.result.detail == 200);
    CHECK(bad.result.note.starts_with("all"));

    static_cast<void>(exchange.begin(false));
    const Exchange::Step status =
        exchange.on_bytes("HTTP/1.1 503 No\r\nContent-Length: 8\r\n\r\nall well");
    CHECK(status.result.reason == Reason::bad_status);
  }
}

TEST_CASE("of a long body the beginning is looked at, and the connection is not kept") {
  CheckSettings check = wants("well");
  check.max_body_bytes = 1000;
  const Recipe recipe = recipe_of(check);
  HttpExchange exchange(recipe, kInstance);
  for (const std::string_view text : {"well", "ill."}) {
    static_cast<void>(exchange.begin(true));
    CHECK_FALSE(exchange.on_bytes("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").done);
    CHECK_FALSE(exchange.on_bytes(text).done);
    Exchange::Step step;
    for (int i = 0; i < 100 && !step.done; ++i)
      step = exchange.on_bytes(std::string(100, '-'));
    CHECK(step.done);
    CHECK_FALSE(step.keep);
    CHECK(step.result.passed() == (text == "well"));
  }
}

TEST_CASE("HEAD: there is no body, whatever the headers say") {
  CheckSettings check;
  check.method = "HEAD";
  const Recipe recipe = recipe_of(check);
  HttpExchange exchange(recipe, kInstance);
  const Payload request = exchange.begin(true);
  CHECK(request->starts_with("HEAD / HTTP/1.1\r\n"));
  const Exchange::Step step = exchange.on_bytes(
      "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nContent-Type: text/html\r\n\r\n");
  CHECK(step.done);
  CHECK(step.keep);
  CHECK(step.result.passed());
}

}  // namespace
}  // namespace ballast::checker
