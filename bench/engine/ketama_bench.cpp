// Looking a key's point up on the ring of 1000 instances: the search with the published index
// against a plain binary search (std::lower_bound) over the same points, both in the mapped table.
// The hashes are given, so that only the lookups are compared; a second row adds the key's crc32,
// which both must compute.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"
#include "engine/ketama.hpp"

namespace ballast::bench {

namespace {

constexpr std::uint64_t kLookups = kKeyCount;

struct RingPair {
  Worker worker;
  std::vector<std::uint32_t> hashes;

  RingPair(Namespace& made, unsigned rank)
      : worker(made.directory(), made.publisher().segment_id(), KeyOrder::runs, rank) {
    for (const Key& key : worker.keys)
      hashes.push_back(engine::ketama_hash({key.bytes, key.size}));
  }

  [[nodiscard]] std::uint32_t search_plain(std::uint32_t hash) const noexcept {
    const std::span points(worker.view().points, worker.view().lookup_count);
    const auto found = std::lower_bound(
        points.begin(), points.end(), hash,
        [](const shm::Word32& point, std::uint32_t h) { return shm::get(point) < h; });
    const auto at = found == points.end() ? 0 : found - points.begin();
    return shm::get(worker.view().lookup[at]);
  }
  [[nodiscard]] std::uint32_t search_indexed(std::uint32_t hash) const noexcept {
    const auto& view = worker.view();
    const std::span points(view.points, view.lookup_count);
    const std::span index(view.index, view.index_count);
    return shm::get(view.lookup[engine::find_ketama(points, index, hash)]);
  }
  [[nodiscard]] static std::uint32_t hash_of(const Key& key) noexcept {
    return engine::ketama_hash({key.bytes, key.size});
  }
};

template <class Lookup>
Burst given_hashes(const std::shared_ptr<RingPair>& pair, Lookup lookup) {
  return [pair, lookup](std::uint64_t n) {
    for (std::uint64_t i = 0; i < n; ++i)
      keep(lookup(*pair, pair->hashes[i % kKeyCount]));
  };
}
template <class Lookup>
Burst given_keys(const std::shared_ptr<RingPair>& pair, Lookup lookup) {
  return [pair, lookup](std::uint64_t n) {
    over_keys(pair->worker.keys, n,
              [&](const Key& key) { return lookup(*pair, RingPair::hash_of(key)); });
  };
}

}  // namespace

void add_ketama_cases(Suite& suite) {
  suite.add("pick.ketama_speedup", [](Rows& rows) {
    Namespace made(1000, engine::Strategy::ketama);
    const auto plain = [](const RingPair& p, std::uint32_t hash) { return p.search_plain(hash); };
    const auto indexed = [](const RingPair& p, std::uint32_t hash) {
      return p.search_indexed(hash);
    };
    for (const unsigned processes : {1U, 2U}) {
      PairedPlan plan;
      plan.processes = processes;
      plan.base_operations = plan.subject_operations = kLookups;
      const std::string where = "/n1000/" + std::to_string(processes) + "p";
      // The slow one is the subject: the ratio is how many times faster the index is.
      const PairedResult lookups = run_paired(plan, [&](unsigned rank) {
        const auto pair = std::make_shared<RingPair>(made, rank);
        return Contenders{given_hashes(pair, indexed), given_hashes(pair, plain)};
      });
      rows.add({"pick.ketama_speedup" + where, lookups.ratio, "x", Better::higher, {}});
      rows.add({"pick.ketama_indexed_ns" + where, lookups.base_ns, "ns", Better::lower, {}});
      rows.add({"pick.ketama_plain_ns" + where, lookups.subject_ns, "ns", Better::lower, {}});
      const PairedResult whole = run_paired(plan, [&](unsigned rank) {
        const auto pair = std::make_shared<RingPair>(made, rank);
        return Contenders{given_keys(pair, indexed), given_keys(pair, plain)};
      });
      rows.add({"pick.ketama_with_hash_speedup" + where, whole.ratio, "x", Better::higher, {}});
      rows.add({"pick.ketama_with_hash_ns" + where, whole.base_ns, "ns", Better::lower, {}});
    }
    rows.add_worst("pick.ketama_speedup", Better::higher, {">= 3x", 3});
  });
}

}  // namespace ballast::bench
