// The list of strategies, and the policy that each of the production ones is run with.
#include "bench/simulator/strategies.hpp"

#include "bench/simulator/production.hpp"

namespace ballast::bench::sim {

namespace {

using Rule = engine::Strategy;

constexpr std::uint32_t kAdaptiveChoices = 3;

// The choosing is compared here: no breaker hides a bad choice.
engine::Policy policy_of(Rule rule, std::uint32_t choices) {
  engine::Policy policy;
  policy.strategy = rule;
  policy.choices = choices;
  policy.breaker_consecutive = 0;
  policy.breaker_rate_percent = 0;
  return policy;
}

template <Rule rule, std::uint32_t choices = 2, Sharing sharing = Sharing::host>
std::unique_ptr<Chooser> make(const Sizes& sizes) {
  return production(sizes, policy_of(rule, choices), sharing);
}

std::unique_ptr<Chooser> make_bounded(const Sizes& sizes) {
  engine::Policy policy = policy_of(Rule::maglev, 2);
  policy.hash_bound_percent = 125;
  return production(sizes, policy, Sharing::host);
}

std::unique_ptr<Chooser> make_hot_cold(const Sizes& sizes) {
  engine::Policy policy = policy_of(Rule::adaptive, kAdaptiveChoices);
  policy.hot_cold = 1;
  return production(sizes, policy, Sharing::host);
}

constexpr std::uint32_t kAll = 0;

}  // namespace

const std::vector<Strategy>& strategies() {
  static const std::vector<Strategy> all = {
      {"round_robin", Kind::fixed, "", make<Rule::round_robin>},
      {"random", Kind::fixed, "", make<Rule::random>},
      {"maglev", Kind::fixed, "", make<Rule::maglev>},
      {"rendezvous", Kind::fixed, "", make<Rule::rendezvous>},
      {"ketama", Kind::fixed, "", make<Rule::ketama>},
      {"maglev_bounded", Kind::fixed, "", make_bounded},
      {"least_connections", Kind::fixed, "", make<Rule::least_connections>},
      {"least_connections_all", Kind::fixed, "", make<Rule::least_connections, kAll>},
      {"least_response_time", Kind::fixed, "", make<Rule::least_response_time>},
      {"adaptive", Kind::adaptive, "", make<Rule::adaptive, kAdaptiveChoices>},
      {"adaptive_hot_cold", Kind::option, "", make_hot_cold},
      {"least_connections.per_worker", Kind::per_worker, "least_connections",
       make<Rule::least_connections, 2, Sharing::worker>},
      {"least_response_time.per_worker", Kind::per_worker, "least_response_time",
       make<Rule::least_response_time, 2, Sharing::worker>},
      {"adaptive.per_worker", Kind::per_worker, "adaptive",
       make<Rule::adaptive, kAdaptiveChoices, Sharing::worker>},
      {"peer.round_robin", Kind::peer, "", worker_round_robin},
      {"peer.least_request", Kind::peer, "", worker_least_request},
      {"peer.peak_ewma", Kind::peer, "", worker_peak_ewma},
      {"peer.ring_rebuilt", Kind::peer, "", worker_ring},
  };
  return all;
}

}  // namespace ballast::bench::sim
