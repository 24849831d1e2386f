// SO_PEERCRED and SO_PEERGROUPS.
#include "engine/checker/control/peer.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace ballast::checker {

shm::Result<Peer> peer_of(int socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
    return shm::system_error(errno, "ask who connected", {});
  Peer peer{credentials.pid, credentials.uid, credentials.gid, std::vector<gid_t>(64)};
  for (int attempt = 0; attempt < 2; ++attempt) {
    length = static_cast<socklen_t>(peer.groups.size() * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &length) == 0) {
      peer.groups.resize(length / sizeof(gid_t));
      return peer;
    }
    // Too many for the room: now `length` says how many.
    if (errno != ERANGE) break;
    peer.groups.resize(length / sizeof(gid_t));
  }
  peer.groups.clear();  // a kernel that cannot say: the primary group counts
  return peer;
}

bool may_change(const Peer& peer, uid_t own, std::optional<gid_t> group) noexcept {
  if (peer.uid == 0 || peer.uid == own) return true;
  if (!group) return false;
  return peer.gid == *group ||
         std::find(peer.groups.begin(), peer.groups.end(), *group) != peer.groups.end();
}

}  // namespace ballast::checker
