// What the simulation asks of whoever chooses: production code or a model of a peer. All workers of
// the simulated host are behind one object, which decides what they share. Time is simulated time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ballast::bench::sim {

enum class Outcome : std::uint8_t { success, error, timeout };

struct Ticket {  // what a pick gave, handed back with its report
  std::uint32_t backend = 0;
  std::uint64_t mark = 0;  // the chooser's own
};

inline constexpr std::uint32_t kNoBackend = UINT32_MAX;

class Chooser {
 public:
  Chooser() = default;
  Chooser(const Chooser&) = delete;
  Chooser& operator=(const Chooser&) = delete;
  virtual ~Chooser() = default;

  // kNoBackend: none may be picked; the request fails.
  virtual Ticket pick(std::uint64_t now_ns, std::uint32_t worker, std::uint64_t key_hash) = 0;
  virtual void report(std::uint64_t now_ns, std::uint32_t worker, const Ticket& ticket,
                      Outcome outcome, std::uint64_t latency_ns) = 0;
  virtual void set_usable(std::uint64_t now_ns, std::uint32_t backend, bool usable) = 0;
  // Called at the moments it asks for; 0: never. Returns when next.
  virtual std::uint64_t tick(std::uint64_t) { return 0; }
};

}  // namespace ballast::bench::sim
