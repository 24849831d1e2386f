// Asks name servers, by c-ares on the checker's loop: retries, truncated answers again over TCP,
// the next server when one does not answer or cannot (SERVFAIL, REFUSED). An answer that says that
// there is nothing is an answer. Shared by all sources that ask the same servers. Owned and called
// by the loop's thread; holds nothing that outlives the process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/checker/discovery/dns_message.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"

namespace ballast::checker {

class DnsClient {
 public:
  struct Answer {
    DnsMessage message;  // NOERROR or NXDOMAIN; meaningless with an error
    std::string error;   // names each server and what became of it; empty: none
  };
  using OnAnswer = std::function<void(Answer)>;
  using Id = std::uint64_t;

  // A server is asked twice, and the second time is given twice as long.
  static constexpr std::chrono::milliseconds kFirstTry{1000};
  static constexpr int kTries = 2;

  // `servers`: "ADDRESS" or "ADDRESS:PORT"; empty: the system's, of /etc/resolv.conf, which is read
  // again when all of them have failed.
  DnsClient(Loop& loop, std::vector<std::string> servers);
  ~DnsClient();
  DnsClient(const DnsClient&) = delete;
  DnsClient& operator=(const DnsClient&) = delete;

  // Asks for a name as it is, with no domains to search. Calls back once, never from inside this
  // call, unless it is cancelled before.
  Id query(const std::string& name, DnsType type, OnAnswer on_answer);
  void cancel(Id id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ballast::checker
