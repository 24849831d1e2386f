// Any bytes may come as a request over the control socket, or be found in the file of operators'
// changes. Reading them must end; a request that is accepted is within its limits, a refusal has a
// text that can be shown, and changes that are accepted are the same when written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>

#include "engine/checker/control/changes_file.hpp"
#include "engine/checker/control/request.hpp"
#include "engine/checker/control/roster.hpp"

namespace {

using namespace ballast::checker;

void require(bool condition) {
  if (!condition) std::abort();
}

void read_request(std::string_view line) {
  const auto parsed = parse_request(line);
  if (const auto* refusal = std::get_if<Refusal>(&parsed)) {
    require(!refusal->code.empty() && !refusal->text.empty());
    require(refusal->id.size() <= 6 * kMaxIdBytes + 2);
    return;
  }
  const Request& request = std::get<Request>(parsed);
  const VerbInfo& info = info_of(request.verb);
  require(info.verb == request.verb);
  require(request.service.size() <= kMaxServiceNameBytes);
  require(request.weight.value_or(1) >= 1 && request.weight.value_or(1) <= kMaxWeight);
  require(request.tier.value_or(0) <= kMaxTier);
  require(request.timeout <= kMaxWait);
  require(request.duration.value_or(Milliseconds(0)) <= kMaxEjection);
  for (const std::string& instance : request.instances)
    require(!instance.empty() && instance.size() <= kMaxTextBytes);
}

void read_changes(std::string_view text) {
  const auto changes = changes_from_text("changes", text);
  if (!changes) return;
  const auto again = changes_from_text("changes", changes_to_text(*changes));
  // Texts that are no UTF-8 are not accepted, so nothing is lost.
  require(static_cast<bool>(again));
  require(*again == *changes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  read_request(input);
  read_changes(input);
  read_changes(R"({"version":1,"services":{"w":{"instances":{"1.1.1.1:1":)" + std::string(input) +
               "}}}}");
  return 0;
}
