// The list of strategies, and the policy that each of the production ones is run with.
#include "bench/simulator/strategies.hpp"

#include "bench/simulator/production.hpp"

namespace ballast::bench::sim {

namespace {

using Rule = engine::Strategy;

// The choosing is compared here: no breaker hides a bad choice.
engine::Policy policy_of(Rule rule, std::uint32_t choices) {
  engine::Policy policy;
  policy.strategy = rule;
  policy.choices = choices;
  policy.breaker_consecutive = 0;
  policy.breaker_rate_percent = 0;
  return policy;
}

template <Rule rule, Sharing sharing = Sharing::host,
          std::uint32_t choices = engine::default_choices(rule)>
std::unique_ptr<Chooser> make(const Sizes& sizes) {
  return production(sizes, policy_of(rule, choices), sharing);
}

std::unique_ptr<Chooser> make_bounded(const Sizes& sizes) {
  engine::Policy policy = policy_of(Rule::maglev, 2);
  policy.hash_bound_percent = 125;
  return production(sizes, policy, Sharing::host);
}

std::unique_ptr<Chooser> make_hot_cold(const Sizes& sizes) {
  engine::Policy policy = policy_of(Rule::adaptive, engine::default_choices(Rule::adaptive));
  policy.hot_cold = 1;
  return production(sizes, policy, Sharing::host);
}

// With the breaker at its defaults.
template <Rule rule, Sharing sharing = Sharing::host, std::uint32_t bound_percent = 0>
std::unique_ptr<Chooser> make_breaking(const Sizes& sizes) {
  const engine::Policy defaults;
  engine::Policy policy = policy_of(rule, engine::default_choices(rule));
  policy.hash_bound_percent = bound_percent;
  policy.breaker_consecutive = defaults.breaker_consecutive;
  policy.breaker_rate_percent = defaults.breaker_rate_percent;
  return production(sizes, policy, sharing);
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
      {"least_connections_all", Kind::fixed, "",
       make<Rule::least_connections, Sharing::host, kAll>},
      {"least_response_time", Kind::fixed, "", make<Rule::least_response_time>},
      {"adaptive", Kind::adaptive, "", make<Rule::adaptive>},
      {"adaptive_hot_cold", Kind::option, "", make_hot_cold},
      {"adaptive_breaker", Kind::option, "", make_breaking<Rule::adaptive>},
      {"round_robin_breaker", Kind::option, "", make_breaking<Rule::round_robin>},
      {"maglev_bounded_breaker", Kind::option, "", make_breaking<Rule::maglev, Sharing::host, 125>},
      {"least_connections.per_worker", Kind::per_worker, "least_connections",
       make<Rule::least_connections, Sharing::worker>},
      {"least_response_time.per_worker", Kind::per_worker, "least_response_time",
       make<Rule::least_response_time, Sharing::worker>},
      {"adaptive.per_worker", Kind::per_worker, "adaptive", make<Rule::adaptive, Sharing::worker>},
      {"round_robin_breaker.per_worker", Kind::option, "",
       make_breaking<Rule::round_robin, Sharing::worker>},
      {"peer.round_robin", Kind::peer, "", worker_round_robin},
      {"peer.least_request", Kind::peer, "", worker_least_request},
      {"peer.peak_ewma", Kind::peer, "", worker_peak_ewma},
      {"peer.ring_rebuilt", Kind::peer, "", worker_ring},
  };
  return all;
}

}  // namespace ballast::bench::sim
