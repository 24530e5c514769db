// Interrupt: while one lives, Ctrl-C sets a flag instead of ending the process. At most one at a time.
#pragma once

namespace millrace::app {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  bool seen() const;
};

}  // namespace millrace::app
