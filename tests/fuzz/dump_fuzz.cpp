// Whatever lies in the files, `ballast dump`, `workers` and `events` show it or say why not: as
// text that cannot drive a terminal, and as JSON that can be read again.
#include <nlohmann/json.hpp>

#include <cstdint>
#include <sstream>
#include <string>

#include "engine/inspect/event_log.hpp"
#include "engine/inspect/rates.hpp"
#include "engine/inspect/snapshot.hpp"
#include "tests/fuzz/damaged_namespace.hpp"
#include "tools/ballast/events.hpp"
#include "tools/ballast/render.hpp"

namespace {

namespace tools = ballast::tools;

void require_plain(const std::string& text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n') || byte == 0x7f) ballast::fuzz::die("a control character");
  }
}

void require_json(const std::string& text) {
  if (!nlohmann::json::accept(text)) ballast::fuzz::die("no JSON: " + text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ballast::fuzz::DamagedNamespace files;
  FuzzedDataProvider input(data, size);
  files.damage_at_will(input);
  const auto snapshot = ballast::inspect::read_snapshot(files.directory());
  if (snapshot) {
    require_plain(tools::dump_text(*snapshot, tools::Colours::no));
    require_plain(tools::workers_text(*snapshot, tools::Colours::no));
    require_json(tools::dump_json(*snapshot));
    require_json(tools::workers_json(*snapshot));
    // Two looks between which the counts became anything at all.
    auto next = *snapshot;
    next.read_ns += 2'000'000'000;
    for (auto& service : next.services) {
      for (auto& instance : service.instances)
        instance.counters[0] += input.ConsumeIntegral<std::uint64_t>();
      service.latencies.buckets[0] += input.ConsumeIntegral<std::uint64_t>();
    }
    ballast::inspect::add_rates(*snapshot, next);
    require_plain(tools::dump_text(next, tools::Colours::no));
    require_json(tools::dump_json(next));
  } else {
    require_plain(snapshot.error().to_text());
  }
  if (auto log = ballast::inspect::EventLog::open(files.directory())) {
    const auto events = log->look();
    require_plain(tools::EventLines(false, tools::Colours::no).render(events));
    std::istringstream lines(tools::EventLines(true, tools::Colours::no).render(events));
    for (std::string line; std::getline(lines, line);)
      require_json(line);
  }
  files.undo();
  return 0;
}
