// Metrics as ballastd runs them: starts and stops the server as the settings say, posts the loop's
// report to it once a second, and tries again where it could not listen. Checking goes on whatever
// becomes of metrics, and no check waits for the server's thread: one that is to go ends by itself,
// and is collected later. Runs on the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

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
  // A server and what is posted to it, which its thread alone takes from.
  struct Serving {
    std::unique_ptr<checker::Mailbox<checker::LoopReport>> mailbox;
    std::unique_ptr<checker::MetricsServer> server;  // first to go
  };

  void post();
  void post_to(checker::Mailbox<checker::LoopReport>& mailbox);
  void start();
  void retire();

  checker::Loop& loop_;
  std::string directory_;
  Fill fill_;
  std::string listen_;  // empty: no metrics
  std::size_t max_instances_ = 0;
  std::string trouble_;  // why there is no server, said once
  unsigned waited_ = 0;  // reports since the last try to listen
  Serving serving_;
  std::vector<Serving> retired_;  // whose threads have not ended yet
  checker::Timers::Id timer_;
};

}  // namespace ballast::tools
