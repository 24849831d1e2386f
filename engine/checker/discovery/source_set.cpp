// What counts as a set, and what is told of it.
#include "engine/checker/discovery/source_set.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/hash.hpp"

namespace ballast::checker {
namespace {

using std::chrono::duration_cast;
using std::chrono::steady_clock;

// Of a set in its order: whether it is the one that was handed on last.
std::uint64_t fingerprint(const std::vector<InstanceSettings>& instances) {
  std::string bytes;
  for (const InstanceSettings& one : instances) {
    bytes.append(one.endpoint.to_text()).push_back(' ');
    bytes.append(one.text).push_back(' ');
    bytes.append(std::to_string(one.weight)).push_back(' ');
    bytes.append(std::to_string(one.tier)).push_back(' ');
    bytes.append(one.zone).push_back(' ');
    bytes.append(std::to_string(static_cast<int>(one.admin))).push_back('\n');
  }
  return engine::key_hash(bytes);
}

const std::string& name_of(const SourceSettings& settings) {
  return settings.kind == SourceSettings::Kind::file ? settings.path : settings.name;
}

// As much of a source's name as a record has room for: of a path its end, of a name its beginning.
std::string label_of(const SourceSettings& settings) {
  std::string label = std::string(to_text(settings.kind)) + ":";
  const std::size_t room = shm::kEventLabelBytes - label.size();
  const std::string& name = name_of(settings);
  const bool is_file = settings.kind == SourceSettings::Kind::file;
  return label +
         (is_file && name.size() > room ? name.substr(name.size() - room) : name.substr(0, room));
}

}  // namespace

const char* to_text(SourceSettings::Kind kind) noexcept {
  switch (kind) {
    case SourceSettings::Kind::file:
      return "file";
    case SourceSettings::Kind::dns_address:
      return "dns";
    case SourceSettings::Kind::dns_srv:
      return "srv";
  }
  return "";
}

struct SourceSet::Entry {
  explicit Entry(Loop& on) : loop(on) {}
  ~Entry() {
    if (second_look) loop.timers().destroy(*second_look);
  }
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

  // What counts, whichever source found it.
  struct Standing {
    std::size_t instances = 0;
    std::optional<std::uint64_t> fingerprint;  // none: of before the start
    std::optional<steady_clock::time_point> since;
    std::uint64_t changes = 0;
  };

  Loop& loop;
  std::string service;
  std::size_t index = 0;
  SourceSettings settings;
  Standing standing;
  std::optional<Standing> former;  // until it is known that the standing one can be published
  bool refused = false;            // the last one could not
  bool heard = false;
  bool answered = false;
  bool empty_once = false;  // and the second look is to come
  std::string error;
  std::string note;
  std::uint64_t failures = 0;
  std::optional<steady_clock::time_point> failing_since;
  std::optional<Timers::Id> second_look;
  std::unique_ptr<Source> source;  // last: it calls back until it is gone
};

SourceSet::SourceSet(Loop& loop, OnSet on_set, OnTransition on_transition)
    : loop_(loop),
      on_set_(std::move(on_set)),
      on_transition_(std::move(on_transition)),
      context_(loop) {}
SourceSet::~SourceSet() = default;

void SourceSet::configure(const std::vector<ServiceSettings>& services) {
  std::map<std::string, std::vector<std::unique_ptr<Entry>>> before;
  for (auto& entry : entries_)
    before[entry->service].push_back(std::move(entry));
  entries_.clear();
  for (const ServiceSettings& service : services) {
    auto& former = before[service.name];
    const auto take_if = [&](const auto& is) {
      const auto found = std::find_if(former.begin(), former.end(), [&](const auto& entry) {
        return entry != nullptr && is(*entry);
      });
      return found == former.end() ? nullptr : std::move(*found);
    };
    std::vector<std::unique_ptr<Entry>> now(service.sources.size());
    for (std::size_t i = 0; i < now.size(); ++i) {
      now[i] = take_if([&](const Entry& entry) { return entry.settings == service.sources[i]; });
    }
    for (std::size_t i = 0; i < now.size(); ++i) {
      const bool stays = now[i] != nullptr;
      if (!stays) {
        now[i] = std::make_unique<Entry>(loop_);
        now[i]->service = service.name;
        now[i]->settings = service.sources[i];
        const auto replaced = take_if([&](const Entry& entry) { return entry.index == i; });
        if (replaced != nullptr) now[i]->standing = replaced->standing;
      }
      now[i]->index = i;
      if (!stays) start(*now[i]);
    }
    for (auto& entry : now)
      entries_.push_back(std::move(entry));
  }
}

void SourceSet::start(Entry& entry) {
  entry.source = context_.make(entry.settings);
  entry.source->start([this, &entry](Discovered found) { on_discovered(entry, std::move(found)); });
}

void SourceSet::inherit(const std::string& service, std::size_t source, std::size_t instances) {
  for (const auto& entry : entries_) {
    if (entry->service == service && entry->index == source && !entry->heard) {
      entry->standing.instances = instances;
    }
  }
}

void SourceSet::refresh() {
  for (const auto& entry : entries_)
    entry->source->refresh();
}

void SourceSet::on_discovered(Entry& entry, Discovered found) {
  entry.heard = true;
  if (!found.error.empty()) {
    entry.empty_once = false;
    ++entry.failures;
    fail(entry, std::move(found.error));
  } else if (found.instances.empty() && entry.standing.instances > 0) {
    on_empty(entry, std::move(found));
  } else if (found.partial && entry.standing.instances > 0 && !entry.answered) {
    // Of what another found, or a ballastd before this one: what is missing may be in there.
    entry.empty_once = false;
    ++entry.failures;
    fail(entry, found.note + "; what was there before stays until all of it was answered once");
  } else {
    take(entry, std::move(found));
  }
}

// There is something to lose.
void SourceSet::on_empty(Entry& entry, Discovered found) {
  if (entry.settings.believe_empty && std::exchange(entry.empty_once, true)) {
    take(entry, std::move(found));
    return;
  }
  fail(entry, (found.note.empty() ? "an empty answer" : found.note) +
                  (entry.settings.believe_empty ? "; looking again before that is believed"
                                                : "; an empty answer is not believed"));
  if (!entry.settings.believe_empty) return;
  look_again_in(entry, kSecondLook);
}

void SourceSet::look_again_in(Entry& entry, Milliseconds time) {
  if (!entry.second_look) {
    entry.second_look = loop_.timers().create([&entry] { entry.source->refresh(); });
  }
  loop_.timers().arm(*entry.second_look, steady_clock::now() + time);
}

void SourceSet::judged(const std::string& service, std::size_t source, const shm::Status& status) {
  for (const auto& entry : entries_) {
    if (entry->service != service || entry->index != source || !entry->former) continue;
    if (status) {
      entry->former.reset();
      if (std::exchange(entry->refused, false)) recover(*entry);
      return;
    }
    entry->standing = *std::exchange(entry->former, std::nullopt);
    entry->refused = true;
    ++entry->failures;
    fail(*entry, "what it found cannot be published: " + status.error().to_text());
    look_again_in(*entry, kRefusedLook);
    return;
  }
}

void SourceSet::take(Entry& entry, Discovered found) {
  entry.empty_once = false;
  entry.answered = true;
  entry.note = std::move(found.note);
  const std::uint64_t mark = fingerprint(found.instances);
  Entry::Standing& standing = entry.standing;
  const bool is_new = standing.fingerprint != mark;
  // After a refusal it is well again only when that is published, or the one before is its answer.
  if (!entry.refused || (!is_new && !entry.former)) {
    entry.refused = false;
    recover(entry);
  }
  if (!is_new) return;
  if (!entry.former) entry.former = standing;
  standing.fingerprint = mark;
  standing.instances = found.instances.size();
  standing.since = steady_clock::now();
  ++standing.changes;
  on_set_(entry.service, entry.index, std::move(found.instances));
}

void SourceSet::recover(Entry& entry) {
  if (entry.failing_since) {
    const auto lasted = duration_cast<Milliseconds>(steady_clock::now() - *entry.failing_since);
    tell(entry, shm::EventKind::source_recovered, Level::info,
         {{"after_ms", std::to_string(lasted.count())}});
  }
  entry.failing_since.reset();
  entry.error.clear();
}

void SourceSet::fail(Entry& entry, std::string why) {
  // Once an outage, however the reason changes while it lasts.
  if (!entry.failing_since) {
    entry.failing_since = steady_clock::now();
    tell(entry, shm::EventKind::source_failed, Level::warning, {{"because", why}});
  }
  entry.error = std::move(why);
  entry.note.clear();
}

void SourceSet::tell(const Entry& entry, shm::EventKind kind, Level level,
                     std::vector<std::pair<std::string, std::string>> also) const {
  if (!on_transition_) return;
  Transition told = about(entry.service, kind, shm::EventBy::discovery);
  told.level = level;
  told.event.label = label_of(entry.settings);
  told.event.value = entry.standing.instances;
  told.also = std::move(also);
  on_transition_(std::move(told));
}

bool SourceSet::has_heard_from_all(const std::string& service) const {
  return std::all_of(entries_.begin(), entries_.end(),
                     [&](const auto& entry) { return entry->service != service || entry->heard; });
}

std::vector<SourceStatus> SourceSet::statuses() const {
  const auto now = steady_clock::now();
  const auto since = [&](const std::optional<steady_clock::time_point>& when) {
    std::optional<Milliseconds> out;
    if (when) out = duration_cast<Milliseconds>(now - *when);
    return out;
  };
  std::vector<SourceStatus> out;
  out.reserve(entries_.size());
  for (const auto& entry : entries_) {
    SourceStatus status;
    status.service = entry->service;
    status.source = entry->index;
    status.kind = entry->settings.kind;
    status.name =
        status.kind == SourceSettings::Kind::file ? entry->settings.path : entry->settings.name;
    status.answered = entry->answered;
    status.instances = entry->standing.instances;
    status.error = entry->error;
    status.note = entry->note;
    status.failures = entry->failures;
    status.changes = entry->standing.changes;
    status.failing_for = since(entry->failing_since);
    status.unchanged_for = since(entry->standing.since);
    out.push_back(std::move(status));
  }
  return out;
}

}  // namespace ballast::checker
