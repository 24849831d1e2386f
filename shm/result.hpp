// How set-up code in Ballast fails: a value that says what was tried, on which path, what the
// system answered, and what a person can do about it. Nothing on the pick path uses it, since it
// allocates.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace ballast::shm {

enum class ErrorKind {
  system,        // a system call failed: `code` is its errno
  not_found,     // no such directory, file or segment: usually no checker has run yet
  corrupt,       // a mapped file holds what no Ballast could have written
  incompatible,  // written by another version, another byte order or before a reboot
  busy,          // somebody else holds it: the lease, or all rows
  full,          // no room: disk, services, instances or rows
  invalid,       // the caller's argument
};

struct Error {
  ErrorKind kind = ErrorKind::system;
  int code = 0;           // errno, or 0
  std::string operation;  // "map", "lock the lease", ...
  std::string path;
  std::string detail;  // what is wrong and what to do, in words

  // One line: "map /dev/shm/ballast/x/table.1: Permission denied: run as ...".
  [[nodiscard]] std::string to_text() const;
};

[[nodiscard]] Error system_error(int code, std::string operation, std::string path,
                                 std::string detail = {});

// Either a T or an Error. Test it, then dereference it.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] explicit operator bool() const noexcept { return state_.index() == 0; }
  [[nodiscard]] T& operator*() { return std::get<0>(state_); }
  [[nodiscard]] const T& operator*() const { return std::get<0>(state_); }
  [[nodiscard]] T* operator->() { return &std::get<0>(state_); }
  [[nodiscard]] const T* operator->() const { return &std::get<0>(state_); }
  [[nodiscard]] const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Done {};
using Status = Result<Done>;

}  // namespace ballast::shm
