// Serves `/metrics` and `/health` over HTTP from a thread of its own. That thread reads mapped
// memory and the mailbox and holds nothing that the checker's loop ever waits for; it runs at a
// lower priority, so that on a shared core the checks come first. A scraper that is slow, stuck or
// hostile costs its own connection: there are kMaxScrapers, each conversation has kScrapeTime
// to end, and where one more comes, the one that has been quiet longest is closed for it. What is
// sent is made in pieces as the scraper takes them. If the thread cannot go on, checking goes on
// without it.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/checker/metrics/loop_report.hpp"
#include "engine/checker/metrics/mailbox.hpp"
#include "shm/endpoint.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

inline constexpr std::size_t kMaxScrapers = 16;
inline constexpr std::size_t kMaxScrapeBytes = 8192;
// From the first byte of a request, or from the connection, to the last byte of the answer.
inline constexpr std::chrono::seconds kScrapeTime{10};
// Between two requests of a kept connection.
inline constexpr std::chrono::seconds kIdleScraper{120};

struct MetricsOptions {
  shm::Endpoint listen;
  std::string directory;
  std::size_t max_instances = 2000;
  std::string version;
  // For tests: instead of the limits above.
  std::chrono::milliseconds conversation = kScrapeTime;
  // Told what goes wrong and is not worth stopping for; called on the server's thread.
  std::function<void(const shm::Error&)> on_trouble;
};

class MetricsServer {
 public:
  // Listens at once; answers as soon as the thread runs. `mailbox` must outlive the server, whose
  // thread is the one that takes from it. Errors: the address is in use, or not this machine's.
  static shm::Result<std::unique_ptr<MetricsServer>> start(MetricsOptions options,
                                                           Mailbox<LoopReport>& mailbox);
  // Ends all conversations and the thread, for which it waits: as long as a reading takes.
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // The same without waiting: from now on another one can listen at its address. To be destroyed
  // once it has ended; until then the mailbox must live.
  void retire() noexcept;
  [[nodiscard]] bool ended() const noexcept;

  // Where it listens: of port 0, which one it got.
  [[nodiscard]] const shm::Endpoint& address() const noexcept;

 private:
  class Impl;
  explicit MetricsServer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast::checker
