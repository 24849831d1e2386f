// What a configuration needs of the system, compared with what the system gives, before anything is
// begun: too little is an error that names the setting to raise. Used by the daemon at start and at
// a reload; plain arithmetic but for the limit that it is told.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "engine/checker/settings.hpp"
#include "shm/result.hpp"

namespace ballast::tools {

// Descriptors that checking these settings takes: one for every connection that is kept, so many
// more that kept ones stay three quarters of all, some for checks under way, and the program's own.
[[nodiscard]] std::size_t descriptors_needed(const checker::Settings& settings);

// Why these settings cannot be run with so many descriptors; nothing if they can.
[[nodiscard]] std::optional<std::string> exceeded_limit(const checker::Settings& settings,
                                                        std::size_t descriptors);
// The same with the limit that this process has.
[[nodiscard]] std::optional<std::string> exceeded_limit(const checker::Settings& settings);

// An error's text, with what to do where a directory has no room for the files.
[[nodiscard]] std::string with_advice(const shm::Error& error);

}  // namespace ballast::tools
