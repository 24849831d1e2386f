// Finding the instance that a sticky token names, among the members of a service's generation. Run
// by workers, on what the checker publishes; writes nothing but the handle's own memory of what it
// found. No lock, system call or allocation. What is found is only a candidate: the pick asks of it
// what it asks of any other, and confirms it with its look at root, as `docs/memory-model.md`,
// "publish-and-pick", says.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/generation_view.hpp"
#include "engine/sticky.hpp"
#include "shm/layout.hpp"

namespace ballast::engine {

// Where the tokens of other hosts led, so that their instances are searched for once a generation
// and not with each request. Plain memory of one thread; an entry that is overwritten costs a
// search.
class StickyMemory {
 public:
  // What an entry is good for: this token's address, in this generation of this service.
  struct Question {
    std::uint64_t fingerprint = 0;
    std::uint64_t segment = 0;
    std::uint64_t entered = kNeverEntered;
    std::uint32_t service = 0;

    friend bool operator==(const Question&, const Question&) = default;
  };

  // The slot, or kNoSlot if it is known that there is none; nothing if it is not known.
  [[nodiscard]] std::optional<std::uint16_t> recall(const Question& question) const noexcept {
    const Entry& entry = entries_[place(question)];
    if (entry.question != question) return std::nullopt;
    return entry.slot;
  }
  void keep(const Question& question, std::uint16_t slot) noexcept {
    entries_[place(question)] = {question, slot};
  }

 private:
  static constexpr std::size_t kEntries = 256;
  struct Entry {
    Question question;
    std::uint16_t slot = shm::kNoSlot;
  };
  // A fingerprint is a hash already.
  static std::size_t place(const Question& question) noexcept {
    return (question.fingerprint + question.service) % kEntries;
  }

  std::array<Entry, kEntries> entries_{};
};

// Which generation of which service is searched: the views of its groups, all entered under one
// root, and the instances of the table they lie in.
struct StickyPlace {
  std::span<const GenerationView> groups;
  const shm::InstanceRecord* instances = nullptr;
  std::uint64_t segment = 0;
  std::uint32_t service = 0;
};

// The slot of the instance that `token` names; nothing if the token does not open, or names none of
// the members. Good only if root is unchanged afterwards.
[[nodiscard]] std::optional<std::uint32_t> find_sticky(const StickyPlace& place,
                                                       const StickyKeys& keys,
                                                       std::string_view token,
                                                       StickyMemory& memory) noexcept;

}  // namespace ballast::engine
