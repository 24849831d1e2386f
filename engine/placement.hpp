// From a strategy and its members to the arrays that are published: the one place that knows which
// algorithm fills what.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/generation_writer.hpp"
#include "engine/member.hpp"
#include "engine/rendezvous.hpp"
#include "engine/strategy.hpp"

namespace ballast::engine {

// Members without weight get nothing; no members at all: a placement of kind `none`. Maglev and
// rendezvous depend only on the set of members; the others on their order where nginx's do (points
// that coincide, and who of two equals comes first). Nothing if the ring would have more than
// kMaxKetamaPoints points.
// `kept`, if given, is the rendezvous table to update in place; the outcome is the same.
[[nodiscard]] std::optional<Placement> build_placement(Strategy strategy,
                                                       std::vector<Member> members,
                                                       RendezvousTable* kept = nullptr);

// An upper bound of `buffer_bytes` for that many members with that sum of weights, for sizing a
// table before it exists.
[[nodiscard]] std::uint64_t estimate_buffer_bytes(Strategy strategy, std::uint64_t members,
                                                  std::uint64_t weights) noexcept;

}  // namespace ballast::engine
