// What the checker makes of health and of what workers went through: which instances are in use,
// for what part of their weight, and how each service's traffic is divided among its groups. Keeps
// a memory of every instance (ejections, slow starts, weights), turns it into the state words, the
// shares and the panic word of the table, and leaves in the table what a successor needs to go on:
// if the checker dies, an ejection or a ramp runs on under the next one as if nothing had been.
//
// Owned and called by the one Publisher; times are passed in, in milliseconds of CLOCK_MONOTONIC.
// docs/protection.md and docs/adaptive.md explain the rules to people.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/agent_word.hpp"
#include "engine/checker/publishing/notice.hpp"
#include "engine/checker/publishing/published_instance.hpp"
#include "engine/checker/settings.hpp"
#include "engine/checker/steering/group_shares.hpp"
#include "engine/checker/steering/outlier.hpp"
#include "engine/checker/steering/slow_start.hpp"
#include "engine/checker/steering/weight_controller.hpp"
#include "shm/segment.hpp"
#include "shm/state_word.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

// Counter records that one tick may add up, some milliseconds; a larger host's services have their
// turns in later ticks, so its intervals stretch instead of the ticks.
inline constexpr std::uint64_t kRecordsPerTick = std::uint64_t{1} << 15;

class Steering {
 public:
  explicit Steering(std::uint64_t seed) : random_(seed) {}

  // After `settings` were applied: keeps the memory of the instances that stay, takes up what the
  // table says of those it does not know, and brings the table up to date with both.
  void follow(const shm::CheckerSegment& segment, const Settings& settings,
              std::span<const PublishedInstance> instances, std::uint64_t now_ms);

  // False if the table said so already, or the slot is not one that it follows.
  bool set_health(const shm::CheckerSegment& segment, std::uint16_t slot, shm::Health health,
                  shm::Reason reason, std::uint64_t now_ms);

  // What the instance's agent said: it holds, with what it said before of other things, until it
  // says otherwise. False if nothing is new, or the slot is not one that it follows.
  bool set_agent(const shm::CheckerSegment& segment, std::uint16_t slot,
                 const engine::AgentReport& report, std::uint64_t now_ms);
  // All that it said so far.
  [[nodiscard]] engine::AgentReport agent(std::uint16_t slot) const;

  // An operator's ejection, for so long from now, or until then if it is out already; 0 takes it
  // back. It holds a place of the budget like any other.
  enum class Ejected : std::uint8_t { done, unknown_slot, budget_used_up };
  Ejected eject(const shm::CheckerSegment& segment, std::uint16_t slot, std::uint64_t for_ms,
                std::uint64_t now_ms);

  // A check of the instance finished.
  void on_check(std::uint16_t slot, bool passed);

  // To be called about ten times a second.
  void tick(const shm::CheckerSegment& segment, std::uint64_t now_ms);

  // What happened since it was last asked.
  [[nodiscard]] std::vector<Notice> take_notices() { return std::exchange(notices_, {}); }

  // Which slots came (back) into use since it was last asked: what was known of their load is of
  // no use any more.
  [[nodiscard]] std::vector<std::uint16_t> take_arrivals() { return std::exchange(arrivals_, {}); }

 private:
  // Totals now, and at the last judgement.
  struct Counted {
    shm::Totals now;
    shm::Totals judged;
  };

  struct Instance {
    std::uint16_t slot = 0;
    std::uint32_t incarnation = 0;
    std::size_t record = 0;    // of its service in the table
    std::size_t service = 0;   // index into services_
    std::size_t instance = 0;  // index into the settings of the service
    std::uint32_t weight = 1;
    std::uint8_t group = 0;
    // By the checks, by the settings, and what its agent says to both; `standing` puts them
    // together.
    shm::Health health = shm::Health::unknown;
    shm::Admin admin = shm::Admin::ready;
    shm::Reason reason = shm::Reason::none;
    engine::AgentReport agent;
    bool breaker_out = false;
    bool in_use = false;
    bool has_judged = false;
    bool has_weighed = false;
    bool fresh = false;       // its first verdict makes it a newcomer among others
    bool since_ever = false;  // in use since before this checker
    // What the table counts it for at present, further down too.
    bool counted = false;
    bool counted_ready = false;
    bool counted_unchecked = false;
    std::uint64_t in_use_since_ms = 0;
    Ejection ejection;
    Ramp ramp;
    Controlled controlled;
    std::unique_ptr<Counted> counts;       // null: nothing was ever counted for it
    std::unique_ptr<shm::Totals> weighed;  // at the last update of weights; null: nothing, or none
    std::uint64_t reports = 0;
    std::uint64_t reported_ms = 0;
    std::uint64_t counted_for = 0;     // configured weight
    std::uint64_t counted_weight = 0;  // effective, if it is in use

    [[nodiscard]] const Counted& counted_totals() const noexcept;
    [[nodiscard]] const shm::Totals& weighed_totals() const noexcept;
    void remember_weighed();
    void count(const shm::Totals& totals);
  };

  struct Service {
    std::string name;
    std::size_t record = 0;
    bool trusted = false;  // instances that nobody has checked are used
    std::uint32_t rise = 1;
    OutlierSettings outlier;
    SlowStartSettings slow_start;
    ControllerSettings controller;
    GroupPolicy group_policy;
    std::uint32_t max_ejected_percent = 0;
    std::uint32_t failure_outcomes = 0;
    std::vector<std::uint16_t> slots;   // in the order of the settings
    std::vector<GroupMembers> members;  // by group
    GroupShares shares;
    std::uint64_t weight_sum = 0;
    std::array<std::uint64_t, kMaxGroups> group_weights{};  // sum to it
    bool any_breaker = false;
    std::uint64_t next_judge_ms = 0;
    std::uint64_t next_weigh_ms = 0;
    std::uint64_t weighed_ms = 0;
    std::size_t looked = 0;  // how many of `slots` this look has added up
  };

  // What holds of an instance for all who pick.
  struct Standing {
    shm::Health health;
    shm::Reason reason;
    shm::Admin admin;
  };

  using Segment = shm::CheckerSegment;

  [[nodiscard]] static Standing standing(const Instance& instance);

  void adopt(const Segment& segment, Instance& instance, const Service& service,
             std::uint64_t now_ms) const;
  void forget(const Segment& segment, const Instance& instance);
  void settle(const Segment& segment, Instance& instance, Arrival arrival, std::uint64_t now_ms);
  void put_state(const Segment& segment, Instance& instance, std::uint64_t now_ms);
  void put_details(const Segment& segment, const Instance& instance, std::uint64_t now_ms) const;
  void divide(const Segment& segment, std::size_t service);

  void look_at_breakers(const Segment& segment, std::size_t service, std::uint64_t now_ms);
  void attend(const Segment& segment, std::uint64_t now_ms);
  void look_at_totals(const Segment& segment, std::uint64_t now_ms);
  void judge(const Segment& segment, std::size_t service, std::uint64_t now_ms);
  void weigh(const Segment& segment, std::size_t service, std::uint64_t now_ms);
  void take_back(const Segment& segment, Instance& instance, TakenBack because,
                 std::uint64_t now_ms);
  void take_back_excess(const Segment& segment, const Service& service, std::uint64_t now_ms);

  std::mt19937_64 random_;
  std::vector<Service> services_;
  std::unordered_map<std::uint16_t, Instance> instances_;  // by slot
  std::set<std::uint16_t> attended_;  // those whose ejection or ramp has to be looked at
  std::size_t turn_ = 0;              // whose totals are added up next
  std::vector<Notice> notices_;
  std::vector<std::uint16_t> arrivals_;
};

}  // namespace ballast::checker
