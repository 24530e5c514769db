// Faults: errors in the books of KV blocks, which are bugs of ours by definition. They end the process, unless the
// owner of the books would rather live on (a server): then they are logged and counted here, each place that finds one
// leaves its books usable, and Engine::State::contain puts them right before the next step is submitted.
// Thread: engine.
#pragma once

#include <cstdint>

namespace millrace::cache {

class Faults {
 public:
  explicit Faults(bool contain) : contain_(contain) {}

  // Returns `ok`. What is wrong when it is not, with `id`, the block or node: aborts, or is counted.
  bool sound(bool ok, const char* what, uint64_t id) {
    if (!ok) [[unlikely]]
      note(what, id);
    return ok;
  }
  uint64_t n() const { return n_; }

 private:
  void note(const char* what, uint64_t id);

  bool contain_;
  uint64_t n_ = 0;
};

}  // namespace millrace::cache
