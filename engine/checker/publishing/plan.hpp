// What must change so that a table says what the settings say: worked out from the table's own
// words before anything is written, so that a table too small is found out while it is still
// untouched.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/checker/publishing/kept_tables.hpp"
#include "engine/checker/publishing/sticky_keys.hpp"
#include "engine/checker/settings.hpp"
#include "engine/generation_writer.hpp"
#include "shm/result.hpp"
#include "shm/state_word.hpp"
#include "shm/views.hpp"

namespace ballast::checker {

struct InstancePlan {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
  bool is_new = false;  // else it stays, or comes back while its slot still cools
  bool returns = false;
};

struct ServicePlan {
  std::size_t record = 0;
  std::uint32_t incarnation = 0;
  bool is_new = false;
  bool publish = false;     // anything that workers are told with a generation changed
  bool copies = false;      // ...but nothing that the lookup arrays depend on: the same once more
  bool new_region = false;  // the arena region is to become the one below
  std::uint64_t arena_offset = 0;
  std::uint64_t half_bytes = 0;
  std::uint64_t settings_hash = 0;
  std::vector<engine::Placement> groups;  // only when it is to be published, and not copied
  std::vector<InstancePlan> instances;    // in the order of the settings
};

struct Plan {
  std::vector<ServicePlan> services;  // in the order of the settings
};

// `full` says what the table has too little of.
[[nodiscard]] shm::Result<Plan> make_plan(const shm::TableWriter& table, const Settings& settings,
                                          KeptTables& kept);

// Carries the plan out: everything new is complete before a root or an identity names it, and what
// is left over (slots and services that the settings no longer name) is retired last. May be killed
// at any point and made again.
void carry_out(const Plan& plan, const Settings& settings, const StickySecrets& sticky,
               const shm::TableWriter& table, const shm::WorkersWriter& workers);

}  // namespace ballast::checker
