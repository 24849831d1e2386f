// Mapped bytes, looked at with distrust. A view checks a file's preamble and section table once,
// keeps its own copy of every bound, and afterwards hands out only what lies inside the mapping; so
// random bytes give an error here, and later corruption gives wrong numbers, never a wild access.
//
// Views are plain values that point into a MappedFile, which must outlive them. Table and workers
// views come in a read-only form for those who read and a writable one for the one who may write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>

#include "shm/layout.hpp"
#include "shm/mapped_file.hpp"
#include "shm/result.hpp"

namespace ballast::shm {

enum class BootCheck { required, skipped };  // skipped by tools that read copies from elsewhere

// Writes a preamble but its magic, for a file being made.
void fill_preamble(FilePreamble& preamble, std::uint64_t file_bytes, std::uint64_t segment_id);
// Checks magic, byte order, version, layout, length and boot.
Status check_preamble(std::span<const std::byte> file, const std::string& path, std::uint64_t magic,
                      BootCheck boot);

template <bool Writable>
struct BasicTable {
  template <class T>
  using Maybe = std::conditional_t<Writable, T, const T>;

  Maybe<FileHeader>* header = nullptr;
  std::span<Maybe<ServiceRecord>> services;
  std::span<Maybe<InstanceRecord>> instances;
  std::span<Maybe<Word64>> states;                      // one a slot
  std::span<Maybe<CounterRecord>> carried;              // one a slot; see docs/design.md, "Growth"
  std::span<Maybe<Word64>> loads;                       // one a slot; see engine/load_word.hpp
  std::span<Maybe<LoadRecord>> load_details;            // one a slot
  std::span<Maybe<ServiceLoadRecord>> service_loads;    // one a service
  std::span<Maybe<EventRecord>> events;                 // a ring; see shm/events.hpp
  std::span<Maybe<RowServiceRecord>> carried_services;  // one a service
  std::uint64_t arena_offset = 0;
  std::uint64_t arena_bytes = 0;
  std::span<Maybe<std::byte>> file;

  static Result<BasicTable> open(const MappedFile& file, BootCheck boot);

  // `count` elements at `offset` bytes into the file, or empty if any of it is outside the arena or
  // misaligned. The caller tells "empty" from "refused" by the count it asked for.
  template <class T>
  [[nodiscard]] std::span<Maybe<T>> array(std::uint64_t offset,
                                          std::uint64_t count) const noexcept {
    if (offset < arena_offset || offset - arena_offset > arena_bytes || offset % alignof(T) != 0 ||
        count > (arena_bytes - (offset - arena_offset)) / sizeof(T)) {
      return {};
    }
    return {reinterpret_cast<Maybe<T>*>(file.data() + offset), static_cast<std::size_t>(count)};
  }
};
using Table = BasicTable<false>;
using TableWriter = BasicTable<true>;

template <bool Writable>
struct BasicWorkers {
  template <class T>
  using Maybe = std::conditional_t<Writable, T, const T>;

  Maybe<FileHeader>* header = nullptr;
  std::span<Maybe<RowRecord>> directory;
  std::span<Maybe<SharedServiceRecord>> services;    // one a service
  std::span<Maybe<Word64>> breakers;                 // one a slot
  std::span<Maybe<SharedInstanceRecord>> instances;  // one a slot
  std::span<Maybe<EventRecord>> events;              // a ring; see shm/events.hpp
  std::uint64_t rows_offset = 0;
  std::uint64_t row_stride = 0;
  std::uint64_t instance_count = 0;
  std::span<Maybe<std::byte>> file;

  static Result<BasicWorkers> open(const MappedFile& file, BootCheck boot);

  // The counters of one row. Only rows that were ever claimed have memory behind them
  // (`ever_claimed`): looking into another one would allocate it.
  [[nodiscard]] std::span<Maybe<CounterRecord>> row(std::uint64_t index) const noexcept {
    return {reinterpret_cast<Maybe<CounterRecord>*>(file.data() + rows_offset + index * row_stride +
                                                    sizeof(JournalRecord) +
                                                    services.size() * sizeof(RowServiceRecord)),
            static_cast<std::size_t>(instance_count)};
  }
  // What one row counts by service; as above.
  [[nodiscard]] std::span<Maybe<RowServiceRecord>> row_services(
      std::uint64_t index) const noexcept {
    return {reinterpret_cast<Maybe<RowServiceRecord>*>(file.data() + rows_offset +
                                                       index * row_stride + sizeof(JournalRecord)),
            services.size()};
  }
  [[nodiscard]] Maybe<JournalRecord>& journal(std::uint64_t index) const noexcept {
    return *reinterpret_cast<Maybe<JournalRecord>*>(file.data() + rows_offset + index * row_stride);
  }
  [[nodiscard]] bool ever_claimed(std::uint64_t index) const noexcept {
    return unpack_identity(directory[index].claim.load(std::memory_order_relaxed)).incarnation != 0;
  }
};
using Workers = BasicWorkers<false>;
using WorkersWriter = BasicWorkers<true>;

// The locator, read-only or writable by the type asked for.
Result<const Locator*> open_locator(const MappedFile& file, BootCheck boot);
Result<Locator*> open_locator_writable(const MappedFile& file, BootCheck boot);

}  // namespace ballast::shm
