// Picks an instance for a key, in C++. Usage: pick DIRECTORY SERVICE KEY
#include <ballast.hpp>
#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 4) return 2;
  auto balancer = ballast::Balancer::in_directory(argv[1]);
  auto service = balancer.service(argv[2]);
  if (auto pick = service.pick(argv[3])) {
    std::cout << pick.address() << '\n';  // ... here the request would be sent ...
    pick.report(ballast::Outcome::success);
    return 0;
  } else {
    std::cout << to_text(pick.status()) << '\n';
  }
  return 1;
} catch (const ballast::Error& error) {
  std::cout << error.what() << '\n';
  return 1;
}
