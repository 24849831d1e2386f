// The checks that stand between a mapped file and everything that uses it.
#include "shm/views.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "shm/host.hpp"

namespace ballast::shm {

namespace {

struct SectionRule {
  std::uint32_t id;
  std::uint64_t stride;  // 0: any multiple of the page (rows)
  std::uint64_t alignment;
  std::uint64_t max_count;
};

// The checker makes another workers file out of a good table, but of nothing a table or a locator.
Error corrupt(const std::string& path, std::uint64_t magic, const std::string& what) {
  return Error{ErrorKind::corrupt, 0, "read", path,
               what + (magic == kWorkersMagic
                           ? "; the file is damaged: restart ballastd, which makes another"
                           : "; the file is damaged: stop ballastd, remove its directory, start it "
                             "again")};
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

// Finds a section and checks that every element of it lies inside the file.
Result<Section> find_section(std::span<const std::byte> file, const std::string& path,
                             std::uint64_t magic, const SectionRule& rule) {
  const auto& header = *reinterpret_cast<const FileHeader*>(file.data());
  const std::uint64_t count = header.section_count;
  if (count > kMaxSections) return corrupt(path, magic, number(count) + " sections");
  for (std::uint64_t i = 0; i < count; ++i) {
    Section section;  // a copy: what is checked is what is used
    std::memcpy(&section, &header.sections[i], sizeof section);
    if (section.id != rule.id) continue;
    const std::string name = "section " + number(section.id);
    const bool stride_ok = rule.stride != 0
                               ? section.stride == rule.stride
                               : section.stride >= kPage && section.stride % kPage == 0;
    if (!stride_ok) return corrupt(path, magic, name + " has stride " + number(section.stride));
    if (section.count > rule.max_count) {
      return corrupt(path, magic, name + " has " + number(section.count) + " elements");
    }
    if (section.offset % rule.alignment != 0 || section.offset < sizeof(FileHeader) ||
        section.offset > file.size() ||
        section.count > (file.size() - section.offset) / section.stride) {
      return corrupt(path, magic,
                     name + " lies outside the file (offset " + number(section.offset) + ")");
    }
    return section;
  }
  return corrupt(path, magic, "section " + number(rule.id) + " is missing");
}

template <class T, class Byte>
auto elements(std::span<Byte> file, const Section& section) {
  using Element = std::conditional_t<std::is_const_v<Byte>, const T, T>;
  return std::span<Element>(reinterpret_cast<Element*>(file.data() + section.offset),
                            static_cast<std::size_t>(section.count));
}

}  // namespace

void fill_preamble(FilePreamble& preamble, std::uint64_t file_bytes, std::uint64_t segment_id) {
  preamble.major = kMajor;
  preamble.minor = kMinor;
  preamble.byte_order = kByteOrder;
  preamble.layout_hash = kLayoutHash;
  preamble.file_bytes = file_bytes;
  const auto boot = boot_id();
  std::memcpy(preamble.boot_id, boot.data(), boot.size());
  preamble.created_ns = realtime_ns();
  preamble.segment_id = segment_id;
}

Status check_preamble(std::span<const std::byte> file, const std::string& path, std::uint64_t magic,
                      BootCheck boot) {
  const auto incompatible = [&](std::string what) {
    return Error{ErrorKind::incompatible, 0, "read", path, std::move(what)};
  };
  if (file.size() < sizeof(FilePreamble))
    return corrupt(path, magic, "only " + number(file.size()) + " bytes");
  FilePreamble p;
  std::memcpy(&p, file.data(), sizeof p);
  if (p.magic == __builtin_bswap64(magic)) {
    return incompatible("written on a machine of the other byte order; read it there");
  }
  if (p.magic != magic) return corrupt(path, magic, "no Ballast file of this kind (wrong magic)");
  if (p.byte_order != kByteOrder) return corrupt(path, magic, "unknown byte order mark");
  if (p.major != kMajor) {
    return incompatible("has format " + number(p.major) + ", this program reads format " +
                        number(kMajor) + "; use programs of one version");
  }
  if (p.layout_hash != kLayoutHash) {
    return incompatible(
        "was laid out by another build; use ballastd, ballast and libballast of one "
        "version, then restart ballastd");
  }
  if (p.file_bytes != file.size()) {
    return corrupt(path, magic,
                   "is " + number(file.size()) + " bytes long but says " + number(p.file_bytes));
  }
  if (boot == BootCheck::required) {
    const auto now = boot_id();
    if (std::memcmp(p.boot_id, now.data(), now.size()) != 0) {
      return incompatible("was left by an earlier boot of this machine; start ballastd");
    }
  }
  return Done{};
}

template <bool Writable>
Result<BasicTable<Writable>> BasicTable<Writable>::open(const MappedFile& mapped, BootCheck boot) {
  const std::span<Maybe<std::byte>> file = mapped.bytes();
  const std::string& path = mapped.path();
  if (const Status ok = check_preamble(file, path, kTableMagic, boot); !ok) return ok.error();
  if (file.size() < sizeof(FileHeader))
    return corrupt(path, kTableMagic, "shorter than its header");
  const std::array<SectionRule, 10> rules{{
      {kServicesSection, sizeof(ServiceRecord), kCacheLine, kMaxServices},
      {kInstancesSection, sizeof(InstanceRecord), kCacheLine, kMaxInstances},
      {kStatesSection, sizeof(Word64), kCacheLine, kMaxInstances},
      {kCarriedSection, sizeof(CounterRecord), kCacheLine, kMaxInstances},
      {kArenaSection, 1, kCacheLine, kMaxFileBytes},
      {kLoadsSection, sizeof(Word64), kCacheLine, kMaxInstances},
      {kLoadDetailsSection, sizeof(LoadRecord), kCacheLine, kMaxInstances},
      {kServiceLoadsSection, sizeof(ServiceLoadRecord), kCacheLine, kMaxServices},
      {kEventsSection, sizeof(EventRecord), kCacheLine, kMaxEvents},
      {kCarriedServicesSection, sizeof(RowServiceRecord), kCacheLine, kMaxServices},
  }};
  std::array<Section, rules.size()> sections{};
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const auto found = find_section(file, path, kTableMagic, rules[i]);
    if (!found) return found.error();
    sections[i] = *found;
  }
  BasicTable table;
  table.header = reinterpret_cast<Maybe<FileHeader>*>(file.data());
  table.services = elements<ServiceRecord>(file, sections[0]);
  table.instances = elements<InstanceRecord>(file, sections[1]);
  table.states = elements<Word64>(file, sections[2]);
  table.carried = elements<CounterRecord>(file, sections[3]);
  table.arena_offset = sections[4].offset;
  table.arena_bytes = sections[4].count;
  table.loads = elements<Word64>(file, sections[5]);
  table.load_details = elements<LoadRecord>(file, sections[6]);
  table.service_loads = elements<ServiceLoadRecord>(file, sections[7]);
  table.events = elements<EventRecord>(file, sections[8]);
  table.carried_services = elements<RowServiceRecord>(file, sections[9]);
  table.file = file;
  if (table.states.size() != table.instances.size() ||
      table.carried.size() != table.instances.size() ||
      table.loads.size() != table.instances.size() ||
      table.load_details.size() != table.instances.size() ||
      table.service_loads.size() != table.services.size() ||
      table.carried_services.size() != table.services.size()) {
    return corrupt(path, kTableMagic, "sections that belong together differ in number");
  }
  return table;
}

template <bool Writable>
Result<BasicWorkers<Writable>> BasicWorkers<Writable>::open(const MappedFile& mapped,
                                                            BootCheck boot) {
  const std::span<Maybe<std::byte>> file = mapped.bytes();
  const std::string& path = mapped.path();
  if (const Status ok = check_preamble(file, path, kWorkersMagic, boot); !ok) return ok.error();
  if (file.size() < sizeof(FileHeader))
    return corrupt(path, kWorkersMagic, "shorter than its header");
  const std::array<SectionRule, 6> rules{{
      {kDirectorySection, sizeof(RowRecord), kCacheLine, kMaxRows},
      {kSharedServicesSection, sizeof(SharedServiceRecord), kCacheLine, kMaxServices},
      {kRowsSection, 0, kPage, kMaxRows},
      {kBreakersSection, sizeof(Word64), kCacheLine, kMaxInstances},
      {kSharedInstancesSection, sizeof(SharedInstanceRecord), kCacheLine, kMaxInstances},
      {kWorkerEventsSection, sizeof(EventRecord), kCacheLine, kMaxEvents},
  }};
  std::array<Section, rules.size()> sections{};
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const auto found = find_section(file, path, kWorkersMagic, rules[i]);
    if (!found) return found.error();
    sections[i] = *found;
  }
  BasicWorkers workers;
  workers.header = reinterpret_cast<Maybe<FileHeader>*>(file.data());
  workers.directory = elements<RowRecord>(file, sections[0]);
  workers.services = elements<SharedServiceRecord>(file, sections[1]);
  workers.rows_offset = sections[2].offset;
  workers.row_stride = sections[2].stride;
  const std::uint64_t before_counters =
      sizeof(JournalRecord) + workers.services.size() * sizeof(RowServiceRecord);
  if (workers.row_stride < before_counters) {
    return corrupt(path, kWorkersMagic, "rows have no room for the services");
  }
  workers.instance_count = std::min<std::uint64_t>(
      (workers.row_stride - before_counters) / sizeof(CounterRecord), kMaxInstances);
  workers.breakers = elements<Word64>(file, sections[3]);
  workers.instances = elements<SharedInstanceRecord>(file, sections[4]);
  workers.events = elements<EventRecord>(file, sections[5]);
  workers.file = file;
  if (sections[2].count != sections[0].count ||
      workers.instances.size() != workers.breakers.size()) {
    return corrupt(path, kWorkersMagic, "sections that belong together differ in number");
  }
  return workers;
}

template struct BasicTable<false>;
template struct BasicTable<true>;
template struct BasicWorkers<false>;
template struct BasicWorkers<true>;

namespace {

Result<Locator*> checked_locator(const MappedFile& file, BootCheck boot) {
  if (const Status ok = check_preamble(file.bytes(), file.path(), kLocatorMagic, boot); !ok) {
    return ok.error();
  }
  if (file.bytes().size() < sizeof(Locator))
    return corrupt(file.path(), kLocatorMagic, "shorter than a locator");
  return reinterpret_cast<Locator*>(file.bytes().data());
}

}  // namespace

Result<const Locator*> open_locator(const MappedFile& file, BootCheck boot) {
  const auto locator = checked_locator(file, boot);
  if (!locator) return locator.error();
  return static_cast<const Locator*>(*locator);
}

Result<Locator*> open_locator_writable(const MappedFile& file, BootCheck boot) {
  return checked_locator(file, boot);
}

}  // namespace ballast::shm
