// Making and opening segments.
#include "shm/segment.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "shm/crash_point.hpp"
#include "shm/paths.hpp"

namespace ballast::shm {

namespace {

constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t to) noexcept {
  return (value + to - 1) / to * to;
}

// Lays sections one after the other behind the header, each on its own pair of cache lines.
class SectionPlanner {
 public:
  void add(std::uint32_t id, std::uint64_t stride, std::uint64_t count,
           std::uint64_t alignment = 2 * kCacheLine) {
    end_ = align_up(end_, alignment);
    sections_[count_++] = Section{id, static_cast<std::uint32_t>(stride), end_, count};
    end_ += stride * count;
  }
  [[nodiscard]] std::uint64_t end() const noexcept { return align_up(end_, kPage); }
  void write_to(FileHeader& header) const {
    header.section_count = count_;
    for (std::size_t i = 0; i < count_; ++i)
      header.sections[i] = sections_[i];
  }

 private:
  std::array<Section, kMaxSections> sections_{};
  std::size_t count_ = 0;
  std::uint64_t end_ = sizeof(FileHeader);
};

Result<MappedFile> create_file(const std::string& path, const SectionPlanner& plan,
                               std::uint64_t allocate_bytes, std::uint64_t id, std::uint64_t magic,
                               unsigned mode) {
  return MappedFile::create(path, plan.end(), allocate_bytes, mode, /*keep_existing=*/false,
                            [&](std::span<std::byte> bytes) -> Status {
                              auto& header = *reinterpret_cast<FileHeader*>(bytes.data());
                              fill_preamble(header.preamble, bytes.size(), id);
                              plan.write_to(header);
                              BALLAST_POINT("create.before_magic");
                              header.preamble.magic = magic;
                              return Done{};
                            });
}

template <bool Writable>
Status check_name(const BasicTable<Writable>& table, const std::string& path, std::uint64_t id) {
  if (table.header->preamble.segment_id == id) return Done{};
  return Error{ErrorKind::corrupt, 0, "read", path,
               "is another segment's; stop ballastd, remove its directory, start it again"};
}

template <class Segment, class TableView, class WorkersView>
Result<Segment> assemble(MappedFile table_file, MappedFile workers_file, std::uint64_t id,
                         BootCheck boot) {
  auto table = TableView::open(table_file, boot);
  if (!table) return table.error();
  if (const Status named = check_name(*table, table_file.path(), id); !named) return named.error();
  auto workers = WorkersView::open(workers_file, boot);
  if (!workers) return workers.error();
  if (workers->instance_count < table->instances.size() ||
      workers->services.size() < table->services.size() ||
      workers->breakers.size() < table->instances.size() ||
      workers->header->preamble.segment_id != id) {
    return Error{
        ErrorKind::corrupt, 0, "read", workers_file.path(),
        "does not belong to " + table_file.path() + "; restart ballastd, which makes another"};
  }
  return Segment{std::move(table_file), std::move(workers_file), *table, *workers, id};
}

}  // namespace

Result<CheckerSegment> CheckerSegment::create(const std::string& directory, std::uint64_t id,
                                              const Geometry& geometry, const FileModes& modes) {
  if (geometry.services > kMaxServices || geometry.instances > kMaxInstances ||
      geometry.rows > kMaxRows || geometry.events > kMaxEvents) {
    return Error{ErrorKind::full, 0, "create a segment in", directory,
                 "at most " + std::to_string(kMaxServices) + " services, " +
                     std::to_string(kMaxInstances) + " instances, " + std::to_string(kMaxRows) +
                     " workers and " + std::to_string(kMaxEvents) + " events are possible"};
  }
  SectionPlanner workers_plan;
  workers_plan.add(kDirectorySection, sizeof(RowRecord), geometry.rows);
  workers_plan.add(kSharedServicesSection, sizeof(SharedServiceRecord), geometry.services);
  workers_plan.add(kBreakersSection, sizeof(Word64), geometry.instances);
  workers_plan.add(kSharedInstancesSection, sizeof(SharedInstanceRecord), geometry.instances);
  workers_plan.add(kWorkerEventsSection, sizeof(EventRecord), kWorkerEvents);
  const std::uint64_t allocated = workers_plan.end();  // rows get their memory when claimed
  workers_plan.add(kRowsSection,
                   align_up(sizeof(JournalRecord) + geometry.services * sizeof(RowServiceRecord) +
                                geometry.instances * sizeof(CounterRecord),
                            kPage),
                   geometry.rows, kPage);
  const unsigned workers_mode =
      modes.workers_group.has_value() ? modes.workers | 0060 : modes.workers;
  auto workers_file = create_file(workers_path(directory, id), workers_plan, allocated, id,
                                  kWorkersMagic, workers_mode);
  if (!workers_file) return workers_file.error();
  // Nobody can know of the segment yet, so a failure takes back what is there of it.
  const auto fail = [&](Error error) {
    remove_segment(directory, id);
    return error;
  };
  if (modes.workers_group.has_value() &&
      ::chown(workers_file->path().c_str(), static_cast<uid_t>(-1), *modes.workers_group) != 0) {
    return fail(system_error(errno, "give the group to", workers_file->path(),
                             "run ballastd as root or as a member of workers_group"));
  }
  BALLAST_POINT("create.workers_made");

  SectionPlanner table_plan;
  table_plan.add(kServicesSection, sizeof(ServiceRecord), geometry.services);
  table_plan.add(kInstancesSection, sizeof(InstanceRecord), geometry.instances);
  table_plan.add(kStatesSection, sizeof(Word64), geometry.instances);
  table_plan.add(kCarriedSection, sizeof(CounterRecord), geometry.instances);
  table_plan.add(kLoadsSection, sizeof(Word64), geometry.instances);
  table_plan.add(kLoadDetailsSection, sizeof(LoadRecord), geometry.instances);
  table_plan.add(kServiceLoadsSection, sizeof(ServiceLoadRecord), geometry.services);
  table_plan.add(kEventsSection, sizeof(EventRecord), geometry.events);
  table_plan.add(kCarriedServicesSection, sizeof(RowServiceRecord), geometry.services);
  table_plan.add(kArenaSection, 1, geometry.arena_bytes, kPage);
  auto table_file = create_file(table_path(directory, id), table_plan, table_plan.end(), id,
                                kTableMagic, modes.table);
  if (!table_file) return fail(table_file.error());
  BALLAST_POINT("create.table_made");
  return assemble<CheckerSegment, TableWriter, WorkersWriter>(
      std::move(*table_file), std::move(*workers_file), id, BootCheck::required);
}

Result<CheckerSegment> CheckerSegment::open(const std::string& directory, std::uint64_t id) {
  using Access = MappedFile::Access;
  auto table = MappedFile::open(table_path(directory, id), Access::read_write, true);
  if (!table) return table.error();
  auto workers = MappedFile::open(workers_path(directory, id), Access::read_write, false);
  if (!workers) return workers.error();
  return assemble<CheckerSegment, TableWriter, WorkersWriter>(
      std::move(*table), std::move(*workers), id, BootCheck::required);
}

Result<CheckerSegment> CheckerSegment::open_table(const std::string& directory, std::uint64_t id) {
  auto file = MappedFile::open(table_path(directory, id), MappedFile::Access::read_write, true);
  if (!file) return file.error();
  auto table = TableWriter::open(*file, BootCheck::required);
  if (!table) return table.error();
  if (const Status named = check_name(*table, file->path(), id); !named) return named.error();
  return CheckerSegment{std::move(*file), MappedFile(), *table, WorkersWriter(), id};
}

Result<WorkerSegment> WorkerSegment::open(const std::string& directory, std::uint64_t id) {
  using Access = MappedFile::Access;
  auto table = MappedFile::open(table_path(directory, id), Access::read_only, true);
  if (!table) return table.error();
  auto workers = MappedFile::open(workers_path(directory, id), Access::read_write, false);
  if (!workers) return workers.error();
  return assemble<WorkerSegment, Table, WorkersWriter>(std::move(*table), std::move(*workers), id,
                                                       BootCheck::required);
}

Result<InspectedSegment> InspectedSegment::open(const std::string& directory, std::uint64_t id,
                                                BootCheck boot) {
  using Access = MappedFile::Access;
  auto table = MappedFile::open(table_path(directory, id), Access::read_only, false);
  if (!table) return table.error();
  auto workers = MappedFile::open(workers_path(directory, id), Access::read_only, false);
  if (!workers) return workers.error();
  return assemble<InspectedSegment, Table, Workers>(std::move(*table), std::move(*workers), id,
                                                    boot);
}

void remove_segment(const std::string& directory, std::uint64_t id) {
  ::unlink(table_path(directory, id).c_str());
  BALLAST_POINT("remove.table_gone");
  ::unlink(workers_path(directory, id).c_str());
}

}  // namespace ballast::shm
