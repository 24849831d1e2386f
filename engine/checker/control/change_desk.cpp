// Editing, applying, keeping; see change_desk.hpp.
#include "engine/checker/control/change_desk.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <utility>
#include <variant>

#include "engine/checker/control/change_edit.hpp"
#include "engine/checker/control/desk_answers.hpp"

namespace ballast::checker {

using nlohmann::json;
using std::chrono::steady_clock;

namespace {

constexpr Milliseconds kKeepPause{1'000};  // before what could not be kept is tried again

std::string names_of(const Request& request) {
  std::string text;
  for (const std::string& instance : request.instances)
    text += (text.empty() ? "" : ",") + instance;
  return text;
}

}  // namespace

struct ChangeDesk::Unkept {
  Asker asker;
  std::uint64_t number = 0;
  json answer;  // but for whether it is kept
};

ChangeDesk::ChangeDesk(Loop& loop, Steward& steward, Hooks hooks)
    : loop_(loop),
      steward_(steward),
      hooks_(std::move(hooks)),
      keep_timer_(loop.timers().create([this] {
        if (!keep_error_.empty()) keeper_.keep(steward_.roster().changes());
      })),
      keeper_(loop,
              [this](std::uint64_t upto, const shm::Status& status) { on_kept(upto, status); }) {}

ChangeDesk::~ChangeDesk() {
  loop_.timers().destroy(keep_timer_);
}

void ChangeDesk::forget(ClientId client) {
  std::erase_if(unkept_, [&](const auto& one) { return one->asker.client == client; });
}

void ChangeDesk::leave(bool lost) {
  if (!lost) keeper_.finish();
  // The directory may be another's by now, and so its file.
  for (const auto& one : std::exchange(unkept_, {})) {
    one->answer["kept"] = false;
    one->answer["warning"] = "it will not outlive this ballastd, which has lost its directory";
    hooks_.answer(one->asker, std::move(one->answer));
  }
}

shm::Status ChangeDesk::begin_with(const std::string& path) {
  keeper_.set_path(path);
  auto read = read_changes_file(path);
  if (!read) {
    blocked_ = read.error().to_text();
    return read.error();
  }
  blocked_.clear();
  steward_.begin_with(std::move(*read));
  return shm::Done{};
}

shm::Status ChangeDesk::may_keep_in(const std::string& path) const {
  if (path == keeper_.path() || ::access(path.c_str(), F_OK) != 0) return shm::Done{};
  const auto there = read_changes_file(path);
  if (!there) return there.error();
  if (*there == steward_.roster().changes()) return shm::Done{};
  return shm::Error{shm::ErrorKind::invalid, 0, "keep operators' changes in", path,
                    "there are other ones in it, which would be lost; move it away first"};
}

void ChangeDesk::keep_in(const std::string& path) {
  keeper_.set_path(path);
  keeper_.keep(steward_.roster().changes());
}

void ChangeDesk::change(const Asker& asker, const Peer& peer, const Request& request) {
  if (!blocked_.empty()) {
    hooks_.refuse(asker, {"refused", "no changes are taken: " + blocked_, {}});
    return;
  }
  const Roster& roster = steward_.roster();
  auto edited = edit_changes(roster, request);
  if (const auto* refusal = std::get_if<Refusal>(&edited)) {
    hooks_.refuse(asker, *refusal);
    return;
  }
  auto& wanted = std::get<RuntimeChanges>(edited);
  const bool changed = wanted != roster.changes();
  if (changed) {
    if (const shm::Status applied = steward_.change(std::move(wanted)); !applied) {
      hooks_.refuse(asker, {"refused", applied.error().to_text(), {}});
      return;
    }
  }
  const Publisher& publisher = *hooks_.publisher();
  const std::uint64_t epoch = epoch_of(publisher, request.service).value_or(0);
  json answer = about_change(request, publisher, epoch, changed);
  if (changed) tell(peer, request, epoch);
  // What could not be kept the last time is tried again, whatever is asked for.
  if (!changed && keep_error_.empty() && unkept_.empty()) {
    answer["kept"] = true;
    hooks_.answer(asker, std::move(answer));
    return;
  }
  const std::uint64_t number = keeper_.keep(roster.changes());
  unkept_.push_back(std::make_unique<Unkept>(Unkept{asker, number, std::move(answer)}));
}

void ChangeDesk::on_kept(std::uint64_t upto, const shm::Status& status) {
  const std::string error = status ? std::string() : status.error().to_text();
  if (!status && error != keep_error_ && hooks_.on_event)
    hooks_.on_event({Level::error, "changes_not_kept", {{"because", error}}});
  if (status && !keep_error_.empty() && hooks_.on_event)
    hooks_.on_event({Level::info, "changes_kept", {{"file", keeper_.path()}}});
  keep_error_ = error;
  if (!status) loop_.timers().arm(keep_timer_, steady_clock::now() + kKeepPause);
  std::vector<std::unique_ptr<Unkept>> done;
  while (!unkept_.empty() && unkept_.front()->number <= upto) {
    done.push_back(std::move(unkept_.front()));
    unkept_.erase(unkept_.begin());
  }
  for (const auto& one : done) {
    one->answer["kept"] = error.empty();
    if (!error.empty())
      one->answer["warning"] = "it holds, but will not outlive this ballastd: " + error;
    hooks_.answer(one->asker, std::move(one->answer));
  }
}

void ChangeDesk::tell(const Peer& peer, const Request& request, std::uint64_t epoch) const {
  if (!hooks_.on_event) return;
  Event event{Level::info,
              "operator_change",
              {{"verb", info_of(request.verb).name}, {"service", request.service}}};
  if (!request.instances.empty()) event.fields.emplace_back("instance", names_of(request));
  if (request.weight) event.fields.emplace_back("weight", std::to_string(*request.weight));
  if (request.strategy) event.fields.emplace_back("strategy", engine::to_text(*request.strategy));
  if (request.duration)
    event.fields.emplace_back("for_ms", std::to_string(request.duration->count()));
  event.fields.emplace_back("uid", std::to_string(peer.uid));
  event.fields.emplace_back("pid", std::to_string(peer.pid));
  event.fields.emplace_back("epoch", std::to_string(epoch));
  hooks_.on_event(event);
}

void ChangeDesk::eject(const Asker& asker, const Peer& peer, const Request& request) {
  const Roster& roster = steward_.roster();
  if (find_service(roster, request.service) == nullptr) {
    hooks_.refuse(asker, no_such_service(roster, request.service));
    return;
  }
  const auto found = find_instances(roster, request);
  if (const auto* refusal = std::get_if<Refusal>(&found)) {
    hooks_.refuse(asker, *refusal);
    return;
  }
  for (const shm::Endpoint& endpoint : std::get<std::vector<shm::Endpoint>>(found)) {
    const shm::Status ejected = hooks_.eject(request.service, endpoint, *request.duration);
    if (!ejected) {
      const bool missing = ejected.error().kind == shm::ErrorKind::not_found;
      hooks_.refuse(asker, {missing ? "not_found" : "refused", ejected.error().to_text(), {}});
      return;
    }
  }
  const Publisher& publisher = *hooks_.publisher();
  const std::uint64_t epoch = epoch_of(publisher, request.service).value_or(0);
  tell(peer, request, epoch);
  hooks_.answer(asker, about_change(request, publisher, epoch, true));
}

}  // namespace ballast::checker
