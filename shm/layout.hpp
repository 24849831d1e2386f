// The one owner of what lies where in Ballast's three mapped files. Everything here is ABI between
// processes: fixed-width fields, explicit padding, no pointers, every offset asserted, and the
// whole summed up in `kLayoutHash`, by which two builds that disagree refuse each other. The
// checker writes the locator and the table; workers map the table read-only and write only the
// workers file. Nothing in a mapped file is trusted by a reader: `shm/views.hpp` checks it first.
// docs/layout.md draws it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ballast::shm {

using Word64 = std::atomic<std::uint64_t>;
using Word32 = std::atomic<std::uint32_t>;
using Word16 = std::atomic<std::uint16_t>;
static_assert(Word64::is_always_lock_free && sizeof(Word64) == 8);
static_assert(Word32::is_always_lock_free && sizeof(Word32) == 4);
static_assert(Word16::is_always_lock_free && sizeof(Word16) == 2);

// Fixed, not taken from the compiler, because it is part of the ABI. Neighbouring lines are fetched
// in pairs on x86, so what different processors write is kept two lines apart.
inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::size_t kPage = 4096;

inline constexpr std::uint64_t kLocatorMagic = 0x31434f4c4c4c4142;  // "BALLLOC1"
inline constexpr std::uint64_t kTableMagic = 0x314c42544c4c4142;    // "BALLTBL1"
inline constexpr std::uint64_t kWorkersMagic = 0x314b52574c4c4142;  // "BALLWRK1"
inline constexpr std::uint16_t kMajor = 3;
inline constexpr std::uint16_t kMinor = 0;
inline constexpr std::uint32_t kByteOrder = 0x01020304;

// Limits. A file that claims more is corrupt.
inline constexpr std::uint64_t kMaxSections = 16;
inline constexpr std::uint64_t kMaxServices = 4096;
inline constexpr std::uint64_t kMaxInstances = 65000;  // slots of a table; a slot is 16 bits wide
inline constexpr std::uint64_t kMaxRows = 4096;
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 36;
inline constexpr std::uint16_t kNoSlot = 0xffff;
inline constexpr std::size_t kServiceNameBytes = 64;  // with the closing NUL
inline constexpr std::size_t kMaxGroups = 8;          // of a service: four tiers, near and far
inline constexpr std::size_t kPolicyWords = 32;
inline constexpr std::size_t kJournalEntries = 1024;
inline constexpr std::uint64_t kMaxEvents = 65536;    // that a table keeps
inline constexpr std::uint64_t kWorkerEvents = 1024;  // that a workers file keeps
inline constexpr std::size_t kLatencyBuckets = 28;

// The first fields of all three files: who made this, for which build, in which boot.
struct FilePreamble {
  std::uint64_t magic;  // written last, so that a file with a magic is whole
  std::uint16_t major;
  std::uint16_t minor;
  std::uint32_t byte_order;
  std::uint64_t layout_hash;
  std::uint64_t file_bytes;
  std::uint8_t boot_id[16];
  std::uint64_t created_ns;  // CLOCK_REALTIME
  std::uint64_t segment_id;  // 0 in the locator
};

// `locator`: one page that never moves. The lease is a kernel lock on its first byte; these words
// only say who holds it.
struct Locator {
  FilePreamble preamble;
  Word64 active_segment;  // 0: none yet
  Word64 term;            // how many times the lease has been taken
  Word64 holder_pid;      // 0: left in order
  Word64 holder_since_ns;
  Word64 handover_term;  // the holder of this term is asked to leave for a successor that is ready
  std::uint64_t reserved[499];
};

struct Section {
  std::uint32_t id;
  std::uint32_t stride;  // bytes from one element to the next
  std::uint64_t offset;  // bytes from the start of the file
  std::uint64_t count;
};

enum SectionId : std::uint32_t {
  kServicesSection = 1,
  kInstancesSection = 2,
  kStatesSection = 3,
  kCarriedSection = 4,
  kArenaSection = 5,
  kLoadsSection = 6,
  kLoadDetailsSection = 7,
  kServiceLoadsSection = 8,
  kEventsSection = 9,
  kCarriedServicesSection = 10,
  kDirectorySection = 16,
  kSharedServicesSection = 17,
  kRowsSection = 18,
  kBreakersSection = 19,
  kSharedInstancesSection = 20,
  kWorkerEventsSection = 21,
};

// The first page of `table.<id>` and of `workers.<id>`.
struct FileHeader {
  FilePreamble preamble;
  std::uint64_t section_count;
  Section sections[kMaxSections];
  std::uint64_t reserved[7];
  // From here on, what the checker keeps up to date (zero in a workers file, but for the last).
  Word64 heartbeat;     // grows while the checker lives; compare two looks, not it with a clock
  Word64 heartbeat_ns;  // CLOCK_REALTIME at the last beat, for people
  Word64 checker_pid;
  Word64 checker_term;
  Word64 checker_since_ns;
  Word64 previous_segment;  // still drained by workers that hold picks in it; 0: none
  Word64 superseded_by;     // the segment that replaces this one; 0: this is the active one
  Word64 load_beat;         // grows whenever the loads were brought up to date
  // In a workers file, set by whoever reaps: tokens may be out of step with the rows until the
  // checker has counted them again.
  Word64 tokens_dirty;
  Word64 events_next;  // in both files: how many events were ever begun in the file's ring
  std::uint64_t reserved_tail[kPage / 8 - 74];
};

// How a generation's lookup array is read.
enum class LookupKind : std::uint8_t {
  none = 0,      // no members
  table = 1,     // slot = lookup[reduce(hash)]
  ring = 2,      // sorted points with a bucket index; lookup[i] belongs to points[i]
  schedule = 3,  // slot = lookup[ticket % count]
};

// Where the arrays of one group of one generation lie in the table file. Written before the
// service's root names them.
struct GenerationRecord {
  Word64 kind;
  Word64 member_offset;  // Word16[member_count]: every slot of the group, once, sorted
  Word64 member_count;
  Word64 lookup_offset;  // Word16[lookup_count]
  Word64 lookup_count;
  Word64 points_offset;  // Word32[lookup_count], ring only
  Word64 index_offset;   // Word32[index_count], ring only
  Word64 index_count;
  Word64 seconds_offset;  // Word16[lookup_count]: each place's second choice; 0: there are none
  Word64 tier;            // of this group; 0 is used first
  Word64 is_local;        // 1: its instances are in the host's own zone, or zones do not matter
  Word64 group_count;     // of the generation; in its first group only
  std::uint64_t reserved[4];
};

// What workers have to know of a service's policy; engine/policy.hpp says what each word means.
struct PolicyRecord {
  Word64 values[kPolicyWords];
};

enum class Phase : std::uint32_t { free = 0, live = 1, cooling = 2 };

// An identity word: which tenant of this record, and whether it has one.
struct Identity {
  std::uint32_t incarnation = 0;
  Phase phase = Phase::free;
};
[[nodiscard]] constexpr std::uint64_t pack(Identity id) noexcept {
  return static_cast<std::uint64_t>(id.incarnation) << 32 | static_cast<std::uint32_t>(id.phase);
}
[[nodiscard]] constexpr Identity unpack_identity(std::uint64_t word) noexcept {
  const auto phase = static_cast<std::uint32_t>(word);
  return {static_cast<std::uint32_t>(word >> 32),
          phase <= 2 ? static_cast<Phase>(phase) : Phase::free};
}

struct ServiceRecord {
  // The number of the published generation; its top bit says that the whole segment is superseded.
  // Alone on its line: every pick reads it, only a publication writes it.
  Word64 root;
  std::uint64_t root_padding[7];
  Word64 identity;
  Word64 arena_offset;  // this service's two buffers: arena_offset and arena_offset + half_bytes
  Word64 half_bytes;
  Word64 changed_ns;     // CLOCK_REALTIME of the last publication
  Word64 settings_hash;  // of what the published generation was built from
  std::uint64_t reserved[3];
  Word64 name[kServiceNameBytes / 8];
  // Follow from health, so they change without a publication.
  Word64 shares[2];  // of the groups: eight cumulative 16-bit shares, the first in the lowest bits
  Word64 panic;      // of which groups, and what it means; see engine/group_word.hpp
  std::uint64_t mood_padding[5];
  PolicyRecord policies[2];  // by buffer, as generations
  GenerationRecord generations[2][kMaxGroups];
};

struct InstanceRecord {
  Word64 identity;
  Word64 endpoint[3];
  Word64 service;  // index of the service it belongs to
  Word64 weight;   // as configured
  Word64 admitted_ns;
  Word64 changed_ns;  // last change of health
  // The second line changes with every check, so that checks do not disturb the picks' line.
  Word64 cooling_since_ns;
  Word64 checked_ns;
  Word64 check_us;  // how long the last check took
  Word64 checks;
  Word64 check_failures;
  Word64 flips;  // changes of health since admission
  Word64 tier;
  Word64 zone;  // hash of its name; 0: none
};

// What is known of a slot's load, for people; what picks look at is its word in the loads section.
struct LoadRecord {
  Word64 latency_us;       // moving average
  Word64 qps_milli;        // requests a second, in thousandths
  Word64 utilisation_ppm;  // as the backend reported it; 0: not reported
  Word64 multiplier_ppm;   // of the configured weight; 0: never set, which is the whole weight
  Word64 weight_reason;
  Word64 ejections;         // how often it was ejected of late
  Word64 ejected_until_ns;  // CLOCK_REALTIME; 0: it is not; odd: by an operator
  Word64 ramp_since_ns;     // CLOCK_REALTIME at which its slow start began; 0: none
  Word64 agent;             // what its agent asked for; see engine/agent_word.hpp
};

// One a service, kept up to date by the checker.
struct ServiceLoadRecord {
  Word64 in_flight;
  Word64 hot_threshold;   // requests in flight above which an instance is hot
  Word64 weight_sum;      // effective weights of the usable instances, in their unit
  Word64 group_parts[2];  // of the sum, in 1/65535: eight of 16 bits, group 0's in the lowest
  std::uint64_t reserved[3];
};

// What a row (or the checker's carried record) counts for one slot. Only ever grows; the number of
// requests in flight is `started` less the eight outcomes.
enum CounterIndex : unsigned {
  kStarted = 0,
  kSuccess = 1,
  kConnectFailure = 2,
  kTimeout = 3,
  kReset = 4,
  kServerError = 5,
  kOverload = 6,
  kCancelled = 7,
  kAbandoned = 8,  // on the second line, with what only some reports touch
  kLatencySumUs = 9,
  kLatencyCount = 10,
  kHeldTokens = 11,  // what this row holds of limits now: not a sum, see shm/tokens.hpp
};
inline constexpr unsigned kFirstOutcome = kSuccess;
inline constexpr unsigned kLastOutcome = kAbandoned;
inline constexpr unsigned kCounterCount = 11;

struct CounterRecord {
  Word64 values[16];
};

// What a row counts of one service, and in the table what earlier segments counted of it. The
// buckets only ever grow.
struct RowServiceRecord {
  Word64 latency_buckets[kLatencyBuckets];
  Word64 latency_sum_us;
  Word64 seen_epoch;  // the newest generation that the row's handle has read; 0: none; shm/seen.hpp
  std::uint64_t reserved[2];
};

// One transition in the flight recorder, whole in itself, so that it can still be read when its
// instance, its service and everybody who ran are gone.
struct EventRecord {
  Word64 commit;   // which event this is, and whether it is whole; see shm/events.hpp
  Word64 time_ns;  // CLOCK_REALTIME
  Word64 what;     // kind, by whom, from, to
  Word64 detail;   // a pid and a row, a segment, a limit: as the kind says; see shm/event.hpp
  Word64 value;    // as the kind says
  Word64 endpoint[3];
  Word64 service_name[kServiceNameBytes / 8];
};

// Who owns a row. Written only by the holder of the lock on the row's byte.
struct RowRecord {
  Word64 claim;  // an Identity: free or live
  Word64 pid;
  Word64 tid;
  Word64 start_ticks;  // of the process, as in /proc/PID/stat, against recycled pids in reports
  Word64 claimed_ns;
  Word64 command[2];  // up to 15 bytes of the process's name
  Word64 reaps;       // how many owners died without leaving
  std::uint64_t reserved[8];
};

// A row's memory: a JournalRecord, a RowServiceRecord a service, a CounterRecord a slot.

// In front of a row's counters: what its owner touched of late, for the checker's load board.
struct JournalRecord {
  Word64 head;     // how many entries were ever written
  Word64 pending;  // a limit that is being taken or given back; see shm/tokens.hpp
  std::uint64_t padding[14];
  Word16 entries[kJournalEntries];
};

// What the workers of the host share of a service: lines that picks write, kept away from lines
// that picks only read.
struct SharedServiceRecord {
  Word64 next_ticket;  // the host-wide order of a round robin
  std::uint64_t ticket_padding[15];
  Word64 open_breakers;  // the ejection budget
  // The service's sticky keys, written by the checker alone as a generation is: `sticky_epoch` is
  // the root of two buffers, each with the present key and the one before in two words each.
  Word64 sticky_keys[2][4];
  Word64 sticky_epoch;  // 0: there were never any
  std::uint64_t read_padding[6];
  Word64 tokens;        // requests in flight, when they are limited
  Word64 retry_tokens;  // retries in flight, when they are
  // How many failed requests were ever reported, while the checker watches for them: counted after
  // the instance's ([mm:failure-counts]).
  Word64 failures;
  std::uint64_t token_padding[13];
};

// What the workers of the host share of a slot, besides its breaker.
struct SharedInstanceRecord {
  Word64 window;  // outcomes of late, for the breaker's failure rate
  Word64 permit;  // who holds the half-open permit
  Word64 reported_load;
  Word64 reports;   // how many loads were reported, about
  Word64 failures;  // how many failed requests were ever reported, while somebody watches
  std::uint64_t line_padding[3];
  Word64 tokens;  // requests in flight, when they are limited
  std::uint64_t padding[7];
};

// --- the ABI, pinned ---------------------------------------------------------------------------

#define BALLAST_LAYOUT_FIELDS(X)             \
  X(FilePreamble, magic, 0)                  \
  X(FilePreamble, major, 8)                  \
  X(FilePreamble, minor, 10)                 \
  X(FilePreamble, byte_order, 12)            \
  X(FilePreamble, layout_hash, 16)           \
  X(FilePreamble, file_bytes, 24)            \
  X(FilePreamble, boot_id, 32)               \
  X(FilePreamble, created_ns, 48)            \
  X(FilePreamble, segment_id, 56)            \
  X(Locator, active_segment, 64)             \
  X(Locator, term, 72)                       \
  X(Locator, holder_pid, 80)                 \
  X(Locator, holder_since_ns, 88)            \
  X(Locator, handover_term, 96)              \
  X(Section, id, 0)                          \
  X(Section, stride, 4)                      \
  X(Section, offset, 8)                      \
  X(Section, count, 16)                      \
  X(FileHeader, section_count, 64)           \
  X(FileHeader, sections, 72)                \
  X(FileHeader, heartbeat, 512)              \
  X(FileHeader, heartbeat_ns, 520)           \
  X(FileHeader, checker_pid, 528)            \
  X(FileHeader, checker_term, 536)           \
  X(FileHeader, checker_since_ns, 544)       \
  X(FileHeader, previous_segment, 552)       \
  X(FileHeader, superseded_by, 560)          \
  X(FileHeader, load_beat, 568)              \
  X(FileHeader, tokens_dirty, 576)           \
  X(FileHeader, events_next, 584)            \
  X(GenerationRecord, kind, 0)               \
  X(GenerationRecord, member_offset, 8)      \
  X(GenerationRecord, member_count, 16)      \
  X(GenerationRecord, lookup_offset, 24)     \
  X(GenerationRecord, lookup_count, 32)      \
  X(GenerationRecord, points_offset, 40)     \
  X(GenerationRecord, index_offset, 48)      \
  X(GenerationRecord, index_count, 56)       \
  X(GenerationRecord, seconds_offset, 64)    \
  X(GenerationRecord, tier, 72)              \
  X(GenerationRecord, is_local, 80)          \
  X(GenerationRecord, group_count, 88)       \
  X(PolicyRecord, values, 0)                 \
  X(ServiceRecord, root, 0)                  \
  X(ServiceRecord, identity, 64)             \
  X(ServiceRecord, arena_offset, 72)         \
  X(ServiceRecord, half_bytes, 80)           \
  X(ServiceRecord, changed_ns, 88)           \
  X(ServiceRecord, settings_hash, 96)        \
  X(ServiceRecord, name, 128)                \
  X(ServiceRecord, shares, 192)              \
  X(ServiceRecord, panic, 208)               \
  X(ServiceRecord, policies, 256)            \
  X(ServiceRecord, generations, 768)         \
  X(InstanceRecord, identity, 0)             \
  X(InstanceRecord, endpoint, 8)             \
  X(InstanceRecord, service, 32)             \
  X(InstanceRecord, weight, 40)              \
  X(InstanceRecord, admitted_ns, 48)         \
  X(InstanceRecord, changed_ns, 56)          \
  X(InstanceRecord, cooling_since_ns, 64)    \
  X(InstanceRecord, checked_ns, 72)          \
  X(InstanceRecord, check_us, 80)            \
  X(InstanceRecord, checks, 88)              \
  X(InstanceRecord, check_failures, 96)      \
  X(InstanceRecord, flips, 104)              \
  X(InstanceRecord, tier, 112)               \
  X(InstanceRecord, zone, 120)               \
  X(LoadRecord, latency_us, 0)               \
  X(LoadRecord, qps_milli, 8)                \
  X(LoadRecord, utilisation_ppm, 16)         \
  X(LoadRecord, multiplier_ppm, 24)          \
  X(LoadRecord, weight_reason, 32)           \
  X(LoadRecord, ejections, 40)               \
  X(LoadRecord, ejected_until_ns, 48)        \
  X(LoadRecord, ramp_since_ns, 56)           \
  X(LoadRecord, agent, 64)                   \
  X(ServiceLoadRecord, in_flight, 0)         \
  X(ServiceLoadRecord, hot_threshold, 8)     \
  X(ServiceLoadRecord, weight_sum, 16)       \
  X(ServiceLoadRecord, group_parts, 24)      \
  X(CounterRecord, values, 0)                \
  X(RowServiceRecord, latency_buckets, 0)    \
  X(RowServiceRecord, latency_sum_us, 224)   \
  X(RowServiceRecord, seen_epoch, 232)       \
  X(EventRecord, commit, 0)                  \
  X(EventRecord, time_ns, 8)                 \
  X(EventRecord, what, 16)                   \
  X(EventRecord, detail, 24)                 \
  X(EventRecord, value, 32)                  \
  X(EventRecord, endpoint, 40)               \
  X(EventRecord, service_name, 64)           \
  X(RowRecord, claim, 0)                     \
  X(RowRecord, pid, 8)                       \
  X(RowRecord, tid, 16)                      \
  X(RowRecord, start_ticks, 24)              \
  X(RowRecord, claimed_ns, 32)               \
  X(RowRecord, command, 40)                  \
  X(RowRecord, reaps, 56)                    \
  X(JournalRecord, head, 0)                  \
  X(JournalRecord, pending, 8)               \
  X(JournalRecord, entries, 128)             \
  X(SharedServiceRecord, next_ticket, 0)     \
  X(SharedServiceRecord, open_breakers, 128) \
  X(SharedServiceRecord, sticky_keys, 136)   \
  X(SharedServiceRecord, sticky_epoch, 200)  \
  X(SharedServiceRecord, tokens, 256)        \
  X(SharedServiceRecord, retry_tokens, 264)  \
  X(SharedServiceRecord, failures, 272)      \
  X(SharedInstanceRecord, window, 0)         \
  X(SharedInstanceRecord, permit, 8)         \
  X(SharedInstanceRecord, reported_load, 16) \
  X(SharedInstanceRecord, reports, 24)       \
  X(SharedInstanceRecord, failures, 32)      \
  X(SharedInstanceRecord, tokens, 64)

#define BALLAST_LAYOUT_SIZES(X) \
  X(FilePreamble, 64)           \
  X(Locator, 4096)              \
  X(Section, 24)                \
  X(FileHeader, 4096)           \
  X(GenerationRecord, 128)      \
  X(PolicyRecord, 256)          \
  X(ServiceRecord, 2816)        \
  X(LoadRecord, 72)             \
  X(ServiceLoadRecord, 64)      \
  X(JournalRecord, 2176)        \
  X(SharedServiceRecord, 384)   \
  X(SharedInstanceRecord, 128)  \
  X(InstanceRecord, 128)        \
  X(CounterRecord, 128)         \
  X(RowRecord, 128)             \
  X(RowServiceRecord, 256)      \
  X(EventRecord, 128)

#define BALLAST_ASSERT_OFFSET(type, field, at) \
  static_assert(offsetof(type, field) == (at), #type "." #field " moved: the ABI has changed");
#define BALLAST_ASSERT_SIZE(type, bytes)                                      \
  static_assert(sizeof(type) == (bytes), #type " grew: the ABI has changed"); \
  static_assert(std::is_standard_layout_v<type>);
BALLAST_LAYOUT_FIELDS(BALLAST_ASSERT_OFFSET)
BALLAST_LAYOUT_SIZES(BALLAST_ASSERT_SIZE)
#undef BALLAST_ASSERT_OFFSET
#undef BALLAST_ASSERT_SIZE

namespace detail {
// FNV-1a over 64-bit words: not a good hash, but a constexpr one, and all that is asked of it is
// that an accidental change of the layout changes it.
constexpr std::uint64_t mix(std::uint64_t hash, std::uint64_t value) noexcept {
  for (int i = 0; i < 8; ++i)
    hash = (hash ^ (value >> (8 * i) & 0xff)) * 0x100000001b3;
  return hash;
}
constexpr std::uint64_t layout_hash() noexcept {
  std::uint64_t h = 0xcbf29ce484222325;
#define BALLAST_MIX_OFFSET(type, field, at) h = mix(h, offsetof(type, field));
#define BALLAST_MIX_SIZE(type, bytes) h = mix(h, sizeof(type));
  BALLAST_LAYOUT_FIELDS(BALLAST_MIX_OFFSET)
  BALLAST_LAYOUT_SIZES(BALLAST_MIX_SIZE)
#undef BALLAST_MIX_OFFSET
#undef BALLAST_MIX_SIZE
  for (const std::uint64_t constant : {std::uint64_t{kMajor}, std::uint64_t{kCounterCount}}) {
    h = mix(h, constant);
  }
  return h;
}
}  // namespace detail

inline constexpr std::uint64_t kLayoutHash = detail::layout_hash();

}  // namespace ballast::shm
