// Rows in private memory, laid out as in a workers file, for units that read them: with what a
// worker does to its row one step at a time, so that a test can stop between any two.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "shm/journal.hpp"
#include "shm/row_protocol.hpp"
#include "shm/totals.hpp"
#include "shm/views.hpp"

namespace ballast::tests {

class FakeWorkers {
 public:
  FakeWorkers(std::size_t rows, std::size_t instances, std::size_t services = 1)
      : directory_(rows), services_(services), instances_(instances) {
    const std::size_t stride = sizeof(shm::JournalRecord) +
                               services * sizeof(shm::RowServiceRecord) +
                               instances * sizeof(shm::CounterRecord);
    bytes_.reset(new (std::align_val_t{shm::kPage}) std::byte[rows * stride]);
    std::memset(bytes_.get(), 0, rows * stride);
    view.header = &header_;
    view.directory = directory_;
    view.services = services_;
    view.instances = instances_;
    view.row_stride = stride;
    view.instance_count = instances;
    view.file = {bytes_.get(), rows * stride};
  }

  void claim(std::size_t row) {
    static_cast<void>(shm::take(view.directory[row].claim, view.row(row)));
  }
  void reap(std::size_t row) {
    static_cast<void>(shm::reap(view.directory[row].claim, view.row(row)));
  }
  void start_uncounted(std::size_t row, std::uint16_t slot) {
    shm::count_started(view.row(row)[slot].values[shm::kStarted]);
  }
  void start(std::size_t row, std::uint16_t slot) {
    start_uncounted(row, slot);
    shm::append_journal(view.journal(row), slot);
  }
  void finish(std::size_t row, std::uint16_t slot, shm::CounterIndex outcome,
              std::uint64_t latency_us = 0) {
    auto& values = view.row(row)[slot].values;
    if (latency_us != 0) {
      constexpr auto relaxed = std::memory_order_relaxed;  // one thread
      values[shm::kLatencySumUs].store(values[shm::kLatencySumUs].load(relaxed) + latency_us,
                                       relaxed);
      values[shm::kLatencyCount].store(values[shm::kLatencyCount].load(relaxed) + 1, relaxed);
    }
    shm::count_outcome(values[outcome]);
    shm::append_journal(view.journal(row), slot);
  }
  // A request from start to end.
  void serve(std::size_t row, std::uint16_t slot, shm::CounterIndex outcome,
             std::uint64_t latency_us) {
    start(row, slot);
    finish(row, slot, outcome, latency_us);
  }

  shm::WorkersWriter view;

 private:
  struct Free {
    void operator()(std::byte* bytes) const {
      ::operator delete[](bytes, std::align_val_t{shm::kPage});
    }
  };
  shm::FileHeader header_{};
  std::vector<shm::RowRecord> directory_;
  std::vector<shm::SharedServiceRecord> services_;
  std::vector<shm::SharedInstanceRecord> instances_;
  std::unique_ptr<std::byte[], Free> bytes_;
};

// The words of a table that tell loads, in private memory.
class FakeLoads {
 public:
  FakeLoads(std::size_t instances, std::size_t services = 1)
      : loads_(instances), details_(instances), carried_(instances), services_(services) {
    view.loads = loads_;
    view.load_details = details_;
    view.carried = carried_;
    view.service_loads = services_;
  }

  shm::TableWriter view;

 private:
  std::vector<shm::Word64> loads_;
  std::vector<shm::LoadRecord> details_;
  std::vector<shm::CounterRecord> carried_;
  std::vector<shm::ServiceLoadRecord> services_;
};

}  // namespace ballast::tests
