// The load board: what all workers together have in flight at each instance, and what their
// requests went through, kept by the checker and published for picks to compare. Rows stay the
// truth. The board remembers of each row and slot what it has last seen, looks again at what the
// rows' journals name, and adds the difference; so its totals are always the sum of what it has
// seen, and after a kill exact as soon as the row was reaped. It lives in the checker's private
// memory: when the checker dies, what it published stands still (`load_beat` too, by which picks
// notice), and a successor begins with a look at every row. Pure: memory and time are passed in.
// docs/load.md has the design, docs/memory-model.md, "journal", the argument.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/checker/loads/load_estimate.hpp"
#include "engine/load_word.hpp"
#include "shm/views.hpp"

namespace ballast::checker {

// An instance that the board keeps totals of.
struct LoadMember {
  std::uint16_t slot = 0;
  std::uint32_t incarnation = 0;
  std::uint32_t service = 0;  // index of its record
  CostRule rule = CostRule::peak;

  friend bool operator==(const LoadMember&, const LoadMember&) = default;
};

struct LookReport {
  bool moved = false;            // some row's counters had changed
  std::uint64_t records = 0;     // counter records read
  std::uint64_t whole_rows = 0;  // rows looked at as a whole: overrun, new owner, or their turn
};

class LoadBoard {
 public:
  // Every row is looked at as a whole once in this time, whatever its journal says: that is how
  // services whose picks do not keep journals are counted, and how a damaged journal heals.
  static constexpr std::uint64_t kRescanNs = 1'000'000'000;
  // No more records than this in a second of such looks (some 50 ns each): with very many rows and
  // instances a round takes longer than kRescanNs.
  static constexpr std::uint64_t kRescanRecordsPerSecond = 2'000'000;
  // Every instance's averages fade at least this often.
  static constexpr std::uint64_t kRestNs = 100'000'000;

  explicit LoadBoard(const LoadRules& rules = {}) : rules_(rules) {}

  // Which instances there are from now on. Those that stay (same slot and incarnation) keep their
  // averages; a new one begins without, as one never tried. With `published`, that is those of a
  // table that a former checker kept, its averages are adopted instead. Looks at all rows for each
  // new one. `carried` is the table's: counts that belong to the slot and are in no row.
  void set_members(std::span<const LoadMember> members, const shm::WorkersWriter& workers,
                   std::span<const shm::CounterRecord> carried, std::uint64_t now_ns,
                   const shm::TableWriter* published = nullptr);

  // One look: at the rows' journals, at rows with another owner than before, and at those whose
  // turn it is. A worker that has counted before this call is in the totals after it, unless it has
  // not come to write its journal yet.
  LookReport look(const shm::WorkersWriter& workers, std::uint64_t now_ns);
  // The carried counters changed: reads those of all members again. In a growth, once a tick.
  void look_at_carried(std::span<const shm::CounterRecord> carried);
  // The instance comes back into use: as one never tried.
  void forget(std::uint16_t slot) noexcept;

  // Stores what has changed since the last call.
  void publish(const shm::TableWriter& table);

  // Totals, for whoever judges instances. Zero for a slot that is no member's.
  [[nodiscard]] std::int64_t in_flight(std::uint16_t slot) const noexcept;
  [[nodiscard]] std::int64_t service_in_flight(std::uint32_t service) const noexcept;
  // All that has gone through the instance since it became a member; compare two looks.
  [[nodiscard]] Traffic traffic(std::uint16_t slot) const noexcept;
  [[nodiscard]] const LoadEstimate* estimate(std::uint16_t slot) const noexcept;
  // As `publish` stores it.
  [[nodiscard]] engine::Load load_of(std::uint16_t slot) const noexcept;
  [[nodiscard]] std::uint64_t hot_threshold(std::uint32_t service) const noexcept;

 private:
  // What a row had counted for a slot, modulo 2^32 where that is enough: only differences count.
  struct Record {
    std::uint32_t in_flight = 0;
    std::uint32_t finished = 0;
    std::uint32_t successes = 0;
    std::uint32_t failures = 0;
    std::uint32_t timed = 0;
    std::uint64_t latency_sum_us = 0;

    friend bool operator==(const Record&, const Record&) = default;
  };
  static constexpr std::size_t kPageSlots = 64;
  using Page = std::array<Record, kPageSlots>;
  // Sparse: a row costs memory here only where it has counted something.
  struct Row {
    std::uint64_t claim = 0;
    std::uint64_t position = 0;  // in its journal
    std::vector<std::unique_ptr<Page>> pages;
  };
  // What is known of a member that has had any traffic. Most of ten thousand have none here.
  struct Life {
    Traffic delta;  // since the averages were last brought up to date
    Traffic total;
    LoadEstimate estimate;
  };
  struct Slot {
    bool is_member = false;
    bool touched = false;  // in `touched_`: to be brought up to date and published
    CostRule rule = CostRule::peak;
    std::uint32_t incarnation = 0;
    std::uint32_t service = 0;  // index into services_
    std::uint32_t in_flight = 0;
    std::uint64_t read_in = 0;   // which row's look it was last read in
    std::unique_ptr<Life> life;  // null: it was never asked

    [[nodiscard]] const LoadEstimate& estimate() const noexcept;
    [[nodiscard]] Life& begin_life();
  };
  struct Service {
    std::uint32_t record = 0;
    std::vector<std::uint16_t> slots;
    std::uint32_t in_flight = 0;
    bool changed = false;
    double median_us = 0;
    std::uint64_t hot_threshold = 0;
    std::uint64_t ordered_ns = 0;  // when the two above were worked out
  };

  static Record read(const shm::CounterRecord& record) noexcept;
  static Record* find(Row& row, std::size_t slot, bool make);
  void touch(std::size_t slot);
  bool look_at(Row& row, const shm::CounterRecord& record, std::size_t slot);
  bool look_at_whole(Row& row, std::span<const shm::CounterRecord> counters, LookReport& report);
  void recount(std::size_t slot, const shm::WorkersWriter& workers,
               std::span<const shm::CounterRecord> carried);
  void rescan(const shm::WorkersWriter& workers, std::uint64_t elapsed_ns, LookReport& report);
  void rest_some(std::uint64_t now_ns, std::uint64_t elapsed_ns);
  void bring_up_to_date(std::uint64_t now_ns);
  void order(Service& service, std::uint64_t now_ns);
  static const Service* find_service(std::span<const Service> services,
                                     std::uint32_t record) noexcept;

  LoadRules rules_;
  std::vector<LoadMember> members_;
  std::vector<Service> services_;
  std::vector<Slot> slots_;
  std::vector<Row> rows_;
  Row carried_;
  std::vector<std::uint16_t> touched_;
  std::vector<std::uint64_t> counts_;  // scratch for order()
  std::vector<double> costs_;
  std::uint64_t looks_ = 0;  // of rows, to know what was read in which
  std::size_t next_row_ = 0;
  double rows_due_ = 0;
  double records_due_ = 0;
  std::size_t next_rest_ = 0;
  double rests_due_ = 0;
  std::uint64_t last_look_ns_ = 0;
};

}  // namespace ballast::checker
