// The C API over Handle: checks what comes from outside, and turns failures into a status and a
// line of text. Nothing here is on a pick's path but a few comparisons.
#include "engine/ballast.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include "engine/handle.hpp"
#include "engine/hash.hpp"
#include "engine/sticky.hpp"
#include "shm/endpoint.hpp"
#include "shm/names.hpp"
#include "shm/paths.hpp"

namespace {

using ballast::engine::Handle;
using ballast::shm::ErrorKind;

// A ballast_t has no definition: a pointer to one is a pointer to a Handle under another name.
[[gnu::always_inline]] inline Handle& handle_of(ballast_t* opaque) noexcept {
  return *reinterpret_cast<Handle*>(opaque);
}

constexpr std::size_t kOptionsSize = sizeof(ballast_options_t);
constexpr std::size_t kPickSize = sizeof(ballast_pick_t);
constexpr std::size_t kPickOptionsSize = sizeof(ballast_pick_options_t);
constexpr std::size_t kInfoSize = sizeof(ballast_info_t);
constexpr std::size_t kResultSize = sizeof(ballast_result_t);
// As it was before it had `sticky`.
constexpr std::size_t kFirstPickOptionsSize = 24;
// ABI 1, for ever: newer releases add behind the end.
static_assert(kOptionsSize == 24 && kPickSize == 64 && kPickOptionsSize == 40 && kInfoSize == 56 &&
              kResultSize == 40);
#define BALLAST_ASSERT_AT(type, field, at) \
  static_assert(offsetof(type, field) == (at), #type "." #field " moved: the ABI has changed")
BALLAST_ASSERT_AT(ballast_options_t, name_space, 8);
BALLAST_ASSERT_AT(ballast_options_t, directory, 16);
BALLAST_ASSERT_AT(ballast_pick_t, slot, 4);
BALLAST_ASSERT_AT(ballast_pick_t, incarnation, 8);
BALLAST_ASSERT_AT(ballast_pick_t, row, 12);
BALLAST_ASSERT_AT(ballast_pick_t, row_incarnation, 16);
BALLAST_ASSERT_AT(ballast_pick_t, port, 20);
BALLAST_ASSERT_AT(ballast_pick_t, family, 22);
BALLAST_ASSERT_AT(ballast_pick_t, reason, 23);
BALLAST_ASSERT_AT(ballast_pick_t, segment, 24);
BALLAST_ASSERT_AT(ballast_pick_t, epoch, 32);
BALLAST_ASSERT_AT(ballast_pick_t, address, 40);
BALLAST_ASSERT_AT(ballast_pick_t, attempts, 56);
BALLAST_ASSERT_AT(ballast_pick_t, reported, 58);
BALLAST_ASSERT_AT(ballast_pick_t, flags, 59);
BALLAST_ASSERT_AT(ballast_pick_t, permit, 60);
BALLAST_ASSERT_AT(ballast_pick_options_t, tried_count, 8);
BALLAST_ASSERT_AT(ballast_pick_options_t, tried, 16);
BALLAST_ASSERT_AT(ballast_pick_options_t, sticky, 24);
BALLAST_ASSERT_AT(ballast_pick_options_t, sticky_length, 32);
BALLAST_ASSERT_AT(ballast_info_t, segment, 8);
BALLAST_ASSERT_AT(ballast_info_t, row, 16);
BALLAST_ASSERT_AT(ballast_info_t, superseded, 20);
BALLAST_ASSERT_AT(ballast_info_t, heartbeat, 24);
BALLAST_ASSERT_AT(ballast_info_t, heartbeat_ns, 32);
BALLAST_ASSERT_AT(ballast_info_t, checker_pid, 40);
BALLAST_ASSERT_AT(ballast_info_t, checker_term, 48);
BALLAST_ASSERT_AT(ballast_result_t, outcome, 8);
BALLAST_ASSERT_AT(ballast_result_t, retry_after_ms, 12);
BALLAST_ASSERT_AT(ballast_result_t, latency_us, 16);
BALLAST_ASSERT_AT(ballast_result_t, load, 24);
BALLAST_ASSERT_AT(ballast_result_t, load_length, 32);
#undef BALLAST_ASSERT_AT
static_assert(BALLAST_STICKY_TEXT == ballast::engine::kStickyText + 1);

thread_local char last_error[512] = "no error";

ballast_status_t fail(ballast_status_t status, const char* text) noexcept {
  std::snprintf(last_error, sizeof last_error, "%s", text);
  return status;
}

// What is shown of the name is short, and has nothing that would change a terminal's mind.
ballast_status_t fail_name(std::string_view name) {
  std::string shown(name.substr(0, ballast::shm::kMaxNameBytes + 1));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  const std::string rule(ballast::shm::kNameRule);
  return fail(BALLAST_INVALID_ARGUMENT,
              ("ballast_attach: \"" + shown + "\" is no namespace's name (" + rule +
               "); a path is given as `directory`")
                  .c_str());
}

ballast_status_t fail(const ballast::shm::Error& error) {
  ballast_status_t status = BALLAST_SYSTEM_ERROR;
  switch (error.kind) {
    case ErrorKind::not_found:
      status = BALLAST_NOT_FOUND;
      break;
    case ErrorKind::corrupt:
      status = BALLAST_CORRUPT;
      break;
    case ErrorKind::incompatible:
      status = BALLAST_INCOMPATIBLE;
      break;
    case ErrorKind::invalid:
      status = BALLAST_INVALID_ARGUMENT;
      break;
    case ErrorKind::system:
    case ErrorKind::busy:
    case ErrorKind::full:
      break;
  }
  return fail(status, error.to_text().c_str());
}

// Runs what may allocate and so may throw; no exception leaves the library.
template <class Call>
ballast_status_t guarded(Call&& call) noexcept {
  try {
    return call();
  } catch (const std::bad_alloc&) {
    return fail(BALLAST_SYSTEM_ERROR, "out of memory");
  } catch (const std::exception& e) {
    return fail(BALLAST_SYSTEM_ERROR, e.what());
  }
}

// A struct of options from a program of another release: not shorter than it was in the first
// release that had it, and what lies behind the part known here must be zero, or it would be
// ignored in silence.
template <class Struct>
bool acceptable(const Struct& options, std::size_t first_size = sizeof(Struct)) noexcept {
  if (options.size < first_size || options.size > 4096) return false;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&options);
  for (std::size_t i = sizeof(Struct); i < options.size; ++i) {
    if (bytes[i] != 0) return false;
  }
  return true;
}

ballast::shm::Endpoint endpoint_of(const ballast_pick_t& pick) noexcept {
  ballast::shm::Endpoint endpoint;
  if (pick.family != 4 && pick.family != 6) return endpoint;
  endpoint.family = static_cast<ballast::shm::Family>(pick.family);
  endpoint.port = pick.port;
  std::memcpy(endpoint.address.data(), pick.address, sizeof pick.address);
  return endpoint;
}

// False if they are not what a program may ask for.
bool read_options(const ballast_pick_options_t& given, Handle::Wishes& out) noexcept {
  if (!acceptable(given, kFirstPickOptionsSize)) return false;
  ballast_pick_options_t options{};
  std::memcpy(&options, &given, std::min(given.size, kPickOptionsSize));
  if (options.tried_count > BALLAST_MAX_TRIED ||
      (options.tried_count != 0 && options.tried == nullptr) ||
      (options.sticky_length != 0 && options.sticky == nullptr)) {
    return false;
  }
  for (std::size_t i = 0; i < options.tried_count; ++i) {
    if (options.tried[i] == nullptr || options.tried[i]->size < kPickSize) return false;
  }
  out = {{options.tried, options.tried_count}, {options.sticky, options.sticky_length}};
  return true;
}

[[gnu::noinline, gnu::cold]] ballast_status_t pick_with_options(ballast_t* self,
                                                                ballast_service_t service,
                                                                const void* key, std::size_t length,
                                                                const ballast_pick_options_t& given,
                                                                ballast_pick_t& out) noexcept {
  Handle::Wishes wishes;
  if (!read_options(given, wishes)) return BALLAST_INVALID_ARGUMENT;
  if (wishes.tried.empty() && wishes.sticky.empty())
    return handle_of(self).pick(service, key, length, out);
  return handle_of(self).pick_wishing(service, key, length, wishes, out);
}

}  // namespace

extern "C" {

unsigned ballast_abi(void) {
  return BALLAST_ABI;
}

ballast_status_t ballast_attach(const ballast_options_t* options, ballast_t** out) {
  if (out == nullptr) return fail(BALLAST_INVALID_ARGUMENT, "ballast_attach: `out` is NULL");
  *out = nullptr;
  if (options != nullptr && !acceptable(*options)) {
    return fail(BALLAST_INVALID_ARGUMENT,
                "ballast_attach: set options.size to sizeof(ballast_options_t); fields that this "
                "library does not know must be zero");
  }
  return guarded([&] {
    std::string directory;
    if (options != nullptr && options->directory != nullptr) directory = options->directory;
    if (directory.empty()) {
      const bool named = options != nullptr && options->name_space != nullptr;
      const char* const name = named ? options->name_space : ballast::shm::kDefaultNamespace;
      if (ballast::shm::judge_name({name, ::strnlen(name, ballast::shm::kMaxNameBytes + 1)}) !=
          ballast::shm::NameFault::none)
        return fail_name(name);
      directory = ballast::shm::default_directory(name);
    }
    auto handle = Handle::attach(std::move(directory));
    if (!handle) return fail(handle.error());
    *out = reinterpret_cast<ballast_t*>(handle->release());
    return BALLAST_OK;
  });
}

void ballast_detach(ballast_t* handle) {
  if (handle != nullptr) delete &handle_of(handle);
}

ballast_status_t ballast_find_service(ballast_t* handle, const char* name, ballast_service_t* out) {
  if (out != nullptr) *out = UINT32_MAX;
  if (handle == nullptr) return BALLAST_NOT_ATTACHED;
  if (out == nullptr || name == nullptr)
    return fail(BALLAST_INVALID_ARGUMENT, "ballast_find_service: NULL");
  const std::size_t length = ::strnlen(name, ballast::shm::kServiceNameBytes);
  if (length == 0 || length == ballast::shm::kServiceNameBytes)
    return fail(BALLAST_INVALID_ARGUMENT, "ballast_find_service: a name has 1 to 63 bytes");
  return guarded([&] {
    const ballast_status_t status = handle_of(handle).find_service({name, length}, *out);
    if (status == BALLAST_OK || status == BALLAST_SERVICE_UNKNOWN) return status;
    return fail(status, ballast_status_text(status));
  });
}

ballast_status_t ballast_pick(ballast_t* handle, ballast_service_t service, const void* key,
                              size_t length, const ballast_pick_options_t* options,
                              ballast_pick_t* out) {
  if (out == nullptr || out->size < kPickSize) [[unlikely]]
    return BALLAST_INVALID_ARGUMENT;
  if (handle == nullptr || (key == nullptr && length != 0)) [[unlikely]] {
    out->reported = 1;
    return handle == nullptr ? BALLAST_NOT_ATTACHED : BALLAST_INVALID_ARGUMENT;
  }
  if (options == nullptr) [[likely]]
    return handle_of(handle).pick(service, key, length, *out);
  out->reported = 1;
  return pick_with_options(handle, service, key, length, *options, *out);
}

ballast_status_t ballast_report(ballast_t* handle, ballast_pick_t* pick, ballast_outcome_t outcome,
                                uint64_t latency_us) {
  if (handle == nullptr) [[unlikely]]
    return BALLAST_NOT_ATTACHED;
  if (pick == nullptr || pick->size < kPickSize) [[unlikely]]
    return BALLAST_INVALID_ARGUMENT;
  return handle_of(handle).report(*pick, outcome, latency_us);
}

ballast_status_t ballast_report_full(ballast_t* handle, ballast_pick_t* pick,
                                     const ballast_result_t* result) {
  if (handle == nullptr) return BALLAST_NOT_ATTACHED;
  if (pick == nullptr || pick->size < kPickSize || result == nullptr || !acceptable(*result) ||
      (result->load == nullptr && result->load_length != 0)) {
    return BALLAST_INVALID_ARGUMENT;
  }
  return handle_of(handle).report_full(*pick, *result);
}

ballast_status_t ballast_abandon(ballast_t* handle, ballast_pick_t* pick) {
  return ballast_report(handle, pick, BALLAST_ABANDONED, BALLAST_NO_LATENCY);
}

ballast_status_t ballast_pick_sockaddr(const ballast_pick_t* pick, struct sockaddr_storage* out,
                                       socklen_t* length) {
  if (pick == nullptr || pick->size < kPickSize || out == nullptr || length == nullptr)
    return BALLAST_INVALID_ARGUMENT;
  *length = endpoint_of(*pick).to_sockaddr(*out);
  return *length == 0 ? BALLAST_INVALID_ARGUMENT : BALLAST_OK;
}

size_t ballast_format_address(const ballast_pick_t* pick, char* buffer, size_t size) {
  if (buffer != nullptr && size != 0) buffer[0] = '\0';
  if (pick == nullptr || pick->size < kPickSize) return 0;
  try {
    const std::string text = endpoint_of(*pick).to_text();
    if (buffer != nullptr && size != 0) std::snprintf(buffer, size, "%s", text.c_str());
    return text.size();
  } catch (const std::bad_alloc&) {
    return 0;
  }
}

ballast_status_t ballast_sticky_token(ballast_t* handle, ballast_service_t service,
                                      const ballast_pick_t* pick, char* buffer, size_t size) {
  if (buffer != nullptr && size != 0) buffer[0] = '\0';
  if (handle == nullptr) return BALLAST_NOT_ATTACHED;
  if (pick == nullptr || pick->size < kPickSize || buffer == nullptr || size < BALLAST_STICKY_TEXT)
    return BALLAST_INVALID_ARGUMENT;
  const ballast_status_t status = handle_of(handle).sticky_token(
      service, *pick,
      std::span<char, ballast::engine::kStickyText>(buffer, BALLAST_STICKY_TEXT - 1));
  if (status == BALLAST_OK) buffer[BALLAST_STICKY_TEXT - 1] = '\0';
  return status;
}

size_t ballast_usable(ballast_t* handle, ballast_service_t service,
                      const ballast_pick_options_t* options, size_t limit) {
  Handle::Wishes wishes;
  if (handle == nullptr || (options != nullptr && !read_options(*options, wishes))) return 0;
  return handle_of(handle).count_usable(service, wishes, limit);
}

uint64_t ballast_key_hash(const void* key, size_t length) {
  return ballast::engine::key_hash(key, length);
}

uint64_t ballast_epoch(ballast_t* handle, ballast_service_t service) {
  return handle == nullptr ? 0 : handle_of(handle).epoch(service);
}

ballast_status_t ballast_info(ballast_t* handle, ballast_info_t* out) {
  if (out == nullptr || out->size < kInfoSize) return BALLAST_INVALID_ARGUMENT;
  if (handle == nullptr) return BALLAST_NOT_ATTACHED;
  handle_of(handle).describe(*out);
  return BALLAST_OK;
}

const char* ballast_warning(ballast_t* handle) {
  return handle == nullptr ? nullptr : handle_of(handle).warning();
}

const char* ballast_last_error(void) {
  return last_error;
}

const char* ballast_status_text(ballast_status_t status) {
  switch (status) {
    case BALLAST_OK:
      return "ok";
    case BALLAST_NO_INSTANCE:
      return "no instance may be used: all are down, out or excluded, or the service is to fail";
    case BALLAST_SERVICE_UNKNOWN:
      return "no service of that name is published";
    case BALLAST_STALE:
      return "the table is being replaced faster than it can be read; pick again";
    case BALLAST_NOT_ATTACHED:
      return "not attached";
    case BALLAST_INVALID_ARGUMENT:
      return "invalid argument";
    case BALLAST_WRONG_HANDLE:
      return "the pick belongs to another handle, or to the process before fork()";
    case BALLAST_ALREADY_REPORTED:
      return "the pick has been reported already, or never succeeded";
    case BALLAST_SYSTEM_ERROR:
      return "the system refused";
    case BALLAST_NOT_FOUND:
      return "nothing is published there; start ballastd";
    case BALLAST_CORRUPT:
      return "the shared files are damaged; stop ballastd, remove its directory, start it again";
    case BALLAST_INCOMPATIBLE:
      return "the shared files are of another version, byte order or boot";
    case BALLAST_RETRY_BUDGET:
      return "as many retries as the service allows are in flight";
    case BALLAST_LIMITED:
      return "all instances that could be used have as many requests in flight as they may";
    case BALLAST_NO_STICKY_KEY:
      return "the service has no sticky key; set sticky_key_file in ballastd's configuration";
  }
  return "unknown";
}

const char* ballast_outcome_text(ballast_outcome_t outcome) {
  switch (outcome) {
    case BALLAST_SUCCESS:
      return "success";
    case BALLAST_CONNECT_FAILURE:
      return "connect_failure";
    case BALLAST_TIMEOUT:
      return "timeout";
    case BALLAST_RESET:
      return "reset";
    case BALLAST_SERVER_ERROR:
      return "server_error";
    case BALLAST_OVERLOAD:
      return "overload";
    case BALLAST_CANCELLED:
      return "cancelled";
    case BALLAST_ABANDONED:
      return "abandoned";
  }
  return "unknown";
}

const char* ballast_reason_text(ballast_reason_t reason) {
  switch (reason) {
    case BALLAST_FIRST_CHOICE:
      return "first_choice";
    case BALLAST_MOVED_UNUSABLE:
      return "moved_unusable";
    case BALLAST_MOVED_EXCLUDED:
      return "moved_excluded";
    case BALLAST_MOVED_BREAKER:
      return "moved_breaker";
    case BALLAST_MOVED_LOAD:
      return "moved_load";
    case BALLAST_STICKY:
      return "sticky";
    case BALLAST_STICKY_LOST:
      return "sticky_lost";
    case BALLAST_PANIC:
      return "panic";
    case BALLAST_TRIAL:
      return "trial";
  }
  return "unknown";
}

}  // extern "C"
