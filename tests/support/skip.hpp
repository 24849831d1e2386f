// For a test case, or a part of one, that cannot run on this machine: nothing is skipped in
// silence. The program then ends with 77, which meson shows as skipped, and the reason as its last
// line.
#pragma once

#include <string>

namespace ballast::tests {

// Call it once a case and return from the case. A failure elsewhere outranks it.
void skip(const std::string& why);

}  // namespace ballast::tests
