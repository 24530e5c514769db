// Several echo instances for a ModelSet: models "a" to "f" that take 10,000 bytes each, 8,000 at least, and "big",
// which takes 1,000,000, and "wide", which takes 15,000. Loads can be held and made to fail. Thread: any.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "instance/model_set.h"
#include "tests/support/echo_instance.h"

namespace millrace::testing {

// Outlives the set that it is the source of.
class EchoModels {
 public:
  std::atomic<int> n_loads{0};
  std::atomic<int> n_heads{0};
  std::atomic<bool> hold_needs{false};
  std::shared_ptr<instance::TenantTable> tenants;  // of instances loaded from now on; null: one each
  std::mutex switches_mutex;
  std::map<std::string, std::shared_ptr<EchoSwitches>>
      switches;  // guarded by switches_mutex; of the last load, by name
  std::atomic<bool> hold_loads{false};
  std::atomic<bool> fail_loads{false};
  std::atomic<int> step_us{0};  // of instances loaded from now on
  std::atomic<uint64_t> alive_bytes{0};

  EchoModels() { set_log_level(LogLevel::kError); }

  instance::ModelSource source() {
    return {
        .list =
            [] {
              std::vector<instance::ModelListing> out;
              for (const char* name : {"a", "b", "c", "d", "e", "f", "big", "wide"})
                out.push_back({.name = name, .file_bytes = 77, .modified_s = 1'000'000});
              return out;
            },
        .need = [this](const std::string& name, const instance::ProgressFn& progress) -> Result<instance::MemoryNeed> {
          while (hold_needs.load()) {
            if (!progress({.stage = "download", .fraction = 0.5})) return Error{ErrorCode::kCancelled, "given up", ""};
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
          if (name == "wide") return instance::MemoryNeed{.least_bytes = 15'000, .usual_bytes = 15'000};
          if (name == "big") return instance::MemoryNeed{.least_bytes = 1'000'000, .usual_bytes = 1'000'000};
          return instance::MemoryNeed{.least_bytes = 8000, .usual_bytes = kBytes};
        },
        .load = [this](const std::string& name, uint64_t bytes,
                       const instance::ProgressFn& progress) { return load(name, bytes, progress); },
        .head = [this](const std::string& name) -> Result<instance::ModelHead> {
          ++n_heads;
          if (name == "f") return Error{ErrorCode::kBadFile, "the file is damaged", ""};
          return instance::ModelHead{.architecture = "echo-head", .weight_format = "Q4_1", .n_params = 1234};
        }};
  }

 private:
  static constexpr uint64_t kBytes = 10'000;
  static constexpr uint64_t kFixedBytes = 5000;  // KV and working space of an echo instance

  Result<std::unique_ptr<instance::Instance>> load(const std::string& name, uint64_t bytes,
                                                   const instance::ProgressFn& progress) {
    while (hold_loads.load()) {
      if (!progress({.stage = "weights", .fraction = 0.5})) return Error{ErrorCode::kCancelled, "given up", ""};
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (fail_loads.load()) return Error{ErrorCode::kBadFile, "the file is damaged", ""};
    ++n_loads;
    uint64_t taken = name == "wide" ? 15'000 : std::min(bytes, kBytes);
    alive_bytes += taken;
    EchoOptions options;
    options.served_names = {name, name + ":latest"};
    options.weight_bytes = taken - kFixedBytes;
    options.holds = std::shared_ptr<void>(nullptr, [this, taken](void*) { alive_bytes -= taken; });
    options.tenant_table = tenants;
    EchoInstance made = make_echo(options);
    {
      std::lock_guard lock(switches_mutex);
      switches[name] = made.switches;
    }
    made.switches->step_us.store(step_us.load());
    return std::move(made.instance);
  }
};

}  // namespace millrace::testing
