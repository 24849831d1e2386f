// The two messages of grpc.health.v1 as they travel: HealthCheckRequest out, HealthCheckResponse
// in, each behind gRPC's prefix of five bytes. What comes in is foreign: it is bounded, and
// whatever is not such a message is said to be none. Pure; used by grpc_exchange.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ballast::checker {

// Of one message; the one that is expected has two bytes.
inline constexpr std::size_t kMaxGrpcMessageBytes = 1024;

enum class ServingStatus : std::uint8_t {
  unknown = 0,
  serving = 1,
  not_serving = 2,
  service_unknown = 3,
  other = 4,  // any other number
};

[[nodiscard]] std::string health_request(std::string_view service);

// The statuses in a stream of responses, one after the other.
class HealthResponses {
 public:
  // False once it cannot be a stream of such messages.
  [[nodiscard]] bool feed(std::string_view bytes);
  // The next message's status, if one is whole.
  [[nodiscard]] std::optional<ServingStatus> next();
  // Bytes of a message that is not whole, or was not asked for.
  [[nodiscard]] bool has_rest() const noexcept { return !pending_.empty(); }
  void reset();

 private:
  std::string pending_;
  bool failed_ = false;
};

// "SERVING" and so on.
[[nodiscard]] std::string_view to_text(ServingStatus status) noexcept;
// "UNAVAILABLE" and so on; "?" for what is none.
[[nodiscard]] std::string_view grpc_status_text(std::uint32_t code) noexcept;

}  // namespace ballast::checker
