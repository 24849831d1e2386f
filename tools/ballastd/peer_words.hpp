// What nginx, HAProxy and Envoy call what a configuration of Ballast may say, for whoever brings
// their words along: the advice in an error names ours. docs/strategies.md, "names elsewhere", has
// the same for people. Pure; nothing is accepted in their words.
#pragma once

#include <span>
#include <string_view>

namespace ballast::tools {

// What was probably meant by a key or value that is none of `known`: the one that another balancer
// calls `word` (in any case of letters), else the one nearest in spelling. Empty if there is none.
[[nodiscard]] std::string_view meant_word(std::string_view word,
                                          std::span<const std::string_view> known);

}  // namespace ballast::tools
