// Metrics as ballastd runs them: starts and stops the server as the settings say, posts the loop's
// report to it once a second, and tries again where it could not listen. Checking goes on whatever
// becomes of metrics. Runs on the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/checker/loop/loop.hpp"
#include "engine/checker/metrics/loop_report.hpp"
#include "engine/checker/metrics/mailbox.hpp"
#include "engine/checker/metrics/server.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::tools {

class Metrics {
 public:
  // Adds what only the owner knows to a report of the loop.
  using Fill = std::function<void(checker::LoopReport&)>;

  // `loop` must outlive this.
  Metrics(checker::Loop& loop, std::string directory, Fill fill);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // For who has just come into office, and after each change of the settings.
  void follow(const checker::Settings& settings);
  // Before leaving office, so that a successor can listen at the same address.
  void stop();

 private:
  void post();
  void start();

  checker::Loop& loop_;
  std::string directory_;
  Fill fill_;
  std::string listen_;  // empty: no metrics
  std::size_t max_instances_ = 0;
  std::string trouble_;  // why there is no server, said once
  unsigned waited_ = 0;  // reports since the last try to listen
  checker::Mailbox<checker::LoopReport> mailbox_;
  std::unique_ptr<checker::MetricsServer> server_;
  checker::Timers::Id timer_;
};

}  // namespace ballast::tools
