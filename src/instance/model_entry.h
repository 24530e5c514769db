// What a ModelSet knows of one model that is loaded or on its way. Guarded by the set's mutex; `instance` may be read
// by who holds a use once the state is kLoaded. Private to model_set.cc and model_use.cc.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "instance/model_set.h"

namespace millrace::instance {

struct ModelEntry {
  std::string name;
  ModelState state = ModelState::kWaiting;
  std::unique_ptr<Instance> instance;
  Error error = {};  // kFailed
  uint64_t bytes = 0;
  size_t n_uses = 0;
  size_t n_looks = 0;   // holds that are no use
  bool wanted = false;  // load() asked for it: it loads though nobody waits
  bool leaves = false;  // unload() asked for it
  Tick last_used = 0;
  Tick keep_alive = kForever;
  double progress = 0;
  std::optional<MemoryNeed> need;
  Tick room_until = 0;  // the load fails when there is no room by then

  bool idle() const { return state == ModelState::kLoaded && n_uses + n_looks == 0; }
  bool on_its_way() const { return state == ModelState::kWaiting || state == ModelState::kLoading; }
  bool abandoned() const { return n_uses == 0 && !wanted; }
  Tick expires() const { return keep_alive < 0 ? kForever : last_used + keep_alive; }
};

}  // namespace millrace::instance
