// Any bytes may come from a server that is probed, cut at any place. Reading them must end, must
// not depend on where they were cut, and must never keep a connection whose response did not end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/checker/probing/http_response.hpp"

namespace {

using ballast::checker::HttpError;
using ballast::checker::HttpResponse;

struct Outcome {
  bool done;
  HttpError error;
  int status;
  bool keep_alive;
  std::size_t taken;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

void require(bool condition) {
  if (!condition) std::abort();
}

struct Body final : HttpResponse::BodyReader {
  void on_body(std::string_view bytes) override { all += bytes; }
  std::string all;
};

Outcome read_in_pieces(HttpResponse& response, std::string_view bytes, std::size_t piece) {
  std::size_t taken = 0;
  while (taken < bytes.size() && !response.done()) {
    const std::string_view next = bytes.substr(taken, piece);
    const std::size_t n = response.feed(next);
    require(n <= next.size());
    require(n == next.size() || response.done());
    taken += n;
  }
  return {response.done(), response.error(), response.status(), response.keep_alive(), taken};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  Body body;
  HttpResponse::Expectation expectation;
  expectation.to_head = (data[0] & 0x10) != 0;
  expectation.max_body_bytes = (data[0] & 0x20) != 0 ? 16 : HttpResponse::kMaxBodyBytes;
  HttpResponse at_once(expectation);
  const Outcome whole = read_in_pieces(at_once, bytes, bytes.size() + 1);
  require(whole.status == 0 || (whole.status >= 100 && whole.status <= 599));
  require(!whole.keep_alive || (whole.done && whole.error == HttpError::none));

  if ((data[0] & 0x40) != 0) expectation.reader = &body;
  HttpResponse cut(expectation);
  const Outcome pieces = read_in_pieces(cut, bytes, 1 + data[0] % 16U);
  // Only how far a failed one had got may differ: a failure is noticed at the piece's end.
  if (expectation.max_body_bytes > size && expectation.reader == nullptr) {
    require(pieces.done == whole.done && pieces.error == whole.error);
  }
  // Nor need it be the same where the body is read to the limit, or given up at once.
  const bool same_end = expectation.reader == nullptr && expectation.max_body_bytes > size;
  if (whole.error == HttpError::none && same_end) require(pieces == whole);
  require(body.all.size() <= size);

  at_once.finish();
  require(at_once.done());
  if (!whole.done) require(!at_once.keep_alive());

  // As good as new after a reset.
  at_once.reset();
  require(!at_once.started() && !at_once.done() && at_once.status() == 0);
  require(read_in_pieces(at_once, bytes, bytes.size() + 1) == whole);
  return 0;
}
