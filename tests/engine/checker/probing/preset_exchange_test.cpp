// Ready-made conversations against answers made by hand, each also cut into single bytes: what
// passes, what fails, and what a failure has to say.
#include "engine/checker/probing/preset_exchange.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace ballast::checker {
namespace {

using std::string;

struct Talk {
  bool done = false;
  bool keep = false;
  Reason reason = Reason::none;
  string note;
  string said;  // all that was sent
};

// Feeds each answer once the exchange has said something to it, byte by byte or at once.
Talk talk(Preset preset, const std::vector<string>& answers, bool in_bytes) {
  PresetExchange exchange(preset);
  Talk result;
  if (const Payload first = exchange.begin(true)) result.said += *first;
  for (const string& answer : answers) {
    const std::size_t piece = in_bytes ? 1 : answer.size();
    for (std::size_t at = 0; at < answer.size(); at += piece) {
      Exchange::Step step = exchange.on_bytes(std::string_view(answer).substr(at, piece));
      if (step.reply != nullptr) result.said += *step.reply;
      if (!step.done) continue;
      result.done = true;
      result.keep = step.keep;
      result.reason = step.result.reason;
      result.note = step.result.note;
      return result;
    }
  }
  result.reason = exchange.on_timeout().reason;
  return result;
}

void expect(Preset preset, const std::vector<string>& answers, Reason reason,
            const string& note = {}) {
  for (const bool in_bytes : {false, true}) {
    const Talk result = talk(preset, answers, in_bytes);
    CAPTURE(answers.back());
    CHECK(result.done);
    CHECK(result.reason == reason);
    CHECK(result.note == note);
  }
}

string mysql(std::uint8_t number, const string& payload) {
  return string{static_cast<char>(payload.size()), '\0', '\0', static_cast<char>(number)} + payload;
}

string postgres_error(const string& state, const string& message) {
  const string fields =
      "SFATAL" + string(1, '\0') + "C" + state + string(1, '\0') + "M" + message + string(2, '\0');
  return string("E\0\0\0", 4) + static_cast<char>(fields.size() + 4) + fields;
}

TEST_CASE("Redis: a pong, or being asked for a password") {
  expect(Preset::redis, {"+PONG\r\n"}, Reason::passed);
  CHECK(talk(Preset::redis, {"+PONG\r\n"}, false).keep);
  CHECK(talk(Preset::redis, {"+PONG\r\n"}, false).said == "*1\r\n$4\r\nPING\r\n");
  CHECK_FALSE(talk(Preset::redis, {"+PONG\r\n+PONG\r\n"}, false).keep);
  expect(Preset::redis, {"-NOAUTH Authentication required.\r\n"}, Reason::passed);
  expect(Preset::redis, {"-LOADING Redis is loading the dataset in memory\r\n"}, Reason::unexpected,
         "-LOADING Redis is loading the dataset in memory");
  expect(Preset::redis, {"HTTP/1.1 400 Bad Request\r\n"}, Reason::unexpected,
         "HTTP/1.1 400 Bad Request");
}

TEST_CASE("PostgreSQL: whatever it says of us, but not that it takes nobody") {
  const Talk asked = talk(Preset::postgres, {string("R\0\0\0\x08\0\0\0\x05", 9)}, false);
  CHECK(asked.reason == Reason::passed);
  const string start = asked.said;
  CHECK(start.substr(0, 8) ==
        string("\0\0\0", 3) + static_cast<char>(start.size()) + string("\0\3\0\0", 4));
  CHECK(start.find(string("user\0ballast\0", 13)) != string::npos);
  CHECK(start.substr(start.size() - 2) == string(2, '\0'));
  expect(Preset::postgres, {postgres_error("28000", "role \"ballast\" does not exist")},
         Reason::passed);
  expect(Preset::postgres, {postgres_error("57P03", "the database system is starting up")},
         Reason::unexpected, "the database system is starting up");
  expect(Preset::postgres, {postgres_error("53300", "sorry, too many clients already")},
         Reason::unexpected, "sorry, too many clients already");
  CHECK(talk(Preset::postgres, {"SSH-2.0-OpenSSH\r\n"}, false).reason == Reason::unexpected);
  // A length that cannot be.
  CHECK(talk(Preset::postgres, {string("E\xff\xff\xff\xff", 5)}, false).reason ==
        Reason::unexpected);
  CHECK(talk(Preset::postgres, {string("E\0\0\0\0", 5)}, false).reason == Reason::unexpected);
}

TEST_CASE("MySQL: logs in and goes, and a login that is refused is an answer") {
  const string greeting = mysql(0, string("\x0a") + "10.11.19-MariaDB" + string(40, '\0'));
  const string ok = mysql(2, string("\0\0\0\2\0\0\0", 7));
  const Talk in = talk(Preset::mysql, {greeting, ok}, false);
  CHECK(in.reason == Reason::passed);
  CHECK(in.said.find(string("ballast\0\0mysql_native_password\0", 31)) != string::npos);
  CHECK(in.said.substr(in.said.size() - 5) == string("\1\0\0\0\1", 5));  // COM_QUIT
  CHECK(static_cast<std::uint8_t>(in.said[0]) + 4U + 5U == in.said.size());
  expect(Preset::mysql, {greeting, ok}, Reason::passed);
  expect(Preset::mysql, {greeting, mysql(2, "\xff\x15\x04#28000Access denied")}, Reason::passed);
  expect(Preset::mysql,
         {greeting, mysql(2, string("\xfe") + "sha2" + string(1, '\0')),
          mysql(4, "\xff\x15\x04#28000Access denied")},
         Reason::passed);
  expect(Preset::mysql, {mysql(0, "\xff\x10\x04Too many connections")}, Reason::unexpected,
         "Too many connections");
  expect(Preset::mysql, {greeting, mysql(2, "\xff\x10\x04#08004Too many connections")},
         Reason::unexpected, "Too many connections");
  expect(Preset::mysql, {mysql(0, "\x09old")}, Reason::unexpected, "old");
  // Another way to log in, again and again.
  const string other = mysql(2, string("\xfe") + "x" + string(1, '\0'));
  CHECK(talk(Preset::mysql, {greeting, other, other, other, other}, false).reason ==
        Reason::unexpected);
}

TEST_CASE("SMTP: greeting and EHLO, of many lines or one") {
  const Talk good =
      talk(Preset::smtp, {"220-mail.example\r\n220 ready\r\n", "250-mail.example\r\n250 HELP\r\n"},
           false);
  CHECK(good.reason == Reason::passed);
  CHECK(good.said == "EHLO ballast\r\nQUIT\r\n");
  expect(Preset::smtp, {"220 x\r\n", "250 x\r\n"}, Reason::passed);
  expect(Preset::smtp, {"554 no service here\r\n"}, Reason::unexpected, "554 no service here");
  expect(Preset::smtp, {"220 x\r\n", "421 closing\r\n"}, Reason::unexpected, "421 closing");
}

TEST_CASE("an answer without end is cut off, and half of one is no answer") {
  for (const Preset preset : {Preset::redis, Preset::postgres, Preset::mysql, Preset::smtp}) {
    PresetExchange exchange(preset);
    static_cast<void>(exchange.begin(true));
    Exchange::Step step;
    const string much(1000, '2');
    std::size_t given = 0;
    for (; !step.done; given += much.size()) {
      REQUIRE(given <= 2 * PresetExchange::kMaxAnswerBytes);
      step = exchange.on_bytes(much);
    }
    CHECK(step.result.reason == Reason::unexpected);
    static_cast<void>(exchange.begin(true));
    CHECK(exchange.on_close().result.reason == Reason::closed);
    CHECK(exchange.on_timeout().reason == Reason::none);
    CHECK(exchange.on_unasked("x").lost);
  }
}

}  // namespace
}  // namespace ballast::checker
