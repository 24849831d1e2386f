// The signals that ballastd answers to, as a descriptor that its loop watches: none of them
// interrupts anything. From the first one made to the process's end they are blocked, in threads
// made later too.
#pragma once

namespace ballast::tools {

class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Readable when there is one; -1: there are no descriptors, and errno says why.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }
  // SIGHUP, SIGTERM or SIGINT; 0 if there is none.
  [[nodiscard]] int next() const;

 private:
  int descriptor_ = -1;
};

}  // namespace ballast::tools
