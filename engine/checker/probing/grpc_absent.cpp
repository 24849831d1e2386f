// Stands for grpc_exchange.cpp in a build without nghttp2.
#include "engine/checker/probing/grpc_exchange.hpp"

namespace ballast::checker {

bool grpc_is_built_in() noexcept {
  return false;
}

std::unique_ptr<Exchange> make_grpc_exchange(const CheckSettings& /*check*/,
                                             const InstanceSettings& /*instance*/) {
  return nullptr;
}

}  // namespace ballast::checker
