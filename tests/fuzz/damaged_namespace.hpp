// A real namespace of three services, whose files a fuzzing input damages before and after they are
// opened. The damage is what the input says: at which record, which bytes, with what; so inputs
// stay good when the layout changes, and each starts from files that are whole.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "engine/checker/publishing/publisher.hpp"
#include "engine/checker/publishing/sticky_keys.hpp"
#include "shm/paths.hpp"
#include "tests/support/damage.hpp"
#include "tests/support/temp_dir.hpp"

namespace ballast::fuzz {

[[noreturn]] inline void die(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::abort();
}

inline checker::Settings settings() {
  checker::Settings all;
  all.max_workers = 4;
  const std::pair<const char*, engine::Strategy> services[] = {
      {"maglev", engine::Strategy::maglev},
      {"ketama", engine::Strategy::ketama},
      {"round_robin", engine::Strategy::round_robin}};
  for (const auto& [name, strategy] : services) {
    checker::ServiceSettings service;
    service.name = name;
    service.policy.strategy = strategy;
    service.check.first_check = checker::FirstCheck::up;
    for (int i = 0; i < 5; ++i) {
      const std::string text = "127.0.0." + std::to_string(i + 1) + ":80";
      service.instances.push_back({*shm::parse_endpoint(text), text, i == 0 ? 3U : 1U});
    }
    all.services.push_back(std::move(service));
  }
  return all;
}

inline checker::Publisher open_publisher(const std::string& directory) {
  auto lease = shm::Lease::acquire(directory, shm::Lease::Wait::no);
  if (!lease) die(lease.error().to_text());
  auto publisher = checker::Publisher::open(std::move(*lease), settings());
  if (!publisher) die(publisher.error().to_text());
  return std::move(*publisher);
}

inline std::array<std::string, 3> paths_in(const std::string& directory, std::uint64_t segment) {
  return {shm::locator_path(directory), shm::table_path(directory, segment),
          shm::workers_path(directory, segment)};
}

// What a checker that leaves in order leaves behind. Made once a process.
class Originals {
 public:
  Originals() {
    auto publisher = open_publisher(dir_.path());
    if (const auto applied = publisher.apply(settings()); !applied) die(applied.error().to_text());
    // With a sticky key, as if there were a file of it.
    engine::StickySecret secret{};
    for (std::size_t i = 0; i < secret.size(); ++i)
      secret[i] = static_cast<std::uint8_t>(i);
    const auto all = settings().services;
    for (std::size_t i = 0; i < all.size(); ++i) {
      checker::publish_sticky_keys(publisher.segment().workers.services[i], {secret, {}},
                                   all[i].name);
    }
    segment_ = publisher.segment_id();
    publisher.leave();
  }
  [[nodiscard]] std::uint64_t segment() const noexcept { return segment_; }
  void copy_to(const std::string& directory) const {
    const auto from = paths_in(dir_.path(), segment_);
    const auto to = paths_in(directory, segment_);
    for (std::size_t i = 0; i < from.size(); ++i)
      std::filesystem::copy_file(from[i], to[i]);
  }

 private:
  tests::TempDir dir_;
  std::uint64_t segment_ = 0;
};

class DamagedNamespace {
 public:
  DamagedNamespace() {
    static const Originals originals;
    originals.copy_to(directory());
    segment_ = originals.segment();
    const auto paths = paths_in(directory(), segment_);
    for (std::size_t i = 0; i < paths.size(); ++i)
      files_[i] = std::make_unique<tests::Damage>(paths[i]);
  }

  [[nodiscard]] const std::string& directory() const { return dir_.path(); }
  [[nodiscard]] std::uint64_t segment() const noexcept { return segment_; }

  // One change. Most go where they matter: headers and records, not the megabyte of lookup words.
  void damage(FuzzedDataProvider& input) {
    const std::size_t which = input.ConsumeIntegralInRange<std::size_t>(0, 2);
    tests::Damage& file = *files_[which];
    std::size_t begin = 0;
    std::size_t length = sizeof(shm::FileHeader);
    if (which != 0) {
      const auto& header = *reinterpret_cast<const shm::FileHeader*>(file.original().data());
      const auto place = input.ConsumeIntegralInRange<std::size_t>(0, header.section_count);
      if (place < header.section_count) {
        const shm::Section& section = header.sections[place];
        begin = section.offset;
        length = section.stride * section.count;
      } else {
        length = sizeof(shm::FilePreamble) + 8 + header.section_count * sizeof(shm::Section);
      }
    }
    constexpr std::size_t kWords = 512;  // how far into a section single changes go, mostly
    const std::size_t words = length / 8;
    const std::size_t word =
        input.ConsumeBool()
            ? input.ConsumeIntegralInRange<std::size_t>(0, words - 1)
            : input.ConsumeIntegralInRange<std::size_t>(0, (words < kWords ? words : kWords) - 1);
    const std::size_t at = begin + word * 8;
    std::uint64_t value = 0;
    std::memcpy(&value, file.bytes() + at, sizeof value);
    switch (input.ConsumeIntegralInRange<int>(0, 5)) {
      case 0:
        value = input.ConsumeIntegral<std::uint64_t>();
        break;
      case 1:
        value = 0;
        break;
      case 2:
        value = ~std::uint64_t{0};
        break;
      case 3:
        value ^= std::uint64_t{1} << input.ConsumeIntegralInRange<unsigned>(0, 63);
        break;
      case 4:
        value += static_cast<std::uint64_t>(input.ConsumeIntegral<std::int8_t>()) * 8;
        break;
      default: {
        const unsigned shift = 8 * input.ConsumeIntegralInRange<unsigned>(0, 7);
        value &= ~(std::uint64_t{0xff} << shift);
        value |= std::uint64_t{input.ConsumeIntegral<std::uint8_t>()} << shift;
        break;
      }
    }
    file.put(at, value);
  }

  // A whole file replaced by the input's rest, its preamble kept or not.
  void replace(FuzzedDataProvider& input) {
    tests::Damage& file = *files_[input.ConsumeIntegralInRange<std::size_t>(0, 2)];
    const std::size_t begin = input.ConsumeBool() ? sizeof(shm::FilePreamble) : 0;
    const auto bytes = input.ConsumeRemainingBytes<unsigned char>();
    const std::size_t n = bytes.size() < file.size() - begin ? bytes.size() : file.size() - begin;
    if (n != 0) std::memcpy(file.bytes() + begin, bytes.data(), n);
  }

  void damage_at_will(FuzzedDataProvider& input) {
    if (input.ConsumeIntegralInRange<int>(0, 15) == 15) return replace(input);
    for (int left = input.ConsumeIntegralInRange<int>(0, 12); left > 0; --left)
      damage(input);
  }

  void undo() {
    for (const auto& file : files_)
      file->undo();
  }

 private:
  tests::TempDir dir_;
  std::uint64_t segment_ = 0;
  std::array<std::unique_ptr<tests::Damage>, 3> files_;
};

}  // namespace ballast::fuzz
