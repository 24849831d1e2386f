// What the demo reads of the mapped table: see table_reader.hpp.
#include "tools/demo/table_reader.hpp"

#include "engine/inspect/snapshot.hpp"
#include "tools/demo/failure.hpp"

namespace ballast::tools::demo {
namespace {

using namespace inspect;

Snapshot read_or_fail(const std::string& directory) {
  auto snapshot = read_snapshot(directory);
  if (!snapshot) throw Failure(snapshot.error().to_text());
  return std::move(*snapshot);
}

}  // namespace

TableFacts look_at_table(const std::string& directory, const Servers& servers) {
  const Snapshot snapshot = read_or_fail(directory);
  TableFacts facts;
  facts.checker_lives = snapshot.checker == CheckerState::running;
  facts.term = snapshot.term;
  facts.checker_pid = snapshot.checker_pid;
  facts.heartbeat = snapshot.heartbeat;
  for (const ServiceView& service : snapshot.services) {
    for (const InstanceView& view : service.instances) {
      const unsigned server = servers.at_address(view.address);
      if (server == kNobody || view.phase != shm::Phase::live) continue;
      TableInstance& instance = facts.instances[server];
      instance = {view.state.usable, view.checks, view.check_failures, view.flips,
                  in_flight_of(view.counters)};
      facts.usable += instance.usable ? 1 : 0;
      facts.flips += instance.flips;
      facts.checks += instance.checks;
      facts.check_failures += instance.check_failures;
      facts.in_flight += instance.in_flight;
    }
  }
  return facts;
}

RowFacts look_at_row(const std::string& directory, pid_t pid) {
  for (const RowView& row : read_or_fail(directory).rows) {
    if (row.pid == static_cast<std::uint64_t>(pid))
      return {true, in_flight_of(row.counters), row.counters[shm::kAbandoned]};
  }
  return {};
}

}  // namespace ballast::tools::demo
