// A server with a pool of threads, in C++: each thread has a balancer of its own, which is one row
// of counters, and shares nothing else with the others. Usage: threads DIRECTORY SERVICE THREADS
// REQUESTS
#include <atomic>
#include <ballast.hpp>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

// Made by a thread's first request, given back when the thread ends.
ballast::Balancer& own_balancer(const std::string& directory) {
  thread_local ballast::Balancer balancer = ballast::Balancer::in_directory(directory);
  return balancer;
}

// Here a request would be sent to address; what is returned is how it went.
ballast::Outcome send_request(const std::string& address) {
  return address.empty() ? ballast::Outcome::connect_failure : ballast::Outcome::success;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) return 2;
  const std::string directory = argv[1];
  const std::string name = argv[2];
  const int requests = std::atoi(argv[4]);
  static_cast<void>(ballast::Balancer::in_directory(directory));  // is there anything at all?
  std::atomic<long> answered{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < std::atoi(argv[3]); ++t) {
    threads.emplace_back([&, t] {
      ballast::Service service = own_balancer(directory).service(name);
      for (int i = 0; i < requests; ++i) {
        ballast::Pick pick = service.pick(std::to_string(t) + "/" + std::to_string(i));
        if (!pick) continue;  // pick.status() says why: answer 503
        const auto begin = std::chrono::steady_clock::now();
        const ballast::Outcome outcome = send_request(pick.address());
        pick.report(outcome, std::chrono::duration_cast<std::chrono::microseconds>(
                                 std::chrono::steady_clock::now() - begin));
        if (outcome == ballast::Outcome::success) answered.fetch_add(1, std::memory_order_relaxed);
      }
    });
  }
  for (std::thread& thread : threads)
    thread.join();
  std::cout << answered.load(std::memory_order_relaxed) << " answered\n";
  return 0;
} catch (const ballast::Error& error) {
  std::cout << error.what() << '\n';
  return 1;
}
