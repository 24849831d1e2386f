// The secret of sticky sessions: read from a file that only the checker may read, and published to
// workers as each service's own key. The file is read whenever settings are applied, at the start
// and at each reload, so a key is changed by changing the file and reloading. docs/sticky.md says
// how to make one and how to rotate.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "engine/sticky.hpp"
#include "shm/layout.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

struct StickySecrets {
  std::optional<engine::StickySecret> current;
  std::optional<engine::StickySecret> previous;
};

// A file of 32 bytes, or of 64 hexadecimal digits and, in a second line, 64 more for the secret
// before. It must be a regular file (a link to one is followed) that neither its group nor others
// may read or write. An empty path gives no secrets. The error says what to do; it never holds a
// part of a secret.
[[nodiscard]] shm::Result<StickySecrets> read_sticky_key_file(const std::string& path);

// Publishes the keys of one service, unless they are published already. Without secrets there are
// none: workers then neither make tokens nor open any.
void publish_sticky_keys(shm::SharedServiceRecord& record, const StickySecrets& secrets,
                         std::string_view service) noexcept;

}  // namespace ballast::checker
