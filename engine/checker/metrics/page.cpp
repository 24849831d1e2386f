// Walking the tables of families; see page.hpp.
#include "engine/checker/metrics/page.hpp"

#include <span>

#include "engine/checker/metrics/families.hpp"

namespace ballast::checker {
namespace {

// Appends the samples of `items`, from `item` on; true when it has come to the last. One item at
// least, so that the head of a family is never written without one, to be written again.
template <class Subject>
bool append_items(const Family<Subject>& family, std::span<const Subject> items, std::size_t& item,
                  std::string& out, std::size_t want) {
  Exposition to(out);
  if (item == 0) to.family(family.name, family.type, family.help);
  Samples samples(to, family.name);
  bool is_first = true;
  for (; item < items.size() && (is_first || out.size() < want); ++item) {
    family.write(samples, items[item]);
    is_first = false;
  }
  return item == items.size();
}

}  // namespace

bool Page::append(std::string& out, std::size_t want) {
  const std::span<const Survey> once(survey_.get(), 1);
  const auto of_table = survey_->error.empty() ? once : once.first(0);
  const std::span<const CheckCounts> checks(survey_->loop.checks);
  const std::span<const ServiceSurvey> services(survey_->services);
  const std::span<const InstanceSurvey> instances(survey_->instances);
  // Which table `family_` is in, and there the family's samples.
  const auto append_one = [&] {
    std::size_t index = family_;
    if (index < own_families().size())
      return append_items(own_families()[index], once, item_, out, want);
    index -= own_families().size();
    if (index < check_families().size())
      return append_items(check_families()[index], checks, item_, out, want);
    index -= check_families().size();
    if (index < table_families().size())
      return append_items(table_families()[index], of_table, item_, out, want);
    index -= table_families().size();
    if (index < service_families().size())
      return append_items(service_families()[index], services, item_, out, want);
    index -= service_families().size();
    return append_items(instance_families()[index], instances, item_, out, want);
  };
  const std::size_t end = own_families().size() + check_families().size() +
                          table_families().size() + service_families().size() +
                          instance_families().size();
  while (family_ < end && out.size() < want) {
    if (!append_one()) continue;
    ++family_;
    item_ = 0;
  }
  return family_ < end;
}

}  // namespace ballast::checker
