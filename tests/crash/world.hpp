// One namespace on which processes are killed, and the witness that lives through it: the test's
// own process, attached as a worker with picks in flight. After each death it looks at the table as
// the dead left it, picks from it, then takes over as the next checker and counts what is there.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/ballast.h"
#include "engine/checker/publishing/publisher.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::crash {

// The services of a world, with addresses of their own (127.<n + 1>.0.x), so that an instance of
// another service, or a former tenant, is known when it is seen. The first and the last are ketama,
// whose arrays change their size with every member, so that regions of the arena change hands.
inline constexpr int kServices = 4;
inline constexpr int kLimitedService = 3;  // takes tokens and keeps journals
[[nodiscard]] std::string name_of(int service);
[[nodiscard]] shm::Endpoint address_of(int service, int instance);

// Which instances each service has now, as bits, and how many rows there must be.
struct Membership {
  std::uint32_t members[kServices] = {1, 1, 1, 1};
  std::uint32_t max_workers = 8;
  bool guest = false;  // one more service, that comes and goes

  [[nodiscard]] checker::Settings settings() const;
};
inline constexpr int kInstances = 6;

[[nodiscard]] Membership random_membership(std::mt19937_64& random, std::uint32_t max_workers);

class World {
 public:
  World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  [[nodiscard]] const std::string& directory() const { return dir_.path(); }
  Membership& now() { return now_; }

  // The next checker: nothing of what the dead left may keep it from going on. Applies `now()`.
  [[nodiscard]] checker::Publisher take_over() const;

  // What must hold after a death before anybody repairs anything, as seen by the witness.
  void look();
  // The same, and then what must hold once the next checker has taken over. doctest's checks say
  // what does not.
  void inspect();
  // The witness has this many picks in flight from now on.
  void hold(std::size_t picks);
  // Attaches the witness, if it is not.
  void attach();
  // At the end of a world: nothing in flight, every slot in use or free again.
  void wind_up();

 private:
  struct Counts {
    std::uint64_t started = 0;
    std::uint64_t reported = 0;
    std::uint64_t abandoned = 0;
    std::vector<std::int64_t> in_flight;  // by slot
  };

  void check_published() const;
  static void check_members(const shm::TableWriter& table, const shm::ServiceRecord& record,
                            int service);
  void check_picks();
  void check_table(checker::Publisher& publisher) const;
  void check_counts(const checker::Publisher& publisher) const;
  void check_loads(checker::Publisher& publisher) const;
  void check_files(const checker::Publisher& publisher) const;
  [[nodiscard]] static Counts count(const checker::Publisher& publisher);

  tests::TempDir dir_;
  Membership now_;
  ballast_t* handle_ = nullptr;
  ballast_service_t services_[kServices] = {};
  std::vector<ballast_pick_t> held_;
  std::uint32_t next_key_ = 0;
};

// What a worker does in a child: attaches, picks and reports, keeps some, and leaves or not.
void work(const std::string& directory, unsigned requests, unsigned kept, bool leave);

}  // namespace ballast::crash
