// From a strategy and its members to the arrays that are published: the one place that knows which
// algorithm fills what.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/generation_writer.hpp"
#include "engine/member.hpp"
#include "engine/strategy.hpp"

namespace ballast::engine {

// Pure: the same strategy and the same members give the same arrays. Pass them in configured order:
// it decides between ketama points that coincide and breaks the ties of round robin, as in nginx;
// Maglev does not look at it. No members, or more ketama points than kMaxKetamaPoints: a placement
// of kind `none`.
[[nodiscard]] Placement build_placement(Strategy strategy, std::vector<Member> members);

// An upper bound of `buffer_bytes` for that many members with that sum of weights, for sizing a
// table before it exists.
[[nodiscard]] std::uint64_t estimate_buffer_bytes(Strategy strategy, std::uint64_t members,
                                                  std::uint64_t weights) noexcept;

}  // namespace ballast::engine
