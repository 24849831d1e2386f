// Who is at the other end of a Unix socket, as the kernel says, and whether they may change things:
// root, whoever runs the checker, and the members of the control group.
#pragma once

#include <sys/types.h>

#include <optional>
#include <vector>

#include "shm/result.hpp"

namespace ballast::checker {

struct Peer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;  // supplementary ones
};

// As of when it connected.
[[nodiscard]] shm::Result<Peer> peer_of(int socket);

[[nodiscard]] bool may_change(const Peer& peer, uid_t own, std::optional<gid_t> group) noexcept;

}  // namespace ballast::checker
