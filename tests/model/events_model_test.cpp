// A ring of the flight recorder (shm/events.hpp), explored by Relacy: writers, each of which may be
// killed at any store, a checker that makes free what the dead had claimed, and a reader. Whatever
// the reader calls whole is what was written under that ticket, all of it and nothing else; and
// once the dead are reaped every place can be written again. Every sabotaged variant must be
// caught. Guards docs/memory-model.md#events.
#include <doctest/doctest.h>

#include <array>

#include "shm/events.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  commits_relaxed,
  commits_loaded_relaxed,
  fields_relaxed,
  fields_loaded_relaxed,
  commit_looked_at_once,
  claimed_by_storing,
  claims_not_heeded,
  not_claimed,
  freed_while_alive,
  row_taken_late,
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "events";
    case Sabotage::commits_relaxed:
      return "events, commits stored relaxed";
    case Sabotage::commits_loaded_relaxed:
      return "events, commits loaded relaxed";
    case Sabotage::fields_relaxed:
      return "events, fields stored relaxed";
    case Sabotage::fields_loaded_relaxed:
      return "events, fields loaded relaxed";
    case Sabotage::commit_looked_at_once:
      return "events, the commit looked at once";
    case Sabotage::claimed_by_storing:
      return "events, claimed by a load and a store";
    case Sabotage::claims_not_heeded:
      return "events, others' claims not heeded";
    case Sabotage::not_claimed:
      return "events, written without a claim";
    case Sabotage::freed_while_alive:
      return "events, freed while the writer lives";
    case Sabotage::row_taken_late:
      return "events, the row taken after the claim";
  }
  return "?";
}

constexpr std::size_t kPlaces = 2;
constexpr std::size_t kTickets = 64;

// What really was written, kept beside the model.
struct Audit {
  std::array<std::uint64_t, kTickets> committed{};           // by ticket: the record's number
  std::array<std::uint64_t, Mortality::kThreads> filling{};  // by thread
};
inline Audit audit;

constexpr Orders commit_orders(Sabotage sabotage) noexcept {
  if (sabotage == Sabotage::commits_relaxed) return Orders::relaxed_stores;
  return sabotage == Sabotage::commits_loaded_relaxed ? Orders::relaxed_loads : Orders::as_written;
}
constexpr Orders field_orders(Sabotage sabotage) noexcept {
  if (sabotage == Sabotage::fields_relaxed) return Orders::relaxed_stores;
  return sabotage == Sabotage::fields_loaded_relaxed ? Orders::relaxed_loads : Orders::as_written;
}

template <Sabotage kSabotage>
class CommitWord : public Word<commit_orders(kSabotage)> {
 public:
  using Base = Word<commit_orders(kSabotage)>;

  std::uint64_t load(std::memory_order order) const { return Base::load(order); }
  void store(std::uint64_t value, std::memory_order order) {
    if (!mortality.dead() && value != 0 && !shm::is_event_claim(value)) {
      audit.committed.at(value / 2 - 1) = audit.filling[rl::thread_index()];
    }
    Base::store(value, order);
  }
  bool compare_exchange_strong(std::uint64_t& expected, std::uint64_t desired,
                               std::memory_order success, std::memory_order failure) {
    if constexpr (kSabotage == Sabotage::claimed_by_storing) {
      const std::uint64_t now = Base::load(std::memory_order_acquire);
      if (now != expected) return false;
      Base::store(desired, std::memory_order_release);
      return true;
    } else {
      return Base::compare_exchange_strong(expected, desired, success, failure);
    }
  }
};

template <Sabotage kSabotage>
struct Record {
  CommitWord<kSabotage> commit;
  Word<field_orders(kSabotage)> fields[2];
};

struct Seen {
  std::uint64_t whole = 0;
  std::uint64_t gone = 0;
  std::uint64_t pending = 0;
  std::uint64_t killed = 0;
  std::uint64_t freed = 0;
  std::uint64_t refused = 0;
};

template <Sabotage kSabotage, unsigned kWriters, unsigned kEvents, unsigned kLooks, bool kDeath>
struct EventsModel : rl::test_suite<EventsModel<kSabotage, kWriters, kEvents, kLooks, kDeath>,
                                    kWriters + (kDeath ? 2 : 1)> {
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  Word<> next;
  Record<kSabotage> records[kPlaces];
  Word<> claims[kWriters];  // of the rows, as in the directory: live or not
  KernelLock locks[kWriters];

  void before() {
    mortality.reset();
    audit = {};
    next.preset(0);
    for (auto& record : records) {
      record.commit.preset(0);
      for (auto& field : record.fields)
        field.preset(0);
    }
    for (auto& claim : claims)
      claim.preset(kFree);
  }

  void thread(unsigned index) {
    if (index < kWriters) {
      work(index);
    } else if (index == kWriters) {
      for (unsigned i = 0; i < kLooks; ++i)
        look();
    } else {
      for (unsigned i = 0; i < 2; ++i)
        clean_up();
    }
  }

  // The dead are reaped, and every place can be written and read again.
  void after() {
    mortality.reset();
    clean_up();
    for (auto& record : records)
      RL_ASSERT(!shm::is_event_claim(record.commit.load(std::memory_order_acquire)));
    for (std::uint64_t i = 0; i < kPlaces; ++i)
      RL_ASSERT(write(7, 1000 + i));
    const std::uint64_t head = next.load(std::memory_order_relaxed);
    for (std::uint64_t ticket = head - kPlaces; ticket < head; ++ticket)
      RL_ASSERT(read(ticket) == shm::EventRead::whole);
  }

 private:
  static constexpr std::uint64_t kFree = 0;
  static constexpr std::uint64_t kLive = 1;

  void work(unsigned index) {
    locks[index].lock();
    if constexpr (kDeath) mortality.may_die_within(4 * kEvents + 1);
    if constexpr (kSabotage != Sabotage::row_taken_late) take_row(index);
    for (unsigned i = 0; i < kEvents && !mortality.dead(); ++i) {
      if (!write(static_cast<std::uint16_t>(index), 10 * (index + 1) + i)) ++seen.refused;
    }
    if (mortality.dead()) {
      ++seen.killed;
    } else {
      claims[index].store(kFree, std::memory_order_release);
    }
    locks[index].unlock();
  }

  void take_row(unsigned index) { claims[index].store(kLive, std::memory_order_release); }

  bool write(std::uint16_t row, std::uint64_t number) {
    audit.filling[rl::thread_index()] = number;
    const auto fill = [&](Record<kSabotage>& record) {
      if (kSabotage == Sabotage::row_taken_late && row < kWriters) take_row(row);
      for (auto& field : record.fields)
        shm::put_event_word(field, number);
    };
    if constexpr (kSabotage == Sabotage::claims_not_heeded || kSabotage == Sabotage::not_claimed) {
      const std::uint64_t ticket = next.fetch_add(1, std::memory_order_relaxed);
      auto& record = records[ticket % kPlaces];
      if constexpr (kSabotage == Sabotage::claims_not_heeded) {
        std::uint64_t was = record.commit.load(std::memory_order_relaxed);
        if (!shm::is_event_claim(was) && was >= shm::event_commit(ticket)) return false;
        if (!record.commit.compare_exchange_strong(was, shm::event_claim({row, 1}),
                                                   std::memory_order_acq_rel,
                                                   std::memory_order_relaxed)) {
          return false;
        }
      }
      fill(record);
      record.commit.store(shm::event_commit(ticket), std::memory_order_release);
      return true;
    } else {
      return shm::write_event(next, records, {row, 1}, fill);
    }
  }

  shm::EventRead read(std::uint64_t ticket) {
    std::array<std::uint64_t, 2> copy{};
    const auto take = [&](const Record<kSabotage>& record) {
      for (std::size_t i = 0; i < copy.size(); ++i)
        copy[i] = shm::get_event_word(record.fields[i]);
    };
    auto found = shm::EventRead::pending;
    if constexpr (kSabotage == Sabotage::commit_looked_at_once) {
      const auto& record = records[ticket % kPlaces];
      if (record.commit.load(std::memory_order_acquire) == shm::event_commit(ticket)) {
        take(record);
        found = shm::EventRead::whole;
      }
    } else {
      found = shm::read_event(records, ticket, take);
    }
    if (found == shm::EventRead::whole) {
      for (const std::uint64_t value : copy)
        RL_ASSERT(value == audit.committed.at(ticket));
    }
    return found;
  }

  void look() {
    const std::uint64_t head = next.load(std::memory_order_relaxed);
    for (std::uint64_t ticket = head < kPlaces ? 0 : head - kPlaces; ticket < head; ++ticket) {
      switch (read(ticket)) {
        case shm::EventRead::whole:
          ++seen.whole;
          break;
        case shm::EventRead::pending:
          ++seen.pending;
          break;
        case shm::EventRead::gone:
          ++seen.gone;
          break;
      }
    }
  }

  void clean_up() {
    for (unsigned row = 0; row < kWriters; ++row) {
      if (!locks[row].try_lock()) continue;
      if (claims[row].load(std::memory_order_relaxed) == kLive)
        claims[row].store(kFree, std::memory_order_release);
      locks[row].unlock();
    }
    seen.freed += shm::free_claims(records, [&](shm::EventWriter writer) {
      if (kSabotage == Sabotage::freed_while_alive || writer.row >= kWriters) return true;
      return claims[writer.row].load(std::memory_order_acquire) != kLive;
    });
  }
};

template <Sabotage kSabotage>
using Living = EventsModel<kSabotage, 2, 3, 4, false>;
template <Sabotage kSabotage>
using Dying = EventsModel<kSabotage, 3, 2, 3, true>;
// Every schedule of one who goes round the ring and a reader.
template <Sabotage kSabotage>
using Small = EventsModel<kSabotage, 1, 3, 1, false>;

constexpr std::uint64_t kIterations = 200'000;

}  // namespace

TEST_CASE("what a reader calls whole is what was written") {
  using Model = Living<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen.whole > kIterations / 10);
  CHECK(Model::seen.pending > kIterations / 10);
  CHECK(Model::seen.gone > kIterations / 100);
  must_hold<Small<Sabotage::none>>(0);
}

TEST_CASE("whoever dies and whenever, nothing is torn and every place comes back") {
  using Model = Dying<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen.killed > kIterations / 10);
  CHECK(Model::seen.freed > kIterations / 10);
  CHECK(Model::seen.whole > kIterations / 20);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Living<Sabotage::commits_relaxed>>(kIterations);
  must_be_caught<Living<Sabotage::commits_loaded_relaxed>>(kIterations);
  must_be_caught<Living<Sabotage::fields_relaxed>>(kIterations);
  must_be_caught<Living<Sabotage::fields_loaded_relaxed>>(kIterations);
  must_be_caught<Living<Sabotage::commit_looked_at_once>>(kIterations);
  must_be_caught<Living<Sabotage::claimed_by_storing>>(kIterations);
  must_be_caught<Living<Sabotage::claims_not_heeded>>(kIterations);
  must_be_caught<Living<Sabotage::not_claimed>>(kIterations);
  must_be_caught<Dying<Sabotage::freed_while_alive>>(kIterations);
  must_be_caught<Dying<Sabotage::row_taken_late>>(kIterations);
}

}  // namespace ballast::model
