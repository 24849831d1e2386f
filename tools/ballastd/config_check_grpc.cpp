// [service.NAME.check] of kind "grpc": which service is asked about, and under which name.
#include <algorithm>
#include <string>

#include "engine/checker/probing/grpc_exchange.hpp"
#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"
#include "tools/ballastd/peer_words.hpp"

namespace ballast::tools {
namespace {

std::optional<Complaint> judge_grpc_service(const std::string& name) {
  const auto is_visible = [](char c) { return c > 0x20 && c < 0x7F; };
  if (name.empty()) return Complaint{"grpc_service is empty", "leave it out for the whole server"};
  if (!std::all_of(name.begin(), name.end(), is_visible)) {
    return Complaint{"grpc_service has a character that no service has in its name",
                     "write it as in the .proto file, such as \"shop.v1.Checkout\""};
  }
  if (name.size() <= checker::kMaxGrpcServiceBytes) return std::nullopt;
  return Complaint{"grpc_service is " + std::to_string(name.size()) + " bytes long",
                   "use at most " + std::to_string(checker::kMaxGrpcServiceBytes)};
}

}  // namespace

void read_grpc_check(ConfigWalk& walk, const ConfigValue& table, checker::CheckSettings& check) {
  if (!checker::grpc_is_built_in()) {
    walk.complain(*table.find("kind"), {"this ballastd was built without gRPC",
                                        "build it with nghttp2, or check in another way"});
  }
  if (const auto host = walk.read_string(table, "host", "a string")) {
    if (const auto bad = judge_host(*host)) walk.complain(*table.find("host"), *bad);
    check.host = *host;
  }
  if (const auto name = walk.read_string(table, "grpc_service", "a string")) {
    if (const auto bad = judge_grpc_service(*name)) {
      walk.complain(*table.find("grpc_service"), *bad);
    }
    check.grpc_service = *name;
  }
}

}  // namespace ballast::tools
