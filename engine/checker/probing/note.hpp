// What a peer had to say, made fit for people: a CheckResult's note. Foreign bytes come in, at most
// kMaxNoteBytes of printable ASCII go out, so that no log, table or terminal can be spoilt by them.
// Pure.
#pragma once

#include <string>
#include <string_view>

namespace ballast::checker {

// Every run of white space becomes one space, what is not printable ASCII a question mark; what is
// too long ends in "...".
[[nodiscard]] std::string to_note(std::string_view bytes);

}  // namespace ballast::checker
