// A segment: one table file and one workers file with the same id. The checker makes segments and
// writes the table; a worker maps the table read-only and the workers file writable; tools map both
// read-only. If the checker dies the files stay as they are, and the next one adopts them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "shm/mapped_file.hpp"
#include "shm/result.hpp"
#include "shm/views.hpp"

namespace ballast::shm {

// How much a new segment holds. Fixed for its life: growth is a new segment.
struct Geometry {
  std::uint64_t services = 0;
  std::uint64_t instances = 0;
  std::uint64_t rows = 0;
  std::uint64_t arena_bytes = 0;
  std::uint64_t events = 4096;  // that the flight recorder keeps
};

// Who may open the files, beyond their owner.
struct FileModes {
  unsigned table = 0644;
  unsigned workers = 0600;
  std::optional<gid_t> workers_group;  // gets read and write on the workers file
};

// What the checker holds.
struct CheckerSegment {
  MappedFile table_file;
  MappedFile workers_file;
  TableWriter table;
  WorkersWriter workers;
  std::uint64_t id = 0;

  static Result<CheckerSegment> create(const std::string& directory, std::uint64_t id,
                                       const Geometry& geometry, const FileModes& modes);
  static Result<CheckerSegment> open(const std::string& directory, std::uint64_t id);
  // The table alone, whatever the workers file is: that stays unmapped, and `workers` empty.
  static Result<CheckerSegment> open_table(const std::string& directory, std::uint64_t id);
};

// What a worker holds. The hardware keeps it from writing the table.
struct WorkerSegment {
  MappedFile table_file;
  MappedFile workers_file;
  Table table;
  WorkersWriter workers;
  std::uint64_t id = 0;

  static Result<WorkerSegment> open(const std::string& directory, std::uint64_t id);
};

// What a tool holds: everything read-only, from a live namespace or from copies of its files.
struct InspectedSegment {
  MappedFile table_file;
  MappedFile workers_file;
  Table table;
  Workers workers;
  std::uint64_t id = 0;

  static Result<InspectedSegment> open(const std::string& directory, std::uint64_t id,
                                       BootCheck boot);
};

// Removes both files of a segment. Whoever has them mapped keeps them until unmapping.
void remove_segment(const std::string& directory, std::uint64_t id);

}  // namespace ballast::shm
