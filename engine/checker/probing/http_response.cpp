// The reader's phases. Everything that comes in is bounded before it is looked at: a line by
// kMaxLineBytes, the head by kMaxHeadBytes, the rest by what is expected at most.
#include "engine/checker/probing/http_response.hpp"

#include <algorithm>
#include <charconv>

namespace ballast::checker {

namespace {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// RFC 9110, section 5.6.2
constexpr bool is_token_char(char c) {
  return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_blank(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back()))
    text.remove_suffix(1);
  return text;
}

// Calls `take` with every element of a comma-separated list.
template <typename Take>
void for_each_element(std::string_view list, Take take) {
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view element = trimmed(list.substr(0, comma));
    if (!element.empty()) take(element);
    if (comma == std::string_view::npos) return;
    list.remove_prefix(comma + 1);
  }
}

// All of `text` as a number; false on anything else, overflow included.
bool read_number(std::string_view text, int base, std::uint64_t& out) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out, base);
  return error == std::errc() && stop == end && !text.empty();
}

}  // namespace

void HttpResponse::reset() {
  std::string line = std::move(line_);
  line.clear();
  if (line.capacity() > 256) line = std::string();  // do not hoard a hostile peer's longest line
  *this = HttpResponse(expectation_);
  line_ = std::move(line);
}

bool HttpResponse::reads_lines() const noexcept {
  return phase_ != Phase::body_by_length && phase_ != Phase::body_until_close &&
         phase_ != Phase::chunk_data;
}

bool HttpResponse::in_head() const noexcept {
  return phase_ == Phase::status_line || phase_ == Phase::headers;
}

std::size_t HttpResponse::feed(std::string_view bytes) {
  const std::size_t given = bytes.size();
  if (given > 0) started_ = true;
  while (!bytes.empty() && !done()) {
    if (!reads_lines()) {
      std::size_t n = bytes.size();
      if (phase_ != Phase::body_until_close) {
        n = static_cast<std::size_t>(std::min<std::uint64_t>(n, remaining_));
        remaining_ -= n;
      }
      body_bytes_ += n;
      if (expectation_.reader != nullptr) expectation_.reader->on_body(bytes.substr(0, n));
      bytes.remove_prefix(n);
      if (phase_ == Phase::body_by_length && remaining_ == 0) phase_ = Phase::complete;
      if (phase_ == Phase::chunk_data && remaining_ == 0) phase_ = Phase::chunk_end;
      if (body_bytes_ > expectation_.max_body_bytes && !done()) give_up_body();
      continue;
    }
    const std::size_t end = bytes.find('\n');
    const std::size_t n = end == std::string_view::npos ? bytes.size() : end + 1;
    const bool head = in_head();
    (head ? head_bytes_ : body_bytes_) += n;
    if (head && head_bytes_ > kMaxHeadBytes) return fail(HttpError::too_large), given;
    if (line_.size() + n > kMaxLineBytes) return fail(HttpError::too_large), given;
    if (end == std::string_view::npos) {
      line_.append(bytes);
      bytes = {};
    } else {
      std::string_view line = bytes.substr(0, end);
      bytes.remove_prefix(n);
      if (!line_.empty()) {
        line_.append(line);
        line = line_;
      }
      // A bare line feed ends a line too (RFC 9112, section 2.2).
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      take_line(line);
      line_.clear();
    }
    if (!head && body_bytes_ > expectation_.max_body_bytes && !done()) give_up_body();
  }
  return given - bytes.size();
}

void HttpResponse::finish() {
  if (done()) return;
  if (phase_ == Phase::body_until_close) {
    phase_ = Phase::complete;
    return;
  }
  fail(HttpError::truncated);
}

void HttpResponse::give_up_body() {
  keep_alive_ = false;
  phase_ = Phase::complete;
}

void HttpResponse::take_line(std::string_view line) {
  switch (phase_) {
    case Phase::status_line:
      return take_status_line(line);
    case Phase::headers:
      return line.empty() ? end_of_headers() : take_header(line);
    case Phase::chunk_size:
      return take_chunk_size(line);
    case Phase::chunk_end:
      if (!line.empty()) return fail(HttpError::chunk);
      phase_ = Phase::chunk_size;
      return;
    case Phase::trailers:
      if (line.empty()) phase_ = Phase::complete;
      return;
    case Phase::body_by_length:
    case Phase::body_until_close:
    case Phase::chunk_data:
    case Phase::complete:
      return;
  }
}

void HttpResponse::take_status_line(std::string_view line) {
  // "HTTP/1.1 200" and then nothing, or a space and any text.
  constexpr std::string_view kProtocol = "HTTP/1.";
  const bool shaped = line.starts_with(kProtocol) && line.size() >= 12 && is_digit(line[7]) &&
                      line[8] == ' ' && line[9] >= '1' && line[9] <= '5' && is_digit(line[10]) &&
                      is_digit(line[11]) && (line.size() == 12 || line[12] == ' ');
  if (!shaped) return fail(HttpError::status_line);
  status_ = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  minor_zero_ = line[7] == '0';
  keep_alive_ = !minor_zero_;
  phase_ = Phase::headers;
}

void HttpResponse::take_header(std::string_view line) {
  if (line.front() == ' ' || line.front() == '\t') {
    // A folded line. Harmless where the value does not matter to us; where it does, refuse.
    if (last_header_frames_) fail(HttpError::header);
    return;
  }
  const std::size_t colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) return fail(HttpError::header);
  const std::string_view name = line.substr(0, colon);
  if (!std::all_of(name.begin(), name.end(), is_token_char)) return fail(HttpError::header);
  const std::string_view value = trimmed(line.substr(colon + 1));

  last_header_frames_ = true;
  if (same_word(name, "content-length")) return take_content_length(value);
  if (same_word(name, "transfer-encoding")) return take_transfer_encoding(value);
  if (same_word(name, "connection")) return take_connection(value);
  last_header_frames_ = false;
}

void HttpResponse::take_content_length(std::string_view value) {
  std::uint64_t length = 0;
  if (!read_number(value, 10, length)) return fail(HttpError::content_length);
  if (has_length_ && length != remaining_) return fail(HttpError::content_length);
  has_length_ = true;
  remaining_ = length;
}

void HttpResponse::take_transfer_encoding(std::string_view value) {
  has_transfer_encoding_ = true;
  // Only the last coding of all frames the body.
  for_each_element(value,
                   [this](std::string_view coding) { chunked_ = same_word(coding, "chunked"); });
}

void HttpResponse::take_connection(std::string_view value) {
  for_each_element(value, [this](std::string_view option) {
    if (same_word(option, "close")) keep_alive_ = false;
    if (same_word(option, "keep-alive") && minor_zero_) keep_alive_ = true;
  });
}

void HttpResponse::end_of_headers() {
  if (status_ == 101) return fail(HttpError::upgrade);
  if (status_ < 200) {
    // Interim: forget all but what has been counted, and read the next status line.
    const std::size_t head_bytes = head_bytes_;
    std::string line = std::move(line_);
    *this = HttpResponse(expectation_);
    started_ = true;
    head_bytes_ = head_bytes;
    line_ = std::move(line);
    return;
  }
  if (status_ == 204 || status_ == 304 || expectation_.to_head) {
    phase_ = Phase::complete;
    return;
  }
  if (has_transfer_encoding_) {
    // Both kinds of framing, or chunks in HTTP/1.0: somebody between us may have read it otherwise.
    if (has_length_ || minor_zero_) keep_alive_ = false;
    if (chunked_) {
      remaining_ = 0;
      phase_ = Phase::chunk_size;
    } else {
      keep_alive_ = false;
      phase_ = Phase::body_until_close;
    }
    return;
  }
  if (!has_length_) {
    keep_alive_ = false;
    phase_ = Phase::body_until_close;
    return;
  }
  phase_ = remaining_ == 0 ? Phase::complete : Phase::body_by_length;
  const bool too_much = remaining_ > expectation_.max_body_bytes;
  if (too_much && expectation_.reader == nullptr) give_up_body();
}

void HttpResponse::take_chunk_size(std::string_view line) {
  const std::string_view size = trimmed(line.substr(0, line.find(';')));
  if (!read_number(size, 16, remaining_)) return fail(HttpError::chunk);
  phase_ = remaining_ == 0 ? Phase::trailers : Phase::chunk_data;
}

}  // namespace ballast::checker
