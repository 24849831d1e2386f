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
  claimed_relaxed,
  freed_relaxed,
  incarnation_ignored,
  claimed_as_before,
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
    case Sabotage::claimed_relaxed:
      return "events, claimed relaxed";
    case Sabotage::freed_relaxed:
      return "events, freed relaxed";
    case Sabotage::incarnation_ignored:
      return "events, a row's next owner taken for the one that died";
    case Sabotage::claimed_as_before:
      return "events, claimed in the name of the row's owner before";
  }
  return "?";
}

constexpr std::size_t kPlaces = 2;
constexpr std::size_t kTickets = 64;

// What really was written, kept beside the model.
struct Audit {
  std::array<std::uint64_t, kTickets> committed{};           // by ticket: the record's number
  std::array<std::uint64_t, Mortality::kThreads> filling{};  // by thread
  std::array<std::array<std::uint64_t, 2>, kPlaces> last{};  // stored in each field
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
      const bool weak = (kSabotage == Sabotage::claimed_relaxed && desired != 0) ||
                        (kSabotage == Sabotage::freed_relaxed && desired == 0);
      return Base::compare_exchange_strong(expected, desired,
                                           weak ? std::memory_order_relaxed : success, failure);
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

// `kOneRow`: the writers are owners of the same row, one after the other.
template <Sabotage kSabotage, unsigned kWriters, unsigned kEvents, unsigned kLooks, bool kDeath,
          bool kOneRow = false>
struct EventsModel
    : rl::test_suite<EventsModel<kSabotage, kWriters, kEvents, kLooks, kDeath, kOneRow>,
                     kWriters + (kDeath ? 2 : 1)> {
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  Word<> next;
  Record<kSabotage> records[kPlaces];
  Word<> claims[kWriters];  // of the rows, as in the directory
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
      claim.preset(0);
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
    // Where the last owner of the row lives on, what those before it had claimed is free all the
    // same.
    if (kOneRow) {
      free_claims();
    } else if (kDeath) {
      clean_up();
    }
    for (auto& record : records)
      RL_ASSERT(!shm::is_event_claim(record.commit.load(std::memory_order_acquire)));
    for (std::uint64_t i = 0; i < kPlaces; ++i)
      RL_ASSERT(write({7, 1}, 1000 + i));
    const std::uint64_t head = next.load(std::memory_order_relaxed);
    for (std::uint64_t ticket = head - kPlaces; ticket < head; ++ticket)
      RL_ASSERT(read(ticket) == shm::EventRead::whole);
  }

 private:
  void work(unsigned index) {
    const unsigned row = kOneRow ? 0 : index;
    locks[row].lock();
    std::uint32_t incarnation = kOneRow ? identity_of(row).incarnation + 1 : 1;
    if (kDeath && !(kOneRow && incarnation > 1)) mortality.may_die_within(4 * kEvents + 1);
    if constexpr (kSabotage != Sabotage::row_taken_late) take_row(row, incarnation);
    if constexpr (kSabotage == Sabotage::claimed_as_before) --incarnation;
    for (unsigned i = 0; i < kEvents && !mortality.dead(); ++i) {
      if (!write({static_cast<std::uint16_t>(row), incarnation}, 10 * (index + 1) + i))
        ++seen.refused;
    }
    if (mortality.dead()) {
      ++seen.killed;
    } else if (!kOneRow) {
      free_row(row);
    }
    locks[row].unlock();
  }

  [[nodiscard]] shm::Identity identity_of(unsigned row) const {
    return shm::unpack_identity(claims[row].load(std::memory_order_acquire));
  }
  void take_row(unsigned row, std::uint32_t incarnation) {
    claims[row].store(shm::pack(shm::Identity{incarnation, shm::Phase::live}),
                      std::memory_order_release);
  }
  void free_row(unsigned row) {
    claims[row].store(shm::pack(shm::Identity{1, shm::Phase::free}), std::memory_order_release);
  }

  bool write(shm::EventWriter me, std::uint64_t number) {
    audit.filling[rl::thread_index()] = number;
    const auto fill = [&](Record<kSabotage>& record) {
      if (kSabotage == Sabotage::row_taken_late && me.row < kWriters)
        take_row(me.row, me.incarnation);
      auto& last = audit.last.at(static_cast<std::size_t>(&record - records));
      for (std::size_t i = 0; i < last.size(); ++i) {
        // Whatever was stored here before comes before what is stored now. A store cannot be seen
        // to come too early in Relacy, but a load can (which would be too much for a search of
        // every schedule).
        if (kWriters > 1 && !mortality.dead())
          RL_ASSERT(record.fields[i].load(std::memory_order_relaxed) == last.at(i));
        if (!mortality.dead()) last.at(i) = number;
        shm::put_event_word(record.fields[i], number);
      }
    };
    if constexpr (kSabotage == Sabotage::claims_not_heeded || kSabotage == Sabotage::not_claimed) {
      const std::uint64_t ticket = next.fetch_add(1, std::memory_order_relaxed);
      auto& record = records[ticket % kPlaces];
      if constexpr (kSabotage == Sabotage::claims_not_heeded) {
        std::uint64_t was = record.commit.load(std::memory_order_relaxed);
        if (!shm::is_event_claim(was) && was >= shm::event_commit(ticket)) return false;
        if (!record.commit.compare_exchange_strong(
                was, shm::event_claim(me), std::memory_order_acq_rel, std::memory_order_relaxed)) {
          return false;
        }
      }
      fill(record);
      record.commit.store(shm::event_commit(ticket), std::memory_order_release);
      return true;
    } else {
      return shm::write_event(next, records, me, fill);
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
      if (!kOneRow && identity_of(row).phase == shm::Phase::live) free_row(row);
      locks[row].unlock();
    }
    free_claims();
  }

  void free_claims() {
    seen.freed += shm::free_claims(next, records, [&](shm::EventWriter writer) {
      if (kSabotage == Sabotage::freed_while_alive || writer.row >= kWriters) return true;
      const shm::Identity owner = identity_of(writer.row);
      if (owner.phase != shm::Phase::live) return true;
      return kSabotage != Sabotage::incarnation_ignored && owner.incarnation != writer.incarnation;
    });
  }
};

template <Sabotage kSabotage>
using Living = EventsModel<kSabotage, 2, 3, 4, false>;
template <Sabotage kSabotage>
using Dying = EventsModel<kSabotage, 3, 2, 3, true>;
// Two owners of one row, the first of which may die.
template <Sabotage kSabotage>
using Inheriting = EventsModel<kSabotage, 2, 2, 2, true, true>;
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
  must_be_caught<Living<Sabotage::claimed_relaxed>>(kIterations);
  must_be_caught<Dying<Sabotage::freed_relaxed>>(kIterations);
  must_be_caught<Inheriting<Sabotage::incarnation_ignored>>(kIterations);
  must_be_caught<Dying<Sabotage::claimed_as_before>>(kIterations);
}

}  // namespace ballast::model
