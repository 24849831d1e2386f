// One look at all rows.
#include "engine/checker/control/seen_watch.hpp"

#include <algorithm>

#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/seen.hpp"

namespace ballast::checker {

namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;  // for people, or to ask the kernel by
}

SeenReport SeenWatch::look(const shm::CheckerSegment& active, const shm::CheckerSegment* draining,
                           std::uint64_t now_ms) {
  SeenReport report;
  std::vector<Behind> behind;
  if (draining != nullptr) find_behind(*draining, /*replaced=*/true, report, behind);
  // Ids grow, so this keeps `behind` in order.
  find_behind(active, /*replaced=*/false, report, behind);
  // Each has its turn, from the one after the last one asked.
  const auto first =
      std::upper_bound(behind.begin(), behind.end(), asked_last_,
                       [](const Place& place, const Behind& row) { return place < row.place; });
  std::size_t asked = 0;
  for (std::size_t n = 0; n < behind.size() && asked < kAskedPerLook; ++n) {
    const auto at = static_cast<std::size_t>(first - behind.begin()) + n;
    const Behind& row = behind[at % behind.size()];
    if (row.owner->idle || row.stays) continue;
    ask(row, now_ms);
    asked_last_ = row.place;
    ++asked;
  }
  for (const Behind& row : behind) {
    if (row.owner->idle) {
      ++report.idle;
    } else if (report.missing.size() < kMissingShown) {
      report.missing.push_back({row.place.second, row.record->pid.load(kRelaxed),
                                shm::command_text(row.record->command[0].load(kRelaxed),
                                                  row.record->command[1].load(kRelaxed)),
                                row.owner->stopped});
    }
  }
  return report;
}

void SeenWatch::find_behind(const shm::CheckerSegment& segment, bool replaced, SeenReport& report,
                            std::vector<Behind>& behind) {
  const shm::WorkersWriter& workers = segment.workers;
  for (std::uint64_t row = 0; row < workers.directory.size(); ++row) {
    if (!workers.ever_claimed(row)) continue;
    const shm::RowRecord& record = workers.directory[row];
    // [mm:row-claim] acquire: a live row's words are its owner's, not a former one's. seq_cst: an
    // owner that takes the row after this will read the epoch ([mm:seen-epoch]).
    const auto claim = shm::unpack_identity(record.claim.load(std::memory_order_seq_cst));
    if (claim.phase != shm::Phase::live) continue;
    ++report.rows;
    const auto services = workers.row_services(row);
    const std::uint64_t seen =
        service_ < services.size() ? shm::read_seen(services[service_].seen_epoch) : 0;
    if (seen == 0 || shm::epoch_of(seen) >= epoch_) {
      ++report.seen;
      continue;
    }
    const Place place{segment.id, row};
    Owner& owner = owners_[place];
    if (owner.incarnation != claim.incarnation) owner = Owner{claim.incarnation, false, false, {}};
    // It has seen the mark, and still picks from here.
    const bool stays = replaced && shm::is_superseded(seen);
    if (stays) owner.idle = false;
    behind.push_back({place, &record, &owner, stays});
  }
}

void SeenWatch::ask(const Behind& row, std::uint64_t now_ms) const {
  const shm::RowRecord& record = *row.record;
  Owner& owner = *row.owner;
  const auto activity = activity_(record.pid.load(kRelaxed), record.tid.load(kRelaxed),
                                  record.start_ticks.load(kRelaxed));
  if (!activity) {
    owner.idle = now_ms - since_ms_ >= kUnseenIdleMs;
    return;
  }
  owner.stopped = activity->state == ThreadActivity::State::stopped;
  if (!owner.cpu_ns) owner.cpu_ns = activity->cpu_ns;
  owner.idle = activity->state == ThreadActivity::State::sleeping ||
               activity->cpu_ns >= *owner.cpu_ns + kPickCpuNs;
}

}  // namespace ballast::checker
