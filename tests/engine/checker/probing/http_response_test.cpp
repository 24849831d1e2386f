// The response reader: framing, limits, hostile input, and the property that how the bytes are cut
// into pieces never matters.
#include "engine/checker/probing/http_response.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <tuple>
#include <vector>

namespace ballast::checker {
namespace {

struct Outcome {
  bool done = false;
  HttpError error = HttpError::none;
  int status = 0;
  bool keep_alive = false;
  std::size_t used = 0;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome read(std::string_view text, bool closes = false, std::size_t piece = 1 << 20) {
  HttpResponse response;
  Outcome outcome;
  while (outcome.used < text.size() && !response.done()) {
    outcome.used += response.feed(text.substr(outcome.used, piece));
  }
  if (closes) response.finish();
  outcome.done = response.done();
  outcome.error = response.error();
  outcome.status = response.status();
  outcome.keep_alive = response.keep_alive();
  return outcome;
}

const std::vector<std::string>& samples() {
  static const std::vector<std::string> all = {
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
      "HTTP/1.1 200\r\ncontent-length:0\r\n\r\n",
      "HTTP/1.1 204 No Content\r\n\r\n",
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
      "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.0 200 OK\r\n\r\nuntil the end",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\na;x=\"y\"\r\n0123456789\r\n"
      "00\r\nTrailer: 1\r\n\r\n",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close, x\r\n\r\n!",
      "HTTP/1.1 503 Service Unavailable\nContent-Length: 0\n\n",
      "HTTP/1.1 200 OK\r\nX-A: b\r\n folded\r\nContent-Length: 1\r\n\r\nz",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabcextra",
      "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: "
      "9\r\n\r\n1\r\nx\r\n0\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
      "HTTP/2 200\r\n\r\n",
      "SSH-2.0-OpenSSH_9.2\r\n",
      std::string("\x16\x03\x01\x00\x01\x00\n", 7),
      "HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
      "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
      "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
  };
  return all;
}

TEST_CASE("plain responses") {
  CHECK(read(samples()[0]) == Outcome{true, HttpError::none, 200, true, samples()[0].size()});
  CHECK(read(samples()[1]) == Outcome{true, HttpError::none, 200, true, samples()[1].size()});
  CHECK(read(samples()[2]).keep_alive);
  CHECK(read(samples()[3]) == Outcome{true, HttpError::none, 304, true, samples()[3].size()});
  CHECK(read(samples()[9]) == Outcome{true, HttpError::none, 503, true, samples()[9].size()});
  CHECK(read(samples()[10]).keep_alive);
}

TEST_CASE("HTTP/1.0 closes unless it says otherwise, and a body may end with the connection") {
  CHECK(read(samples()[4]).keep_alive);
  CHECK_FALSE(read(samples()[5]).done);
  const Outcome ended = read(samples()[5], true);
  CHECK(ended.done);
  CHECK(ended.error == HttpError::none);
  CHECK_FALSE(ended.keep_alive);
}

TEST_CASE("chunks, extensions and trailers") {
  CHECK(read(samples()[6]) == Outcome{true, HttpError::none, 200, true, samples()[6].size()});
  CHECK(read(samples()[7]) == Outcome{true, HttpError::none, 200, true, samples()[7].size()});
}

TEST_CASE("interim responses are skipped, the final one counts") {
  const Outcome outcome = read(samples()[8]);
  CHECK(outcome.done);
  CHECK(outcome.status == 200);
  CHECK_FALSE(outcome.keep_alive);
}

TEST_CASE("what comes after the response is left alone") {
  const Outcome outcome = read(samples()[11]);
  CHECK(outcome.done);
  CHECK(outcome.used == samples()[11].size() - 5);
}

TEST_CASE("doubtful framing is refused or ends the connection") {
  CHECK(read(samples()[12]).error == HttpError::content_length);
  const Outcome both = read(samples()[13]);
  CHECK(both.done);
  CHECK_FALSE(both.keep_alive);
  CHECK(read(samples()[14]).error == HttpError::upgrade);
  CHECK(read(samples()[21]).error == HttpError::chunk);
  CHECK(read(samples()[22]).error == HttpError::chunk);
  CHECK(read(samples()[23]).error == HttpError::content_length);
  CHECK(read(samples()[24]).error == HttpError::content_length);
  CHECK(read(samples()[25]).error == HttpError::header);
  CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nx").done == false);
  CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
             "10000000000000000\r\n")
            .error == HttpError::chunk);
}

TEST_CASE("what is no HTTP/1 is refused at the first line") {
  for (const std::size_t i : {15U, 16U, 17U})
    CHECK(read(samples()[i]).error == HttpError::status_line);
  for (const char* line :
       {"HTTP/1.1 20 OK\n", "HTTP/1.1 2000 OK\n", "HTTP/1.1 600 X\n", "HTTP/1.1\n",
        "http/1.1 200 OK\n", "HTTP/1.x 200 OK\n", "\n", "HTTP/1.1  200\n", "HTTP/1.1 099 X\n"}) {
    CAPTURE(line);
    CHECK(read(line).error == HttpError::status_line);
  }
  for (const std::size_t i : {18U, 19U, 20U})
    CHECK(read(samples()[i]).error == HttpError::header);
}

TEST_CASE("a connection that ends too soon") {
  const std::string whole = samples()[0];
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CHECK(read(whole.substr(0, n), true).error == HttpError::truncated);
  }
  CHECK(read(whole, true).error == HttpError::none);
}

TEST_CASE("limits") {
  const std::string start = "HTTP/1.1 200 OK\r\n";
  const std::string long_line = "X: " + std::string(HttpResponse::kMaxLineBytes, 'a') + "\r\n";
  CHECK(read(start + long_line).error == HttpError::too_large);
  CHECK(read(start + long_line, false, 100).error == HttpError::too_large);
  CHECK(read(std::string(HttpResponse::kMaxLineBytes + 1, 'H')).error == HttpError::too_large);

  std::string headers = start;
  while (headers.size() <= HttpResponse::kMaxHeadBytes)
    headers += "X-Filler: 0123456789\r\n";
  CHECK(read(headers).error == HttpError::too_large);
  std::string interim;
  while (interim.size() <= HttpResponse::kMaxHeadBytes)
    interim += "HTTP/1.1 100 Continue\r\n\r\n";
  CHECK(read(interim).error == HttpError::too_large);

  // Too long a body is no error: the status is known. But the connection is of no more use.
  const Outcome announced = read(start + "Content-Length: 999999999\r\n\r\n");
  CHECK(announced.done);
  CHECK(announced.error == HttpError::none);
  CHECK_FALSE(announced.keep_alive);
  std::string chunks = start + "Transfer-Encoding: chunked\r\n\r\n";
  while (chunks.size() <= HttpResponse::kMaxBodyBytes + 1000)
    chunks += "1\r\nx\r\n";
  CHECK(read(chunks).done);
  CHECK_FALSE(read(chunks).keep_alive);
  const Outcome until_close =
      read(start + "\r\n" + std::string(HttpResponse::kMaxBodyBytes + 1, 'x'));
  CHECK(until_close.done);
  CHECK_FALSE(until_close.keep_alive);
  std::string trailers = start + "Transfer-Encoding: chunked\r\n\r\n0\r\n";
  while (trailers.size() <= HttpResponse::kMaxBodyBytes + 1000)
    trailers += "X: y\r\n";
  CHECK(read(trailers).done);
}

TEST_CASE("how the bytes are cut does not matter") {
  for (const std::string& sample : samples()) {
    CAPTURE(sample);
    for (const bool closes : {false, true}) {
      const Outcome whole = read(sample, closes);
      for (std::size_t piece = 1; piece <= sample.size(); ++piece) {
        CHECK(read(sample, closes, piece) == whole);
      }
    }
  }
}

// Random mutations of good responses: no crash (sanitizers see more), no reading beyond, and the
// same outcome however they are cut.
TEST_CASE("mutated responses") {
  std::mt19937 random(20261124);
  for (int round = 0; round < 20000; ++round) {
    std::string text = samples()[random() % samples().size()];
    for (unsigned n = random() % 4; n > 0; --n) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = static_cast<char>(random());
          break;
        case 1:
          text.erase(at, 1 + random() % 3);
          break;
        case 2:
          text.insert(at, 1, "\r\n:;0a \t\xff"[random() % 9]);
          break;
        default:
          text += text.substr(at);
      }
      if (text.empty()) text = "H";
    }
    const Outcome whole = read(text);
    const Outcome cut = read(text, false, 1 + random() % 5);
    if (!(whole.done == cut.done && whole.error == cut.error && whole.status == cut.status &&
          whole.keep_alive == cut.keep_alive)) {
      FAIL("cut differently: ", text);
    }
  }
}

TEST_CASE("reset starts afresh and does not hoard") {
  HttpResponse response;
  response.feed("HTTP/1.1 200 OK\r\nX: " + std::string(5000, 'x'));
  CHECK(response.started());
  response.reset();
  CHECK_FALSE(response.started());
  CHECK(response.status() == 0);
  response.feed(samples()[0]);
  CHECK(response.done());
  CHECK(response.keep_alive());
}

}  // namespace
}  // namespace ballast::checker
