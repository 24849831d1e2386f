// Who belongs to which service, put together from everybody who has a say: the configuration, what
// sources discovered, and what operators changed at run time, in this order. The checker is given
// the result as Settings, whole, and finds out itself what changed. Pure: it does no I/O; the state
// file and the control socket are others' matters.
//
// An instance is known by its service and its endpoint. If several name the same one, the
// configuration's word counts before a source's, and the first source's before the next one's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/checker/settings.hpp"

namespace ballast::checker {

// What operators changed of one instance.
struct InstanceChange {
  bool added = false;    // by an operator: `instance` is all that is known of it
  bool removed = false;  // by an operator, whoever names it
  InstanceSettings instance;
  std::optional<shm::Admin> admin;
  std::optional<std::uint32_t> weight;

  friend bool operator==(const InstanceChange&, const InstanceChange&) = default;
};

// All that operators changed. By service, and there by the text of the instance's endpoint.
struct RuntimeChanges {
  std::map<std::string, std::map<std::string, InstanceChange>> instances;
  std::map<std::string, engine::Strategy> strategies;

  friend bool operator==(const RuntimeChanges&, const RuntimeChanges&) = default;
};

// Of "backend1.example:8080": what a name in DNS may be long, and a port. A longer text, or one
// that could not stand in a request's Host header, is replaced by the endpoint's.
inline constexpr std::size_t kMaxTextBytes = 253 + 6;
[[nodiscard]] bool is_fit_for_text(std::string_view text);

class Roster {
 public:
  // The configuration, at start and at every reload. Sets of sources that it no longer names are
  // forgotten, the others stay, also if their order changed; the set of a source whose settings
  // changed stays until it has an answer.
  void configure(Settings configured);
  // The last good set of a source of a service (its index in ServiceSettings::sources).
  void discover(const std::string& service, std::size_t source,
                std::vector<InstanceSettings> instances);
  // Until it has one: who belonged to the service before the start, as a table tells, which knows
  // neither who named each nor who drained it, and whose weights are operators' and agents' too. So
  // nobody counts as drained by that, nothing that an operator asks for is compared with it, and
  // what an operator added is the operator's alone.
  void inherit(const std::string& service, std::size_t source,
               std::vector<InstanceSettings> instances);
  void change(RuntimeChanges changes);

  // A set that waits to be tried; it replaces one that waits already.
  using Key = std::pair<std::string, std::size_t>;
  void offer(const std::string& service, std::size_t source,
             std::vector<InstanceSettings> instances);
  [[nodiscard]] std::vector<Key> offered() const;
  // Puts the offered set in the place of the one that counts, which is the offered one from then
  // on: to try it, and to go back.
  void swap_offered(const Key& key);
  void forget_offered(const Key& key);

  [[nodiscard]] const Settings& configured() const noexcept { return configured_; }
  [[nodiscard]] const RuntimeChanges& changes() const noexcept { return changes_; }

  // What the checker is to do. Sources' weights, tiers and texts are kept within their limits;
  // instances beyond kMaxInstances are an error of `Publisher::apply`, not of this.
  [[nodiscard]] Settings compose() const;

  // What the configuration or a source says of an instance, before operators' changes; null:
  // nothing.
  [[nodiscard]] const InstanceSettings* named(const std::string& service,
                                              const shm::Endpoint& endpoint) const;
  // Instances by their texts, whoever names them, removed ones too. Good until the next change.
  using Called = std::unordered_map<std::string_view, std::vector<shm::Endpoint>>;
  [[nodiscard]] Called endpoints_by_text(const std::string& service) const;
  // Whether only an inherited set says it, or that of another source in its place: an operator's
  // word must not be left out for saying the same.
  [[nodiscard]] bool is_provisional(const std::string& service,
                                    const shm::Endpoint& endpoint) const;

  // Changes that act on nobody at present, because nothing names the service or the instance any
  // more: "web" or "web 10.0.0.1:80". They stay, and act again when it comes back.
  [[nodiscard]] std::vector<std::string> idle_changes() const;

 private:
  struct Found {
    std::vector<InstanceSettings> set;
    bool provisional = false;  // not from this source
    std::optional<std::vector<InstanceSettings>> offered;
    bool offered_provisional = false;  // after a swap
  };

  void leave_added_to_operators();
  // Calls `visit` with every instance that the configuration or a source names, and whether that is
  // provisional, until it is true.
  template <class Visit>
  void visit_named(const std::string& service, Visit visit) const;

  Settings configured_;
  RuntimeChanges changes_;
  std::map<Key, Found> discovered_;
};

}  // namespace ballast::checker
