// The one-line form of an error.
#include "shm/result.hpp"

#include <cstring>

namespace ballast::shm {

std::string Error::to_text() const {
  std::string text = operation;
  if (!path.empty()) text += " " + path;
  if (code != 0) text += std::string(": ") + strerrordesc_np(code);
  if (!detail.empty()) text += ": " + detail;
  return text;
}

Error system_error(int code, std::string operation, std::string path, std::string detail) {
  const ErrorKind kind = code == ENOENT                     ? ErrorKind::not_found
                         : code == ENOSPC || code == EDQUOT ? ErrorKind::full
                                                            : ErrorKind::system;
  return Error{kind, code, std::move(operation), std::move(path), std::move(detail)};
}

}  // namespace ballast::shm
