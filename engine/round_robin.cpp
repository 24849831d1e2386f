// Building the smooth order. Members of one weight have credits that differ only by how often they
// were chosen, so among them it is simply their turn one after the other, and only the groups of
// equal weight have to be compared.
#include "engine/round_robin.hpp"

#include <algorithm>
#include <map>
#include <numeric>

namespace ballast::engine {

namespace {

struct Group {
  std::int64_t credit = 0;  // of the member whose turn it is
  std::int64_t weight = 0;
  std::size_t turn = 0;
  std::vector<std::size_t> members;  // ascending
  [[nodiscard]] std::size_t candidate() const noexcept { return members[turn]; }
};

std::uint64_t sum_of(const std::vector<std::uint32_t>& weights) noexcept {
  return std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
}

void divide_by_gcd(std::vector<std::uint32_t>& weights) noexcept {
  std::uint32_t divisor = 0;
  for (std::uint32_t weight : weights)
    divisor = std::gcd(divisor, weight);
  if (divisor > 1) {
    for (std::uint32_t& weight : weights)
      weight /= divisor;
  }
}

}  // namespace

std::vector<std::uint32_t> round_robin_weights(std::span<const Member> members) {
  std::vector<std::uint32_t> weights;
  weights.reserve(members.size());
  for (const Member& member : members)
    weights.push_back(member.weight);
  divide_by_gcd(weights);
  if (sum_of(weights) <= kMaxRoundRobinLength) return weights;

  const std::uint64_t heaviest = *std::max_element(weights.begin(), weights.end());
  const auto scaled = [&](std::uint64_t k) {
    std::vector<std::uint32_t> out = weights;
    for (std::uint32_t& w : out) {
      if (w != 0) w = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, w * k / heaviest));
    }
    return out;
  };
  std::uint64_t fits = 1;  // all weights are 0 or 1, and there are fewer members than slots
  for (std::uint64_t too_much = heaviest; too_much - fits > 1;) {
    const std::uint64_t middle = (fits + too_much) / 2;
    (sum_of(scaled(middle)) <= kMaxRoundRobinLength ? fits : too_much) = middle;
  }
  weights = scaled(fits);
  divide_by_gcd(weights);
  return weights;
}

std::vector<std::uint16_t> round_robin_schedule(std::span<const Member> members) {
  const std::vector<std::uint32_t> weights = round_robin_weights(members);
  std::map<std::uint32_t, Group> by_weight;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (weights[i] == 0) continue;
    Group& group = by_weight[weights[i]];
    group.weight = weights[i];
    group.members.push_back(i);
  }
  std::vector<Group> groups;
  groups.reserve(by_weight.size());
  for (auto& [weight, group] : by_weight)
    groups.push_back(std::move(group));

  const auto sum = static_cast<std::int64_t>(sum_of(weights));
  std::vector<std::uint16_t> schedule;
  schedule.reserve(static_cast<std::size_t>(sum));
  for (std::int64_t pick = 0; pick < sum; ++pick) {
    Group* best = nullptr;
    for (Group& group : groups) {
      group.credit += group.weight;
      if (best == nullptr || group.credit > best->credit ||
          (group.credit == best->credit && group.candidate() < best->candidate())) {
        best = &group;
      }
    }
    schedule.push_back(members[best->candidate()].slot);
    if (++best->turn == best->members.size()) {  // the next one has been chosen once more
      best->turn = 0;
      best->credit -= sum;
    }
  }
  return schedule;
}

}  // namespace ballast::engine
