// Any bytes may come from a server that is checked by gRPC: while a check runs, and between checks.
// The input says what comes: raw bytes, frames whose lengths are right, or whole parts of a right
// answer, or of a flood, in any order and cut at any place. Each step must end, what is sent in
// return is bounded, and a connection is kept only if a check has ended on it.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/checker/probing/grpc_exchange.hpp"
#include "tests/fuzz/pieces.hpp"

namespace {

using namespace ballast::checker;
using ballast::fuzz::Pieces;
using ballast::fuzz::require;
using ballast::fuzz::require_printable;

// In return for one piece: answers to pings and settings, window updates, one more call.
constexpr std::size_t kMaxReply = 64 << 10;

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view body) {
  const auto length = static_cast<std::uint32_t>(body.size());
  std::string bytes;
  for (const std::uint32_t byte :
       {length >> 16U, length >> 8U, length, std::uint32_t{type}, std::uint32_t{flags},
        stream >> 24U, stream >> 16U, stream >> 8U, stream}) {
    bytes += static_cast<char>(byte);
  }
  return bytes.append(body);
}

// A header that is in no table: name and value as they are.
std::string header(std::string_view name, std::string_view value) {
  std::string bytes(1, '\0');
  bytes += static_cast<char>(name.size());
  bytes += name;
  bytes += static_cast<char>(value.size());
  return bytes.append(value);
}

// What a right server says seldom or never, and a hostile one without end.
std::string hostile_part(std::uint8_t which, std::uint32_t stream) {
  using namespace std::string_literals;
  switch (which % 11) {
    case 0:  // headers that do not end here
      return frame(1, 0, stream, "\x88");
    case 1:
      return frame(9, 0, stream, "");  // CONTINUATION, of nothing
    case 2:
      return frame(9, 0, stream, header("x", std::string(100, 'x')));
    case 3:  // a long header goes into the table, and is meant a hundred times: a few bytes, 400 KB
      return frame(
          1, 0, stream,
          "\x88\x40\x01"s + "y\x7f\xa1\x1e" + std::string(4000, 'y') + std::string(100, '\xbe'));
    case 4:
      return frame(6, 0, 0, "12345678");  // PING, to be answered
    case 5:                               // a table of no bytes, then one of 4 GB
      return frame(4, 0, 0, "\0\x01\0\0\0\0\0\x01\xff\xff\xff\xff"s);
    case 6:  // no window for what we say, not even for the call
      return frame(4, 0, 0, "\0\x04\0\0\0\0"s);
    case 7:  // a window that grows a little, by nothing, or beyond its limit
      return frame(8, 0, which % 2 == 0 ? 0 : stream,
                   which < 40   ? "\0\0\0\1"s
                   : which < 80 ? "\0\0\0\0"s
                                : "\x7f\xff\xff\xff"s);
    case 8:  // no stream at a time
      return frame(4, 0, 0, "\0\x03\0\0\0\0"s);
    case 9:  // of a kind that nobody knows, which is passed over
      return frame(0xfa, 0, 0, std::string(1000, 'z'));
    default:  // more settings than a frame may have, of no meaning
      return frame(4, 0, 0, std::string(6 * 40, '\x7f'));
  }
}

std::string part(Pieces& input, std::uint32_t stream) {
  using namespace std::string_literals;
  const std::uint8_t which = input.number();
  if (which >= 0x80) return hostile_part(which & 0x7f, stream);
  switch (which % 8) {
    case 0:
      return frame(4, 0, 0, "");  // SETTINGS
    case 1:
      return frame(4, 1, 0, "");  // their acknowledgement
    case 2:
      return frame(1, 4, stream, "\x88");  // :status 200
    case 3:                                // a message: SERVING, NOT_SERVING, ...
      return frame(0, 0, stream, "\0\0\0\0\x02\x08"s + static_cast<char>(which / 8 % 4));
    case 4:  // the end: grpc-status
      return frame(1, 5, stream, header("grpc-status", std::to_string(which / 8 % 16)));
    case 5:  // all of it without a message
      return frame(1, 5, stream, "\x88" + header("grpc-status", std::to_string(which / 8 % 16)));
    case 6:
      return frame(3, 0, stream, "\0\0\0"s + static_cast<char>(which / 8 % 14));  // RST_STREAM
    default:
      return frame(7, 0, 0, "\0\0\0\0\0\0\0\0"s);  // GOAWAY
  }
}

struct Driver {
  Driver(const CheckSettings& check, const InstanceSettings& instance)
      : exchange(make_grpc_exchange(check, instance)) {
    require(exchange != nullptr);
  }

  void begin() {
    const bool is_new = state == State::none;
    if (is_new) calls.clear();
    said(exchange->begin(is_new));
    require(!is_new || !calls.empty());
    require(!exchange->answered());
    state = State::checks;
    heard = 0;
  }

  // Looks for the calls in what is sent.
  void said(const Payload& payload) {
    if (payload == nullptr) return;
    require(!payload->empty() && payload->size() <= kMaxReply);
    std::string_view bytes = *payload;
    if (bytes.starts_with("PRI ")) bytes.remove_prefix(24);
    while (!bytes.empty()) {
      require(bytes.size() >= 9);
      std::uint64_t head = 0;
      for (std::size_t i = 0; i < 9; ++i)
        head = i == 4 ? head : head << 8U | static_cast<std::uint8_t>(bytes[i]);
      const std::size_t length = head >> 40U;
      require(bytes.size() >= 9 + length);
      if ((head >> 32U & 0xff) == 1) calls.push_back(static_cast<std::uint32_t>(head));
      bytes.remove_prefix(9 + length);
    }
  }

  // The call that was made `before` the last one.
  [[nodiscard]] std::uint32_t call(std::size_t before) const {
    return before < calls.size() ? calls[calls.size() - 1 - before] : 1;
  }

  void on_bytes(std::string_view bytes) {
    if (state == State::none || bytes.empty()) return;
    heard += bytes.size();
    hear(bytes);
    // Whatever it is: nobody listens to more than that from one check to the next.
    require(state == State::none || heard <= kMaxHttp2Bytes);
  }

  void hear(std::string_view bytes) {
    if (state == State::idle) {
      const Exchange::Unasked unasked = exchange->on_unasked(bytes);
      said(unasked.reply);
      if (unasked.lost || unasked.enough) {
        require(!unasked.changed);
        state = State::none;
      }
      return;
    }
    const Exchange::Step step = exchange->on_bytes(bytes);
    said(step.reply);
    if (step.lost) {
      require(!step.done);
      state = State::none;
    } else if (step.done) {
      require(step.result.reason != Reason::none);
      require_printable(step.result.note);
      state = step.keep ? State::idle : State::none;
    }
  }

  void on_close() {
    if (state == State::checks) {
      const Exchange::Step step = exchange->on_close();
      require(step.done && !step.keep && !step.result.passed());
    }
    state = State::none;
  }

  enum class State : std::uint8_t { none, checks, idle } state = State::none;
  std::vector<std::uint32_t> calls;  // on this connection, by their streams
  std::size_t heard = 0;             // bytes since the check began
  std::unique_ptr<Exchange> exchange;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Pieces input(data, size);
  const std::uint8_t first = input.number();
  CheckSettings check;
  check.kind = CheckKind::grpc;
  check.grpc_watch = (first & 1) != 0;
  check.grpc_service = (first & 2) != 0 ? "a.service" : "";
  InstanceSettings instance;
  instance.text = "fuzz:1";
  Driver driver(check, instance);
  driver.begin();
  while (!input.empty()) {
    const std::uint8_t what = input.number();
    const std::size_t length = what >> 3U;
    // Mostly the check's; the watch's, or one that is over.
    const std::uint32_t stream = driver.call(length & 3U);
    switch (what & 7U) {
      case 0:
        driver.on_bytes(input.piece(length + 1));
        break;
      case 1: {
        const std::uint8_t type = input.number();
        const std::uint8_t flags = input.number();
        driver.on_bytes(
            frame(type % 12, flags, (type & 0x80) != 0 ? 0 : stream, input.piece(input.number())));
        break;
      }
      case 2:
      case 3:
        driver.on_bytes(part(input, stream));
        break;
      case 4: {  // cut
        const std::string whole = part(input, stream);
        const std::size_t cut = length % whole.size();
        driver.on_bytes(std::string_view(whole).substr(0, cut));
        driver.on_bytes(std::string_view(whole).substr(cut));
        break;
      }
      case 5: {  // many in one piece
        const std::string one = part(input, stream);
        std::string all;
        for (std::size_t n = 0; n < length * 64 + 1; ++n)
          all += one;
        driver.on_bytes(all);
        break;
      }
      case 6:
        if (driver.state != Driver::State::checks) driver.begin();
        break;
      default:
        driver.on_close();
    }
  }
  driver.on_close();
  return 0;
}
