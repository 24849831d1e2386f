// What the end of a check means: an errno or a response in, a reason out. And the request, which is
// the other half of the conversation. Pure; used by the prober.
#pragma once

#include <string>
#include <string_view>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/probing/http_response.hpp"
#include "engine/checker/probing/verdict.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

// Failures that say something about this host (no descriptors, ports or memory), and nothing about
// the instance.
[[nodiscard]] bool is_local(int error) noexcept;

// Why a connection did not come about; 0 stands for the peer closing it.
[[nodiscard]] Reason connect_failure(int error) noexcept;
// Why a connection ended before the response was whole; 0 as above.
[[nodiscard]] Reason response_failure(int error) noexcept;

// The result that a finished response stands for by its status, without its latency.
[[nodiscard]] CheckResult judge_response(const CheckSettings& check, const HttpResponse& response);

// What all instances with the same settings are asked, but for the host where that is the
// instance's own.
class RequestText {
 public:
  RequestText() = default;
  explicit RequestText(const CheckSettings& check);

  // Whether each instance is asked for by its own name.
  [[nodiscard]] bool by_instance() const noexcept { return whole_ == nullptr; }
  // Only unless it is by instance.
  [[nodiscard]] const Payload& whole() const noexcept { return whole_; }
  [[nodiscard]] std::string for_host(std::string_view host) const;

 private:
  std::string before_host_;
  std::string after_host_;
  Payload whole_;
};

[[nodiscard]] std::string make_request(const InstanceSettings& instance,
                                       const CheckSettings& check);
// The instance as it is written, for the header Host.
[[nodiscard]] std::string host_of(const InstanceSettings& instance);

}  // namespace ballast::checker
