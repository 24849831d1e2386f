// Work in a forked child of a test, and what became of it. doctest's assertions must not be used in
// the child: it answers with its exit status.
#pragma once

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

namespace ballast::tests {

// Waits for its end: the exit status, or 1000 and the signal that killed it.
inline int exit_of(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// The exit status of `body` in a child. It dies with the test, or when it hangs for a minute.
inline int in_child(const std::function<int()>& body) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(60);
    ::_exit(body());
  }
  return exit_of(pid);
}

// The same as another user where we are root, who may do everything; 100: that could not be.
inline int as_nobody(const std::function<int()>& body) {
  constexpr unsigned kNobody = 65534;
  return in_child([&] {
    if (::geteuid() == 0 && (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) return 100;
    return body();
  });
}

}  // namespace ballast::tests
