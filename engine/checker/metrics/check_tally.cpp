// Counting, and forgetting.
#include "engine/checker/metrics/check_tally.hpp"

#include <set>
#include <utility>

#include "engine/checker/metrics/exposition.hpp"

namespace ballast::checker {

void CheckTally::count(const std::string& service, CheckKind kind, const CheckResult& result) {
  const auto by_kind = static_cast<std::size_t>(kind);
  const auto reason = static_cast<std::size_t>(result.reason);
  if (by_kind >= kKinds || reason >= shm::kReasonCount) return;
  auto found = places_.find(service);
  if (found == places_.end()) {
    found = places_.emplace(service, std::array<std::size_t, kKinds>{}).first;
    found->second.fill(kNone);
  }
  std::size_t& place = found->second[by_kind];
  if (place == kNone) {
    place = counts_.size();
    CheckCounts& made = counts_.emplace_back();
    append_label(made.labels, "service", service);
    append_label(made.labels, "kind", to_text(kind));
  }
  CheckCounts& counts = counts_[place];
  counts.durations.add(result.latency);
  if (!result.passed()) ++counts.failures[reason];
}

void CheckTally::keep(const Settings& settings) {
  std::set<std::string_view> names;
  for (const ServiceSettings& service : settings.services)
    names.insert(service.name);
  std::vector<CheckCounts> kept;
  for (auto entry = places_.begin(); entry != places_.end();) {
    if (!names.contains(entry->first)) {
      entry = places_.erase(entry);
      continue;
    }
    for (std::size_t& place : entry->second) {
      if (place == kNone) continue;
      kept.push_back(std::move(counts_[place]));
      place = kept.size() - 1;
    }
    ++entry;
  }
  counts_ = std::move(kept);
}

const char* to_text(CheckKind kind) noexcept {
  switch (kind) {
    case CheckKind::none:
      break;
    case CheckKind::tcp:
      return "tcp";
    case CheckKind::http:
      return "http";
    case CheckKind::udp:
      return "udp";
    case CheckKind::grpc:
      return "grpc";
    case CheckKind::exec:
      return "exec";
    case CheckKind::agent:
      return "agent";
  }
  return "none";
}

}  // namespace ballast::checker
