// Any bytes may come from a server that is probed, cut at any place. Reading them must end, must
// not depend on where they were cut, and must never keep a connection whose response did not end.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
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
  HttpResponse at_once;
  const Outcome whole = read_in_pieces(at_once, bytes, bytes.size() + 1);
  require(whole.status == 0 || (whole.status >= 100 && whole.status <= 599));
  require(!whole.keep_alive || (whole.done && whole.error == HttpError::none));

  HttpResponse cut;
  const Outcome pieces = read_in_pieces(cut, bytes, 1 + data[0] % 16U);
  // Only how far a failed one had got may differ: a failure is noticed at the piece's end.
  require(pieces.done == whole.done && pieces.error == whole.error);
  if (whole.error == HttpError::none) require(pieces == whole);

  at_once.finish();
  require(at_once.done());
  if (!whole.done) require(!at_once.keep_alive());

  // As good as new after a reset.
  at_once.reset();
  require(!at_once.started() && !at_once.done() && at_once.status() == 0);
  require(read_in_pieces(at_once, bytes, bytes.size() + 1) == whole);
  return 0;
}
