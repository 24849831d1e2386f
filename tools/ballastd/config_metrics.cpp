// Where metrics are served, and how many; see config_metrics.hpp.
#include "tools/ballastd/config_metrics.hpp"

#include <array>
#include <string>
#include <string_view>

#include "tools/ballastd/config_values.hpp"

namespace ballast::tools {
namespace {

constexpr std::array kFields{BALLAST_FIELD(checker::Settings, "max_instances",
                                           metrics_max_instances, Form::number,
                                           {1, checker::kMaxInstances}, "sums of services only")};
constexpr std::array<std::string_view, 2> kKeys{"listen", "max_instances"};

// A name would have to be looked up, and then to stay what it is.
Parsed<shm::Endpoint> refuse_name(const std::string& host) {
  return Complaint{in_quotes(host) + " is a name",
                   "write an address of this host, such as "
                   "\"127.0.0.1:9464\""};
}

}  // namespace

namespace keys {
Words metrics() {
  return kKeys;
}
std::span<const Field<checker::Settings>> metrics_fields() {
  return kFields;
}
}  // namespace keys

void read_metrics(ConfigWalk& walk, const ConfigValue& root, checker::Settings& settings) {
  const ConfigValue* metrics = root.find("metrics");
  if (metrics == nullptr || !walk.want_table(*metrics, "metrics", "metrics")) return;
  walk.judge_keys(*metrics, {}, "[metrics]", keys::metrics());
  if (const auto listen = walk.read_string(*metrics, "listen", "an address, \"127.0.0.1:9464\"")) {
    const auto address = parse_address(*listen, refuse_name);
    if (address.ok()) {
      settings.metrics_listen = *listen;
    } else {
      walk.complain(*metrics->find("listen"), address.complaint());
    }
  }
  read_fields(walk, *metrics, keys::metrics_fields(), settings);
}

}  // namespace ballast::tools
