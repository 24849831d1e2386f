// Reads all that a segment's files name, as the most curious of tools would: every array, name,
// address, state, row and owner. On damaged files it must come back, with whatever numbers.
#pragma once

#include <cstdint>
#include <string>

#include "engine/policy.hpp"
#include "shm/endpoint.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/ofd_lock.hpp"
#include "shm/rows.hpp"
#include "shm/state_word.hpp"
#include "shm/totals.hpp"
#include "shm/views.hpp"

namespace ballast::tests {

template <class Word, class Table>
std::uint64_t read_array(const Table& table, std::uint64_t offset, std::uint64_t count) {
  std::uint64_t sum = 0;
  for (const Word& word : table.template array<Word>(offset, count))
    sum += shm::get(word);
  return sum;
}

template <class Table>
std::uint64_t read_service(const Table& table, const shm::ServiceRecord& service) {
  std::uint64_t sum = shm::unpack_identity(shm::get(service.identity)).incarnation;
  for (const auto& word : service.name)
    sum += shm::get(word);
  for (const auto& groups : service.generations) {
    for (const shm::GenerationRecord& g : groups) {
      const std::uint64_t lookups = shm::get(g.lookup_count);
      sum += read_array<shm::Word16>(table, shm::get(g.member_offset), shm::get(g.member_count));
      sum += read_array<shm::Word16>(table, shm::get(g.lookup_offset), lookups);
      sum += read_array<shm::Word16>(table, shm::get(g.seconds_offset), lookups);
      sum += read_array<shm::Word32>(table, shm::get(g.points_offset), lookups);
      sum += read_array<shm::Word32>(table, shm::get(g.index_offset), shm::get(g.index_count));
    }
  }
  for (const shm::PolicyRecord& policy : service.policies)
    sum += engine::get_policy(policy).choices;
  return sum;
}

template <class Table>
std::uint64_t read_slot(const Table& table, std::size_t slot) {
  const shm::InstanceRecord& record = table.instances[slot];
  const shm::State state = shm::unpack(shm::get(table.states[slot]));
  const auto endpoint = shm::Endpoint::from_words(
      {shm::get(record.endpoint[0]), shm::get(record.endpoint[1]), shm::get(record.endpoint[2])});
  sockaddr_storage address;
  std::string text = endpoint.to_text();
  text += shm::to_text(state.health);
  text += shm::to_text(state.admin);
  text += shm::to_text(state.reason);
  return text.size() + endpoint.to_sockaddr(address) +
         shm::read_record(table.carried[slot]).finished();
}

template <class Workers>
std::uint64_t read_row(const Workers& workers, std::uint64_t index) {
  const shm::RowRecord& record = workers.directory[index];
  std::uint64_t sum =
      shm::command_text(shm::get(record.command[0]), shm::get(record.command[1])).size();
  if (!workers.ever_claimed(index)) return sum;
  for (const auto& counters : workers.row(index))
    sum += shm::read_record(counters).finished();
  return sum;
}

template <class Table, class Workers>
std::uint64_t read_everything(const Table& table, const Workers& workers) {
  std::uint64_t sum = 0;
  for (const auto& service : table.services)
    sum += read_service(table, service);
  for (std::size_t slot = 0; slot < table.instances.size(); ++slot)
    sum += read_slot(table, slot);
  for (std::uint64_t row = 0; row < workers.directory.size(); ++row)
    sum += read_row(workers, row);
  for (const auto& ticket : workers.services)
    sum += shm::get(ticket.next_ticket);
  return sum;
}

}  // namespace ballast::tests
