// Pieces of an answer; see status_desk.hpp.
#include "engine/checker/control/status_desk.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/checker/control/desk_answers.hpp"

namespace ballast::checker {

using nlohmann::json;
using std::chrono::steady_clock;

namespace {

constexpr unsigned kMaxBegins = 5;
constexpr Milliseconds kPause{1};   // between two turns, at least
constexpr std::size_t kPiece = 32;  // instances, between two looks at the clock

}  // namespace

StatusDesk::StatusDesk(Loop& loop, Hooks hooks, Milliseconds look_time)
    : loop_(loop),
      hooks_(std::move(hooks)),
      look_time_(look_time),
      timer_(loop.timers().create([this] { turn(); })) {}

StatusDesk::~StatusDesk() {
  loop_.timers().destroy(timer_);
}

void StatusDesk::add(const Asker& asker, const std::string& service) {
  for (Job& job : jobs_) {
    if (job.service != service || job.begun != 0) continue;
    job.askers.push_back(asker);
    return;
  }
  Job job;
  job.service = service;
  job.askers.push_back(asker);
  jobs_.push_back(std::move(job));
  if (jobs_.size() == 1) loop_.timers().arm(timer_, steady_clock::now());
}

void StatusDesk::forget(ClientId client) {
  for (Job& job : jobs_)
    std::erase_if(job.askers, [&](const Asker& one) { return one.client == client; });
}

void StatusDesk::turn() {
  if (jobs_.empty()) return;
  const auto from = steady_clock::now();
  if (step(jobs_.front(), from + look_time_)) {
    // Answering may bring on_gone(), and so forget(): the job is out of the list by then.
    jobs_.pop_front();
  }
  if (jobs_.empty()) return;
  const auto now = steady_clock::now();
  loop_.timers().arm(
      timer_, now + std::max<steady_clock::duration>(kPause, kRequestPauseFactor * (now - from)));
}

void StatusDesk::begin(const Publisher& publisher, Job& job) {
  ++job.begun;
  job.changes = hooks_.changes();
  job.members.clear();
  job.list.clear();
  job.written = 0;
  job.summed = false;
  const Settings& settings = publisher.settings();
  std::vector<DrainingSlot> slots;
  const auto& instances = publisher.instances();
  for (std::size_t i = 0; i < instances.size(); ++i) {
    if (settings.services[instances[i].service].name != job.service) continue;
    job.members.push_back(i);
    slots.push_back({instances[i].slot, instances[i].incarnation});
  }
  job.sum = FlightSum(std::move(slots));
}

bool StatusDesk::step(Job& job, steady_clock::time_point until) {
  const auto refuse = [&](const Refusal& refusal) {
    for (const Asker& asker : std::vector(job.askers))
      hooks_.refuse(asker, refusal);
    return true;
  };
  const Publisher* const publisher = hooks_.publisher();
  if (publisher == nullptr)
    return refuse({"busy", "this ballastd is not in charge; ask again", {}});
  if (job.askers.empty()) return true;
  if (job.begun == 0 || job.changes != hooks_.changes()) {
    if (job.begun == kMaxBegins)
      return refuse({"busy", "service " + job.service + " changes all the time; ask again", {}});
    begin(*publisher, job);
  }
  const auto service = about_service(*publisher, job.service);
  if (service.is_null())
    return refuse({"not_found", "there is no service " + job.service + " any more", {}});
  if (!job.summed) {
    job.summed = job.sum.step(*publisher, until);
    if (!job.summed) return false;
  }
  for (std::size_t piece = 0; job.written < job.members.size(); ++job.written) {
    if (++piece > kPiece) {
      piece = 0;
      if (steady_clock::now() >= until) return false;
    }
    if (job.written != 0) job.list += ',';
    const PublishedInstance& member = publisher->instances()[job.members[job.written]];
    job.list += to_line(about_member(*publisher, member, job.sum.counts()[job.written]));
  }
  for (const Asker& asker : std::vector(job.askers)) {
    json head = service;
    finish_answer(head, asker.id, asker.verb);
    std::string line = to_line(head);
    line.pop_back();
    hooks_.answer(asker, line + R"(,"instances":[)" + job.list + "]}");
  }
  return true;
}

}  // namespace ballast::checker
