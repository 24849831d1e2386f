// Keeping a reading of the table for a short while; see bridge_table.hpp.
#include "tools/ballast/bridge_table.hpp"

#include <unordered_set>
#include <utility>
#include <vector>

#include "engine/coarse_clock.hpp"
#include "engine/inspect/reading.hpp"

namespace ballast::tools {
namespace {

constexpr std::uint64_t kQuietMs = 10'000;
constexpr std::size_t kShown = 120;  // of a line that was asked, in the log

// Without what would change a terminal's mind.
std::string printable(std::string_view text) {
  std::string shown(text.substr(0, kShown));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return shown;
}

bool is_open(const inspect::BreakerView& breaker) {
  return breaker.state == engine::BreakerState::open && breaker.left_ms > 0;
}

}  // namespace

std::size_t BridgeTable::Hash::operator()(const Key& key) const noexcept {
  std::size_t hash = std::hash<std::string>{}(key.service);
  for (const std::uint64_t word : key.endpoint)
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
  return hash ^ hash >> 29;
}

BridgeTable::BridgeTable(std::string directory, Log log)
    : directory_(std::move(directory)), log_(std::move(log)) {}

std::string BridgeTable::answer(std::string_view line, std::uint64_t now_ms) {
  const auto question = parse_agent_question(line);
  if (!question) {
    complain("asked \"" + printable(line) +
                 "\": agent-send must be \"SERVICE ADDRESS:PORT\\n\", or with a weight behind it",
             now_ms);
    return {};
  }
  if (!was_read_ || now_ms - read_at_ms_ >= kMaxAgeMs) refresh(now_ms);
  if (!is_readable_) return {};
  const auto found =
      known_.find(Key{std::string(question->service), question->endpoint.to_words()});
  if (found == known_.end()) {
    complain("asked about " + printable(line) + ", which is not in the table: no answer", now_ms);
    return {};
  }
  return agent_answer(found->second.facts, question->full_weight);
}

void BridgeTable::refresh(std::uint64_t now_ms) {
  was_read_ = true;
  read_at_ms_ = now_ms;
  is_readable_ = read();
}

bool BridgeTable::read() {
  inspect::Snapshot head;
  const auto mapped = inspect::map_active(directory_, head);
  if (!mapped) {
    if (is_readable_ || reading_ == 0)
      log_("no answers until the table can be read: " + mapped.error().to_text());
    ++reading_;
    return false;
  }
  inspect::read_table(mapped->table, head);
  if (!is_readable_) {
    log_("answering from " + directory_ + ": " + std::to_string(head.services.size()) +
         (head.services.size() == 1 ? " service" : " services"));
  }
  note_checker(head.checker);
  ++reading_;
  present_ = 0;
  const std::uint64_t clock_ms = head.this_boot ? engine::coarse_ms() : 0;
  std::unordered_set<std::string_view> published;
  std::vector<engine::PanicMode> panic(head.instance_capacity, engine::PanicMode::none);
  for (const inspect::ServiceView& service : head.services) {
    published.insert(service.name);
    for (const inspect::GroupView& group : service.groups) {
      for (const std::uint64_t slot : group.slots) {
        if (slot < panic.size()) panic[slot] = group.panic;
      }
    }
    for (const inspect::InstanceView& instance : service.instances) {
      if (instance.phase != shm::Phase::live) continue;
      const auto& record = mapped->table.instances[instance.slot];
      Known& known =
          known_[Key{service.name, shm::Endpoint::from_words({shm::get(record.endpoint[0]),
                                                              shm::get(record.endpoint[1]),
                                                              shm::get(record.endpoint[2])})
                                       .to_words()}];
      known.reading = reading_;
      known.facts = {
          instance.state, instance.configured_weight, panic[instance.slot],
          mapped->workers && is_open(inspect::read_breaker(*mapped->workers, instance, clock_ms)),
          false};
      ++present_;
    }
  }
  // Who has left while its service stays is to be drained; who went with it is not known any more.
  for (auto it = known_.begin(); it != known_.end();) {
    if (it->second.reading != reading_) it->second.facts.has_left = true;
    const bool forget = it->second.facts.has_left && (!published.contains(it->first.service) ||
                                                      known_.size() > present_ + kMaxLeft);
    it = forget ? known_.erase(it) : std::next(it);
  }
  return true;
}

void BridgeTable::note_checker(inspect::CheckerState state) {
  const bool is_there =
      state == inspect::CheckerState::running || state == inspect::CheckerState::unknown;
  const bool was_there =
      checker_ == inspect::CheckerState::running || checker_ == inspect::CheckerState::unknown;
  if (is_there != was_there)
    log_(is_there ? "a checker is running again"
                  : "no checker is running: its last verdicts stand");
  checker_ = state;
}

void BridgeTable::complain(const std::string& what, std::uint64_t now_ms) {
  ++complaints_;
  if (complained_at_ms_ != 0 && now_ms - complained_at_ms_ < kQuietMs) return;
  log_(what + (complaints_ > 1 ? " (and " + std::to_string(complaints_ - 1) + " more such)" : ""));
  complained_at_ms_ = now_ms == 0 ? 1 : now_ms;
  complaints_ = 0;
}

}  // namespace ballast::tools
