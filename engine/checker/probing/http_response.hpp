// Reads one HTTP/1 response from a peer that may be hostile: status, and where the response ends,
// so that the connection can be used again. Bytes in, state out; it keeps at most one line, and
// hands the body on to whoever wants it. A response whose end cannot be known for certain is never
// a reason to keep the connection. Framing follows RFC 9112, section 6.3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ballast::checker {

// Why a response was refused.
enum class HttpError : std::uint8_t {
  none = 0,
  status_line = 1,     // does not begin with "HTTP/1.x NNN"
  header = 2,          // a line that is no header
  too_large = 3,       // status line and headers together, or one line, above the limit
  content_length = 4,  // unreadable or contradictory
  chunk = 5,           // bad chunk size or no line end after a chunk
  upgrade = 6,         // 101 without being asked
  truncated = 7,       // the connection ended first
};

class HttpResponse {
 public:
  static constexpr std::size_t kMaxLineBytes = 8 * 1024;
  static constexpr std::size_t kMaxHeadBytes = 64 * 1024;  // with all interim (1xx) responses
  static constexpr std::size_t kMaxBodyBytes = 256 * 1024;

  // Takes a body's bytes without their framing, as they come.
  class BodyReader {
   public:
    virtual void on_body(std::string_view bytes) = 0;

   protected:
    ~BodyReader() = default;
  };

  struct Expectation {
    bool to_head = false;  // the request was HEAD: there is no body, whatever the headers say
    // Beyond this the rest of a body, framing included, is not worth reading: the response counts
    // as complete, and the connection is not kept.
    std::size_t max_body_bytes = kMaxBodyBytes;
    BodyReader* reader = nullptr;  // null: nobody wants the body
  };

  HttpResponse() = default;
  explicit HttpResponse(const Expectation& expectation) : expectation_(expectation) {}

  // Takes the next bytes; returns how many belong to this response. Fewer than given means that it
  // is done and the peer sent more than it was asked for.
  std::size_t feed(std::string_view bytes);
  // The peer has closed. Completes a response that is delimited by the close, fails any other.
  void finish();
  // Back to the start, for the next response of the same kind.
  void reset();

  [[nodiscard]] bool done() const noexcept { return phase_ == Phase::complete || failed(); }
  [[nodiscard]] bool failed() const noexcept { return error_ != HttpError::none; }
  [[nodiscard]] HttpError error() const noexcept { return error_; }
  // Whether any byte has come.
  [[nodiscard]] bool started() const noexcept { return started_; }
  // 100..599 once the status line is read; 0 before.
  [[nodiscard]] int status() const noexcept { return status_; }
  // Whether the connection may be used again. Only once done.
  [[nodiscard]] bool keep_alive() const noexcept {
    return phase_ == Phase::complete && !failed() && keep_alive_;
  }

 private:
  enum class Phase : std::uint8_t {
    status_line,
    headers,
    body_by_length,
    body_until_close,
    chunk_size,
    chunk_data,
    chunk_end,
    trailers,
    complete,
  };

  void take_line(std::string_view line);
  void take_status_line(std::string_view line);
  void take_header(std::string_view line);
  void take_content_length(std::string_view value);
  void take_transfer_encoding(std::string_view value);
  void take_connection(std::string_view value);
  void take_chunk_size(std::string_view line);
  void end_of_headers();
  void give_up_body();
  void fail(HttpError error) noexcept { error_ = error; }
  [[nodiscard]] bool reads_lines() const noexcept;
  [[nodiscard]] bool in_head() const noexcept;

  Expectation expectation_;
  Phase phase_ = Phase::status_line;
  HttpError error_ = HttpError::none;
  bool started_ = false;
  bool minor_zero_ = false;  // HTTP/1.0
  bool keep_alive_ = true;
  bool has_length_ = false;
  bool has_transfer_encoding_ = false;
  bool chunked_ = false;
  bool last_header_frames_ = false;
  int status_ = 0;
  std::size_t head_bytes_ = 0;
  std::size_t body_bytes_ = 0;   // as sent, chunk framing and trailers included
  std::uint64_t remaining_ = 0;  // of the body, or of the chunk
  std::string line_;             // the beginning of a line whose end has not come yet
};

}  // namespace ballast::checker
