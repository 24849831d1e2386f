// As much of protocol buffers as two messages of one field need.
#include "engine/checker/probing/grpc_messages.hpp"

#include <array>

namespace ballast::checker {

namespace {

constexpr std::size_t kPrefixBytes = 5;
constexpr unsigned kStatusField = 1;

void append_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7)
    out += static_cast<char>(static_cast<unsigned char>(value | 0x80));
  out += static_cast<char>(static_cast<unsigned char>(value));
}

// Takes a varint off the front; false if there is none.
bool take_varint(std::string_view& bytes, std::uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (bytes.empty()) return false;
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    // What is shifted out of ten bytes is ignored, as by everybody.
    if (shift < 64) value |= std::uint64_t{byte & 0x7FU} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

bool skip(std::string_view& bytes, std::uint64_t count) {
  if (count > bytes.size()) return false;
  bytes.remove_prefix(static_cast<std::size_t>(count));
  return true;
}

// The status of a HealthCheckResponse: the last one counts, none is 0. Other fields are skipped.
std::optional<ServingStatus> parse_response(std::string_view bytes) {
  std::uint64_t status = 0;
  while (!bytes.empty()) {
    std::uint64_t key = 0;
    std::uint64_t value = 0;
    if (!take_varint(bytes, key) || key >> 3 == 0) return std::nullopt;
    switch (key & 7) {
      case 0:
        if (!take_varint(bytes, value)) return std::nullopt;
        if (key >> 3 == kStatusField) status = value;
        break;
      case 1:
        if (!skip(bytes, 8)) return std::nullopt;
        break;
      case 2:
        if (!take_varint(bytes, value) || !skip(bytes, value)) return std::nullopt;
        break;
      case 5:
        if (!skip(bytes, 4)) return std::nullopt;
        break;
      default:
        return std::nullopt;
    }
  }
  return status < static_cast<std::uint64_t>(ServingStatus::other)
             ? static_cast<ServingStatus>(status)
             : ServingStatus::other;
}

}  // namespace

std::string health_request(std::string_view service) {
  std::string message;
  if (!service.empty()) {
    message += '\x0a';  // field 1, bytes
    append_varint(message, service.size());
    message += service;
  }
  std::string out(1, '\0');  // not compressed
  for (const unsigned shift : {24U, 16U, 8U, 0U})
    out += static_cast<char>(static_cast<unsigned char>(message.size() >> shift));
  return out + message;
}

bool HealthResponses::feed(std::string_view bytes) {
  if (failed_) return false;
  pending_ += bytes;
  // Whoever feeds takes the messages at once, so that only one can be waiting for its rest.
  if (pending_.size() > 64 * (kPrefixBytes + kMaxGrpcMessageBytes)) failed_ = true;
  return !failed_;
}

std::optional<ServingStatus> HealthResponses::next() {
  if (failed_ || pending_.size() < kPrefixBytes) return std::nullopt;
  std::uint32_t length = 0;
  for (std::size_t i = 1; i < kPrefixBytes; ++i)
    length = length << 8 | static_cast<unsigned char>(pending_[i]);
  if (pending_[0] != '\0' || length > kMaxGrpcMessageBytes) {
    failed_ = true;
    return std::nullopt;
  }
  if (pending_.size() < kPrefixBytes + length) return std::nullopt;
  const auto status = parse_response(std::string_view(pending_).substr(kPrefixBytes, length));
  pending_.erase(0, kPrefixBytes + length);
  failed_ = !status.has_value();
  return status;
}

void HealthResponses::reset() {
  pending_.clear();
  failed_ = false;
}

std::string_view to_text(ServingStatus status) noexcept {
  constexpr auto kWords = std::to_array<std::string_view>(
      {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN", "a status that is unknown"});
  return kWords[static_cast<std::size_t>(status)];
}

std::string_view grpc_status_text(std::uint32_t code) noexcept {
  constexpr auto kWords = std::to_array<std::string_view>(
      {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
       "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
       "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
       "UNAUTHENTICATED"});
  return code < kWords.size() ? kWords[code] : "?";
}

}  // namespace ballast::checker
