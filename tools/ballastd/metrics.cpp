// Starting the server, posting to it, and trying again where it could not listen; see metrics.hpp.
#include "tools/ballastd/metrics.hpp"

#include <chrono>
#include <mutex>
#include <utility>

#include "shm/endpoint.hpp"
#include "tools/ballastd/log.hpp"

namespace ballast::tools {
namespace {

using checker::Level;

constexpr std::chrono::seconds kReportPeriod{1};
constexpr unsigned kReportsUntilRetry = 2;

bool is_loopback(const shm::Endpoint& endpoint) {
  if (endpoint.family == shm::Family::ipv4) return endpoint.address[0] == 127;
  shm::Endpoint own{shm::Family::ipv6, endpoint.port, {}};
  own.address[15] = 1;
  return endpoint == own;
}

}  // namespace

Metrics::Metrics(checker::Loop& loop, std::string directory, Fill fill)
    : loop_(loop),
      directory_(std::move(directory)),
      fill_(std::move(fill)),
      timer_(loop.every(kReportPeriod, [this] { post(); })) {}

Metrics::~Metrics() {
  loop_.timers().destroy(timer_);
}

void Metrics::follow(const checker::Settings& settings) {
  if (listen_ == settings.metrics_listen && max_instances_ == settings.metrics_max_instances)
    return;
  listen_ = settings.metrics_listen;
  max_instances_ = settings.metrics_max_instances;
  retire();
  trouble_.clear();
  start();
}

// Its thread may be in the middle of a reading, which is not waited for here.
void Metrics::retire() {
  if (!serving_.server) return;
  serving_.server->retire();
  retired_.push_back(std::exchange(serving_, {}));
}

void Metrics::stop() {
  listen_.clear();
  retire();
}

void Metrics::post() {
  std::erase_if(retired_, [](const Serving& one) { return one.server->ended(); });
  if (listen_.empty()) return;
  if (!serving_.server && ++waited_ >= kReportsUntilRetry) start();
  if (serving_.server) post_to(*serving_.mailbox);
}

void Metrics::post_to(checker::Mailbox<checker::LoopReport>& mailbox) {
  checker::LoopReport& draft = mailbox.draft();
  draft = {};
  draft.made = std::chrono::steady_clock::now();
  draft.in_charge = true;
  draft.backend = loop_.backend();
  draft.streams_open = loop_.open_streams();
  draft.streams_limit = loop_.max_streams();
  fill_(draft);
  mailbox.post();
}

void Metrics::start() {
  waited_ = 0;
  const auto where = shm::parse_endpoint(listen_);
  if (!where) return;
  checker::MetricsOptions options;
  options.listen = *where;
  options.directory = directory_;
  options.max_instances = max_instances_;
  options.version = BALLAST_VERSION;
  options.on_trouble = [](const shm::Error& error) {
    static std::once_flag told;
    std::call_once(told, [&] {
      log_event({Level::warning, "metrics_trouble", {{"because", error.to_text()}}});
    });
  };
  auto mailbox = std::make_unique<checker::Mailbox<checker::LoopReport>>();
  // Before anybody can ask: after a reload or a hand-over /health must not say for a moment that
  // nobody is in charge.
  post_to(*mailbox);
  auto started = checker::MetricsServer::start(std::move(options), *mailbox);
  if (started) {
    serving_ = {std::move(mailbox), std::move(*started)};
    trouble_.clear();
    // Not an error: whoever wants it has written it. But everybody who gets there reads it all.
    const bool is_open = !is_loopback(*where);
    log_event({is_open ? Level::warning : Level::info,
               "metrics",
               {{"listen", serving_.server->address().to_text()},
                {"readable_by", is_open ? "everybody who reaches that address" : "this host"}}});
    return;
  }
  const std::string why = started.error().to_text();
  if (why == trouble_) return;
  trouble_ = why;
  log_event({Level::error, "metrics_failed", {{"because", why}, {"next", "tries again"}}});
}

}  // namespace ballast::tools
