// Parsed without a tree, as the parser's events come: a file of 60,000 targets would make one of
// many times its size.
#include "engine/checker/discovery/file_targets.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

namespace ballast::checker {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "__ballast_";
constexpr std::size_t kShownBytes = 80;  // of what the file says, in an error

// Text of the file for an error: short, and nothing that could spoil a line.
std::string shown(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, kShownBytes))
    out += c >= 0x20 && c < 0x7F && c != '"' ? c : '?';
  if (text.size() > kShownBytes) out += "...";
  return out + '"';
}

std::optional<std::uint32_t> whole_number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_zone(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxZoneBytes && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), allowed);
}

// Counts the lines that the parser has taken so far. It copies its iterator, so the count is
// elsewhere.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, std::size_t* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    if (*at_ == '\n') ++*line_;
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ == b.at_;
  }
  friend bool operator!=(const CountingIterator& a, const CountingIterator& b) { return !(a == b); }

 private:
  const char* at_;
  std::size_t* line_;
};

class Reader final : public nlohmann::json_sax<json> {
 public:
  Reader(const std::string& path, const std::size_t& line) : path_(path), line_(line) {}

  [[nodiscard]] Discovered take() {
    if (found_.error.empty()) put_in_order(found_.instances);
    return std::move(found_);
  }

  bool null() override { return wrong("null"); }
  bool boolean(bool /*value*/) override { return wrong("true or false"); }
  bool number_integer(json::number_integer_t /*value*/) override { return wrong("a number"); }
  bool number_unsigned(json::number_unsigned_t /*value*/) override { return wrong("a number"); }
  bool number_float(json::number_float_t /*value*/, const std::string& /*text*/) override {
    return wrong("a number");
  }
  bool binary(json::binary_t& /*value*/) override { return wrong("bytes"); }

  bool string(std::string& value) override {
    if (at_ == At::targets) {
      if (count_ + pending_.size() >= kMaxInstances) {
        return fail("more than " + std::to_string(kMaxInstances) + " targets");
      }
      pending_.push_back({std::move(value), line_});
      return true;
    }
    if (at_ == At::labels) return take_label(value);
    return wrong("a string");
  }

  bool start_object(std::size_t /*elements*/) override {
    if (at_ == At::groups) {
      at_ = At::group;
      pending_.clear();
      labels_ = {};
      return true;
    }
    if (at_ == At::group && key_ == "labels") {
      at_ = At::labels;
      return true;
    }
    return wrong("an object");
  }
  bool key(std::string& name) override {
    if (at_ == At::group && name != "targets" && name != "labels") {
      return fail("unknown key " + shown(name) + ": a group has \"targets\" and \"labels\"");
    }
    key_ = std::move(name);
    return true;
  }
  bool end_object() override {
    if (at_ == At::labels) {
      at_ = At::group;
      return true;
    }
    at_ = At::groups;
    return finish_group();
  }
  bool start_array(std::size_t /*elements*/) override {
    if (at_ == At::outside) {
      at_ = At::groups;
      return true;
    }
    if (at_ == At::group && key_ == "targets") {
      at_ = At::targets;
      return true;
    }
    return wrong("an array");
  }
  bool end_array() override {
    at_ = at_ == At::targets ? At::group : At::outside;
    return true;
  }

  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 3, column 1: syntax error ...".
    std::string what = error.what();
    if (const auto colon = what.find(": "); colon != std::string::npos) what.erase(0, colon + 2);
    for (char& c : what)
      c = c >= 0x20 && c < 0x7F ? c : '?';
    if (what.size() > 4 * kShownBytes) what = what.substr(0, 4 * kShownBytes) + "...";
    return fail("not JSON: " + what);
  }

 private:
  enum class At : std::uint8_t { outside, groups, group, targets, labels };
  struct Pending {
    std::string text;
    std::size_t line;
  };
  // What a group's labels say to us. The prefixed one counts before the plain one.
  struct Labels {
    std::optional<std::uint32_t> weight, plain_weight, tier, plain_tier;
    std::optional<std::string> zone, plain_zone;
    shm::Admin admin = shm::Admin::ready;
  };

  bool fail(const std::string& what, std::optional<std::size_t> line = {}) {
    found_.error = path_ + ":" + std::to_string(line.value_or(line_)) + ": " + what;
    found_.instances.clear();
    return false;
  }

  bool wrong(const char* what) {
    switch (at_) {
      case At::outside:
        return fail(std::string(what) +
                    " instead of an array of groups: " + R"([{"targets": ["ADDRESS:PORT"]}])");
      case At::groups:
        return fail(std::string(what) + R"( instead of a group: {"targets": ["ADDRESS:PORT"]})");
      case At::group:
        return fail(
            shown(key_) + " is " + what +
            (key_ == "targets" ? R"(: write ["ADDRESS:PORT"])" : R"(: write {"NAME": "VALUE"})"));
      case At::targets:
        return fail(std::string(what) + R"( among the targets: write "ADDRESS:PORT")");
      case At::labels:
        return fail("label " + shown(key_) + " is " + what + ": write a string, in quotes");
    }
    return false;
  }

  // Plain names are other people's, too: what cannot be meant for us is passed over.
  bool take_label(const std::string& value) {
    std::string_view name = key_;
    const bool ours = name.starts_with(kPrefix);
    if (ours) name.remove_prefix(kPrefix.size());
    if (name == "weight") {
      return take_number(value, ours, 1, kMaxWeight, ours ? labels_.weight : labels_.plain_weight);
    }
    if (name == "tier") {
      return take_number(value, ours, 0, kMaxTier, ours ? labels_.tier : labels_.plain_tier);
    }
    if (name == "zone") {
      if (is_zone(value)) {
        (ours ? labels_.zone : labels_.plain_zone) = value;
      } else if (ours) {
        return fail("label " + shown(key_) + " is " + shown(value) +
                    ": a zone has letters, digits, '.', '_' and '-', at most " +
                    std::to_string(kMaxZoneBytes));
      }
      return true;
    }
    if (!ours) return true;
    if (name != "admin") {
      return fail("unknown label " + shown(key_) + ": there are " +
                  "__ballast_weight, __ballast_tier, __ballast_zone and __ballast_admin");
    }
    if (value == "ready") {
      labels_.admin = shm::Admin::ready;
    } else if (value == "drain") {
      labels_.admin = shm::Admin::drain;
    } else if (value == "maintenance") {
      labels_.admin = shm::Admin::maintenance;
    } else {
      return fail("label " + shown(key_) + " is " + shown(value) +
                  ": it may be ready, drain or maintenance");
    }
    return true;
  }

  bool take_number(const std::string& value, bool ours, std::uint32_t low, std::uint32_t high,
                   std::optional<std::uint32_t>& out) {
    const auto number = whole_number(value);
    if (!number || *number < low || *number > high) {
      if (!ours) return true;
      return fail("label " + shown(key_) + " is " + shown(value) + ": it may be " +
                  std::to_string(low) + " to " + std::to_string(high));
    }
    out = number;
    return true;
  }

  bool finish_group() {
    InstanceSettings like;
    like.weight = labels_.weight.value_or(labels_.plain_weight.value_or(kDefaultWeight));
    like.tier = labels_.tier.value_or(labels_.plain_tier.value_or(0));
    like.zone = labels_.zone.value_or(labels_.plain_zone.value_or(""));
    like.admin = labels_.admin;
    found_.instances.reserve(found_.instances.size() + pending_.size());
    for (const Pending& target : pending_) {
      const auto endpoint = shm::parse_endpoint(target.text);
      if (!endpoint) {
        return fail("target " + shown(target.text) +
                        " is not ADDRESS:PORT; a file has addresses, names are for DNS sources",
                    target.line);
      }
      InstanceSettings instance = like;
      instance.endpoint = *endpoint;
      // Never as it is written: a checker that starts while the file cannot be read knows the
      // addresses from the table, and keys must not move for that.
      instance.text = endpoint->to_text();
      found_.instances.push_back(std::move(instance));
    }
    count_ += pending_.size();
    pending_.clear();
    return true;
  }

  const std::string& path_;
  const std::size_t& line_;
  At at_ = At::outside;
  std::string key_;
  std::vector<Pending> pending_;  // targets of the group, whose labels may come after them
  Labels labels_;
  std::size_t count_ = 0;
  Discovered found_;
};

}  // namespace

Discovered parse_file_targets(const std::string& path, std::string_view text) {
  if (text.size() > kMaxTargetFileBytes) {
    return {{}, path + ": more than " + std::to_string(kMaxTargetFileBytes >> 20) + " MiB", {}};
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return {{}, path + ": the file is empty; write [] for no targets", {}};
  }
  std::size_t line = 1;
  Reader reader(path, line);
  static_cast<void>(json::sax_parse(CountingIterator(text.data(), &line),
                                    CountingIterator(text.data() + text.size(), &line), &reader));
  Discovered found = reader.take();
  if (found.error.empty() && found.instances.empty()) found.note = path + " names no target";
  return found;
}

}  // namespace ballast::checker
