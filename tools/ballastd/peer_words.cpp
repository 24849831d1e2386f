// The list, and looking it up.
#include "tools/ballastd/peer_words.hpp"

#include <algorithm>
#include <array>

#include "engine/text/spelling.hpp"

namespace ballast::tools {

namespace {

struct PeerWord {
  std::string_view theirs;
  std::string_view ours;
};

constexpr std::array kPeerWords{
    // strategies
    PeerWord{"hash", "consistent_hash"},
    PeerWord{"ring_hash", "consistent_hash"},
    PeerWord{"least_conn", "least_connections"},
    PeerWord{"leastconn", "least_connections"},
    PeerWord{"least_request", "least_connections"},
    PeerWord{"p2c", "least_connections"},
    PeerWord{"least_time", "least_response_time"},
    PeerWord{"peak_ewma", "least_response_time"},
    // keys of a service
    PeerWord{"servers", "instances"},
    PeerWord{"endpoints", "instances"},
    PeerWord{"hosts", "instances"},
    PeerWord{"lb_policy", "strategy"},
    PeerWord{"balance", "strategy"},
    PeerWord{"hash_balance_factor", "bound"},
    PeerWord{"choice_count", "choices"},
    PeerWord{"health_check", "check"},
    PeerWord{"health_checks", "check"},
    PeerWord{"agent_check", "agent"},
    PeerWord{"max_fails", "breaker"},
    PeerWord{"fail_timeout", "breaker"},
    PeerWord{"circuit_breaker", "breaker"},
    PeerWord{"outlier_detection", "outlier"},
    PeerWord{"max_ejection_percent", "max_ejected"},
    PeerWord{"max_conns", "max_in_flight"},
    PeerWord{"maxconn", "max_in_flight"},
    PeerWord{"max_requests", "service_max_in_flight"},
    PeerWord{"slow_start_config", "slow_start"},
    PeerWord{"healthy_panic_threshold", "panic"},
    PeerWord{"panic_threshold", "panic"},
    // of an instance
    PeerWord{"backup", "tier"},
    PeerWord{"priority", "tier"},
    PeerWord{"locality", "zone"},
    // of a check, a breaker and outlier detection
    PeerWord{"inter", "interval"},
    PeerWord{"fastinter", "fast_interval"},
    PeerWord{"healthy_threshold", "rise"},
    PeerWord{"unhealthy_threshold", "fall"},
    PeerWord{"consecutive_5xx", "consecutive"},
    PeerWord{"base_ejection_time", "ejection"},
    PeerWord{"max_ejection_time", "ejection_max"},
};

}  // namespace

std::string_view meant_word(std::string_view word, std::span<const std::string_view> known) {
  // Theirs first: "max_ejection_time" is no slip of a key that happens to look like it.
  for (const PeerWord& peer : kPeerWords) {
    if (word.size() != peer.theirs.size() || engine::edit_distance(word, peer.theirs) != 0)
      continue;  // but for case
    if (std::find(known.begin(), known.end(), peer.ours) != known.end()) return peer.ours;
  }
  return engine::nearest_word(word, known);
}

}  // namespace ballast::tools
