// Making the locator, and taking and leaving the lease.
#include "shm/lease.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "shm/crash_point.hpp"
#include "shm/host.hpp"
#include "shm/paths.hpp"
#include "shm/views.hpp"

namespace ballast::shm {

namespace {

constexpr int kMaxLocatorChanges = 16;  // while one acquire() looks at it

std::string local_time(std::uint64_t ns) {
  const auto seconds = static_cast<std::time_t>(ns / 1'000'000'000U);
  std::tm parts{};
  char text[32] = {};
  if (::localtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text, sizeof text, "%F %T", &parts) == 0) {
    return "an unknown time";
  }
  return text;
}

Result<MappedFile> open_or_make(const std::string& path) {
  for (int attempt = 0; attempt < kMaxLocatorChanges; ++attempt) {
    auto file = MappedFile::open(path, MappedFile::Access::read_write, true);
    if (file || file.error().code != ENOENT) return file;
    auto made =
        MappedFile::create(path, sizeof(Locator), sizeof(Locator), 0644,
                           /*keep_existing=*/true, [](std::span<std::byte> bytes) -> Status {
                             auto& locator = *reinterpret_cast<Locator*>(bytes.data());
                             fill_preamble(locator.preamble, bytes.size(), 0);
                             BALLAST_POINT("locator.before_magic");
                             locator.preamble.magic = kLocatorMagic;
                             return Done{};
                           });
    // Another checker may have been first: then open what it made. ENOENT: it has the lease by now
    // and has cleared away our half-made file.
    if (made || (made.error().code != EEXIST && made.error().code != ENOENT)) return made;
  }
  return system_error(ENOENT, "open", path, "it disappears as soon as it is made");
}

Error held_by_another(const std::string& path, const Locator& locator) {
  const auto pid = locator.holder_pid.load(std::memory_order_relaxed);
  const auto since = locator.holder_since_ns.load(std::memory_order_relaxed);
  return Error{ErrorKind::busy, 0, "take the lease of", path,
               "ballastd with pid " + std::to_string(pid) + " has held it since " +
                   local_time(since) + "; stop it, or take over with --handover"};
}

}  // namespace

Lease::Lease(std::string directory, MappedFile file, LockFile lock, Locator* locator)
    : directory_(std::move(directory)),
      file_(std::move(file)),
      lock_(std::move(lock)),
      locator_(locator) {}

Result<Lease> Lease::acquire(const std::string& directory, Wait wait) {
  const std::string path = locator_path(directory);
  for (int attempt = 0; attempt < kMaxLocatorChanges; ++attempt) {
    if (const Status made = make_directory(directory); !made) return made.error();
    if (auto file = open_or_make(path); !file) return file.error();
    auto lock = LockFile::open(path, /*writable=*/true);
    if (!lock && lock.error().code == ENOENT) continue;
    if (!lock) return lock.error();
    const Status locked = wait == Wait::yes ? lock->lock(0) : lock->try_lock(0);
    if (!locked && locked.error().kind != ErrorKind::busy) return locked.error();
    auto file = MappedFile::open(path, MappedFile::Access::read_write, true);
    // What is locked must be what the name means, or two could hold the lease: the locator may have
    // been removed and made again while this one waited or opened.
    if (!lock->is_at(path)) continue;
    if (!file) return file.error();
    // The boot may differ: the locator's lock and the term are good all the same.
    auto locator = open_locator_writable(*file, BootCheck::skipped);
    if (!locator) return locator.error();
    if (!locked) return held_by_another(path, **locator);
    BALLAST_POINT("takeover.locked");
    Lease lease(directory, std::move(*file), std::move(*lock), *locator);
    lease.begin_term();
    return lease;
  }
  return system_error(ENOENT, "open", path, "it is replaced as soon as it is made");
}

void Lease::begin_term() {
  since_ns_ = realtime_ns();
  term_ = locator_->term.load(std::memory_order_relaxed) + 1;
  // [mm:lease] the lock orders holders; release lets a reader of the term see who it belongs to.
  locator_->holder_pid.store(static_cast<std::uint64_t>(::getpid()), std::memory_order_relaxed);
  locator_->holder_since_ns.store(since_ns_, std::memory_order_relaxed);
  locator_->term.store(term_, std::memory_order_release);  // [mm:lease]
  const auto boot = boot_id();
  auto& preamble = locator_->preamble;
  if (std::memcmp(preamble.boot_id, boot.data(), boot.size()) != 0) {
    locator_->active_segment.store(0, std::memory_order_relaxed);
    std::memcpy(preamble.boot_id, boot.data(), boot.size());
  }
  BALLAST_POINT("takeover.termed");
}

Result<std::uint64_t> Lease::request_handover(const std::string& directory) {
  auto file =
      MappedFile::open(locator_path(directory), MappedFile::Access::read_write, /*populate=*/true);
  if (!file) return file.error();
  auto locator = open_locator_writable(*file, BootCheck::skipped);
  if (!locator) return locator.error();
  // [mm:lease] pairs with the release store of the term in acquire().
  const std::uint64_t term = (*locator)->term.load(std::memory_order_acquire);
  // [mm:lease] nothing travels with the request: the kernel lock orders the two holders.
  (*locator)->handover_term.store(term, std::memory_order_relaxed);
  return term;
}

void Lease::withdraw_handover(const std::string& directory, std::uint64_t term) {
  auto file =
      MappedFile::open(locator_path(directory), MappedFile::Access::read_write, /*populate=*/true);
  if (!file) return;
  auto locator = open_locator_writable(*file, BootCheck::skipped);
  if (!locator) return;
  // [mm:lease] as in request_handover().
  (*locator)->handover_term.compare_exchange_strong(term, 0, std::memory_order_relaxed,
                                                    std::memory_order_relaxed);
}

bool Lease::handover_requested() const noexcept {
  // [mm:lease] as in request_handover().
  return locator_->handover_term.load(std::memory_order_relaxed) == term_;
}

std::uint64_t Lease::active_segment() const noexcept {
  return locator_->active_segment.load(std::memory_order_relaxed);
}

void Lease::set_active_segment(std::uint64_t id) noexcept {
  // [mm:growth] pairs with the acquire load of whoever attaches: the new segment is whole before it
  // is named.
  locator_->active_segment.store(id, std::memory_order_release);
}

bool Lease::still_in_place() const {
  return lock_.is_at(locator_path(directory_));
}

void Lease::leave() noexcept {
  locator_->holder_pid.store(0, std::memory_order_relaxed);
  lock_.unlock(0);
}

}  // namespace ballast::shm
