// Unix sockets by paths of any length: an address has room for 107 bytes, directories may be
// deeper. Used by whoever listens (the checker's control socket) and whoever connects (`ballast`).
#pragma once

#include <string>

#include "shm/result.hpp"

namespace ballast::engine {

// Both return a descriptor that the caller closes, with SOCK_CLOEXEC.

// A non-blocking socket that listens at `path`, which must not exist yet. Its permissions are
// `mode` from the first moment. `group` -1: as it comes.
[[nodiscard]] shm::Result<int> listen_unix(const std::string& path, unsigned mode, long group,
                                           int backlog);
// Whether somebody listens at `path`, also one that accepts nobody at present. Does not block.
[[nodiscard]] bool is_listened_at(const std::string& path);
// A blocking, connected stream.
[[nodiscard]] shm::Result<int> connect_unix(const std::string& path);

}  // namespace ballast::engine
