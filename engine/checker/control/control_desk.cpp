// Each verb's answer, and what is answered later.
#include "engine/checker/control/control_desk.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/checker/control/change_edit.hpp"
#include "engine/checker/control/desk_answers.hpp"

namespace ballast::checker {

using nlohmann::json;

ControlDesk::ControlDesk(Loop& loop, Steward& steward, DeskHooks hooks, ControlLimits limits)
    : steward_(steward),
      hooks_(std::move(hooks)),
      changes_(loop, steward, change_hooks()),
      status_(loop, status_hooks(), limits.look_time),
      waiting_(loop, wait_hooks(), limits.look_time),
      server_(
          loop,
          [this](ClientId client, const Peer& peer, std::string_view line) {
            on_request(client, peer, line);
          },
          [this](ClientId client) { on_gone(client); }, limits) {}

ControlDesk::~ControlDesk() = default;

ChangeDesk::Hooks ControlDesk::change_hooks() {
  ChangeDesk::Hooks hooks;
  hooks.publisher = hooks_.publisher;
  hooks.eject = hooks_.eject;
  hooks.on_event = hooks_.on_event;
  hooks.answer = [this](const Asker& asker, json&& out) { answer(asker, std::move(out)); };
  hooks.refuse = [this](const Asker& asker, const Refusal& refusal) { refuse(asker, refusal); };
  return hooks;
}

StatusDesk::Hooks ControlDesk::status_hooks() {
  StatusDesk::Hooks hooks;
  hooks.publisher = hooks_.publisher;
  hooks.changes = [this] { return steward_.applications(); };
  hooks.answer = [this](const Asker& asker, const std::string& line) {
    server_.answer(asker.client, line);
  };
  hooks.refuse = [this](const Asker& asker, const Refusal& refusal) { refuse(asker, refusal); };
  return hooks;
}

WaitDesk::Hooks ControlDesk::wait_hooks() {
  WaitDesk::Hooks hooks;
  hooks.publisher = hooks_.publisher;
  hooks.answer = [this](const Asker& asker, json&& out) { answer(asker, std::move(out)); };
  hooks.tell = [this](const Asker& asker, json&& out) {
    finish_answer(out, asker.id, asker.verb);
    return server_.tell(asker.client, to_line(out));
  };
  return hooks;
}

shm::Status ControlDesk::listen(const std::string& path, std::optional<gid_t> group) {
  group_ = group;
  return server_.listen(path, group);
}

void ControlDesk::on_request(ClientId client, const Peer& peer, std::string_view line) {
  const auto parsed = parse_request(line);
  if (const auto* refusal = std::get_if<Refusal>(&parsed)) {
    refuse({client, refusal->id, ""}, *refusal);
    return;
  }
  const Request& request = std::get<Request>(parsed);
  const VerbInfo& info = info_of(request.verb);
  const Asker asker{client, request.id, info.name};
  if (info.writes && !may_change(peer, ::geteuid(), group_)) {
    refuse(asker, {"not_allowed",
                   "uid " + std::to_string(peer.uid) + " may not " + info.name +
                       ": only root, the user of ballastd and the members of control_group may",
                   {}});
    return;
  }
  serve(asker, peer, request);
}

void ControlDesk::serve(const Asker& asker, const Peer& peer, const Request& request) {
  if (request.verb != Verb::help && hooks_.publisher() == nullptr) {
    refuse(asker, {"busy", "this ballastd is not in charge; ask again", {}});
    return;
  }
  switch (request.verb) {
    case Verb::add:
    case Verb::remove:
    case Verb::drain:
    case Verb::ready:
    case Verb::maint:
    case Verb::weight:
    case Verb::strategy:
    case Verb::reset:
      return changes_.change(asker, peer, request);
    case Verb::eject:
      return changes_.eject(asker, peer, request);
    case Verb::reload:
      return reload(asker);
    case Verb::handover:
      return handover(asker);
    case Verb::status:
      return status(asker, request);
    case Verb::sources:
      return sources(asker, request);
    case Verb::changes:
      return show_changes(asker, request);
    case Verb::wait:
      return wait(asker, request);
    case Verb::help:
      return help(asker);
  }
}

void ControlDesk::refuse(const Asker& asker, const Refusal& refusal) {
  json answer{{"ok", false}, {"code", refusal.code}, {"error", refusal.text}};
  finish_answer(answer, asker.id, asker.verb);
  server_.answer(asker.client, to_line(answer));
}

void ControlDesk::answer(const Asker& asker, json&& answer) {
  finish_answer(answer, asker.id, asker.verb);
  server_.answer(asker.client, to_line(answer));
}

void ControlDesk::on_gone(ClientId client) {
  waiting_.forget(client);
  status_.forget(client);
  changes_.forget(client);
  std::erase_if(reloading_, [&](const Reloading& one) { return one.asker.client == client; });
  std::erase_if(handing_over_, [&](const Asker& one) { return one.client == client; });
}

// ---- the program

void ControlDesk::reload(const Asker& asker) {
  // First: a reading that cannot even begin is over before the hook returns.
  reloading_.push_back({asker, 1, epochs_of(*hooks_.publisher())});
  // A reading under way may have looked at the file before it was written.
  if (hooks_.reload() && !reloading_.empty()) reloading_.back().results = 2;
}

void ControlDesk::reloaded(const std::vector<std::string>& errors) {
  std::vector<Reloading> done;
  for (auto one = reloading_.begin(); one != reloading_.end();) {
    if (--one->results != 0) {
      ++one;
      continue;
    }
    done.push_back(std::move(*one));
    one = reloading_.erase(one);
  }
  const Publisher* const publisher = hooks_.publisher();
  for (Reloading& one : done) {
    if (!errors.empty() || publisher == nullptr) {
      Refusal refusal{"refused", "", {}};
      for (const std::string& error : errors)
        refusal.text += (refusal.text.empty() ? "" : "\n") + error;
      refuse(one.asker, refusal);
      continue;
    }
    answer(one.asker, about_reload(*publisher, one.epochs, steward_.roster()));
  }
}

void ControlDesk::handover(const Asker& asker) {
  if (!handing_over_.empty()) {
    handing_over_.push_back(asker);
    return;
  }
  const auto started = hooks_.handover();
  if (!started) {
    refuse(asker, {"refused", started.error().to_text(), {}});
    return;
  }
  handing_over_.push_back(asker);
}

void ControlDesk::successor_failed(const std::string& why) {
  for (const Asker& asker : std::exchange(handing_over_, {}))
    refuse(asker, {"refused", why, {}});
}

void ControlDesk::leave(Leave how) {
  changes_.leave(/*lost=*/how == Leave::lost);
  for (const Asker& asker : std::exchange(handing_over_, {})) {
    if (how == Leave::handover) {
      answer(asker, json{{"ok", true}});
    } else {
      refuse(asker, {"refused", "this ballastd is leaving, and not to a successor", {}});
    }
  }
  // Whoever waits for something else sees the end, and asks the next one.
  server_.leave(/*remove=*/how == Leave::stop);
  waiting_.clear();
  status_.clear();
  reloading_.clear();
}

// ---- questions

void ControlDesk::status(const Asker& asker, const Request& request) {
  const Publisher& publisher = *hooks_.publisher();
  if (!request.service.empty()) {
    if (find_service(steward_.roster(), request.service) == nullptr) {
      refuse(asker, no_such_service(steward_.roster(), request.service));
    } else {
      status_.add(asker, request.service);
    }
    return;
  }
  json out{{"ok", true},
           {"version", hooks_.version},
           {"pid", ::getpid()},
           {"directory", hooks_.directory},
           {"io", hooks_.io},
           {"segment", publisher.segment_id()},
           {"term", publisher.term()},
           {"services", about_services(publisher)},
           {"changes_file", changes_.path()},
           {"changes_kept", changes_.trouble().empty()}};
  if (!changes_.trouble().empty()) out["changes_error"] = changes_.trouble();
  out["idle_changes"] = steward_.roster().idle_changes();
  answer(asker, std::move(out));
}

void ControlDesk::sources(const Asker& asker, const Request& request) {
  if (!request.service.empty() && find_service(steward_.roster(), request.service) == nullptr) {
    refuse(asker, no_such_service(steward_.roster(), request.service));
    return;
  }
  answer(asker, json{{"ok", true}, {"sources", about_sources(hooks_.sources(), request.service)}});
}

void ControlDesk::show_changes(const Asker& asker, const Request& request) {
  const Roster& roster = steward_.roster();
  RuntimeChanges shown = roster.changes();
  if (!request.service.empty()) {
    std::erase_if(shown.instances, [&](const auto& one) { return one.first != request.service; });
    std::erase_if(shown.strategies, [&](const auto& one) { return one.first != request.service; });
  }
  json out{{"ok", true},
           {"services", json::parse(changes_to_text(shown)).at("services")},
           {"idle", roster.idle_changes()},
           {"file", changes_.path()},
           {"kept", changes_.trouble().empty()}};
  answer(asker, std::move(out));
}

void ControlDesk::help(const Asker& asker) {
  json list = json::array();
  for (const VerbInfo& info : verbs()) {
    list.push_back({{"verb", info.name},
                    {"about", info.about},
                    {"needs", std::string(info.needs)},
                    {"accepts", std::string(info.accepts)},
                    {"changes", info.writes}});
  }
  answer(asker, json{{"ok", true}, {"verbs", std::move(list)}});
}

// ---- waiting

void ControlDesk::wait(const Asker& asker, const Request& request) {
  const Publisher& publisher = *hooks_.publisher();
  const auto record = record_of(publisher, request.service);
  if (!record) {
    refuse(asker, no_such_service(steward_.roster(), request.service));
    return;
  }
  const std::uint64_t now_epoch = epoch_of(publisher, request.service).value_or(0);
  const std::uint64_t epoch = request.epoch.value_or(now_epoch);
  if (epoch > now_epoch) {
    refuse(asker, {"bad_request",
                   "service " + request.service + " is at epoch " + std::to_string(now_epoch) +
                       ", and " + std::to_string(epoch) + " is not published",
                   {}});
    return;
  }
  WaitDesk::Wish wish{request.service, *record,          epoch,        {},
                      request.timeout, request.progress, request.state};
  if (!request.instances.empty()) {
    auto slots = draining_slots(publisher, *record, steward_.roster(), request);
    if (const auto* refusal = std::get_if<Refusal>(&slots)) {
      refuse(asker, *refusal);
      return;
    }
    wish.slots = std::get<std::vector<DrainingSlot>>(std::move(slots));
  }
  if (!waiting_.add(asker, std::move(wish)))
    refuse(asker, {"busy", "too many are waiting already; ask again", {}});
}

}  // namespace ballast::checker
