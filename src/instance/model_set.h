// ModelSet: several models in one process, loaded when somebody asks for one and unloaded when room is needed, under
// one memory budget.
//  1. Reserved bytes of models that are loaded, being loaded or being freed never exceed the budget; those of a model
//     are reserved before a byte of it is read.
//  2. A model in use stays: whoever has a ModelUse of it keeps it until the use ends.
//  3. One thread loads and unloads, one model at a time, in the order in which they were first asked for. When there is
//     no room, models that nobody uses go, the one unused for longest first, but only when that makes room enough; when
//     all are in use, the load waits.
//  4. A model whose engine hangs is not unloaded: its state stays to be seen.
// Thread: any. Uses end before the set does.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "instance/instance.h"
#include "instance/model_heads.h"

namespace millrace::instance {

// Where models come from. Called on the set's thread, `list` on any.
struct ModelSource {
  std::function<std::vector<ModelListing>()> list;
  // Bytes in memory, from the head of its files; fetches those of the command line first, if they are not there.
  std::function<Result<MemoryNeed>(const std::string& name, const ProgressFn&)> need;
  // An instance that takes at most `bytes`.
  std::function<Result<std::unique_ptr<Instance>>(const std::string& name, uint64_t bytes, const ProgressFn&)> load;
  // What its files say of it, without a network. May be empty.
  ReadHeadFn head;
};

constexpr Tick kForever = -1;

struct ModelSetOptions {
  uint64_t budget_bytes = 0;
  size_t most_loaded = 4;           // models in memory; each usually takes at most its share of the budget
  size_t most_waiting = 512;        // uses of models that are not loaded yet
  bool autoload = true;             // use() loads; false: only load() does
  Tick keep_alive = kForever;       // a model nobody has used for so long goes
  Tick room_wait = 30 * kSecond;    // how long a load waits while all models are in use
  Tick hung_after = 30 * kSecond;   // without a sign of life in work: the model is not unloaded any more
  std::string default_name;         // of requests that name none; empty: the one used last
  std::function<void()> on_change;  // a model was loaded, failed or went; no lock is held; may be empty
  std::function<void(const std::string& name, Instance&)> on_load;    // before anybody may use it; may be empty
  std::function<void(const std::string& name, Instance&)> on_unload;  // when nobody uses it any more; may be empty
};

// "NAME:latest" is NAME.
std::string_view plain_name(std::string_view name);

enum class ModelState : uint8_t { kUnloaded, kWaiting, kLoading, kLoaded, kFailed };

struct ModelStatus {
  ModelListing listing;
  ModelState state = ModelState::kUnloaded;
  uint64_t bytes = 0;  // reserved
  size_t n_uses = 0;
  double progress = 0;      // 0..1 of the load
  Tick expires = kForever;  // when it goes if nobody uses it
  std::string load_error;   // of the last load, when it failed
};

struct ModelEntry;
class ModelSet;

// A hold on one model, loaded or not yet. Movable; ends with its object.
class ModelUse {
 public:
  ModelUse() = default;
  explicit ModelUse(Instance& only) : only_(&only) {}  // of a server with one model: nothing is held
  ModelUse(ModelUse&& other) noexcept;
  ModelUse& operator=(ModelUse&& other) noexcept;
  ~ModelUse();

  // Null while it is not loaded.
  Instance* instance() const;
  // Why it never will be; nothing while it may.
  std::optional<Error> failure() const;
  // How long the model stays behind its last use; kForever: until its place is needed.
  void set_keep_alive(Tick keep_alive) const;

 private:
  friend class ModelSet;
  enum class Kind : uint8_t { kUse, kLook };
  ModelUse(ModelSet& set, std::shared_ptr<ModelEntry> entry, Kind kind);
  Instance* only_ = nullptr;
  ModelSet* set_ = nullptr;
  std::shared_ptr<ModelEntry> entry_;
  Kind kind_ = Kind::kUse;
};

class ModelSet {
 public:
  ModelSet(ModelSource source, ModelSetOptions options);
  ~ModelSet();
  ModelSet(const ModelSet&) = delete;
  ModelSet& operator=(const ModelSet&) = delete;

  // A hold on the model of this name, which is loaded if it is not; empty: the default. "NAME:latest" is NAME.
  // kModelNotFound, kMissingField (no name and no default), kQueueFull.
  Result<ModelUse> use(std::string_view name);
  // A short hold on a model that is loaded, which makes it no younger; kInvalidValue when it is not. Empty: the default
  // one, else the one used last.
  Result<ModelUse> look(std::string_view name);
  // The same for all that are loaded.
  std::vector<ModelUse> loaded();

  // Begins to load. kModelNotFound; kInvalidValue when it is loaded already, or on its way.
  Result<void> load(std::string_view name);
  // Unloads as soon as nobody uses it. kModelNotFound; kInvalidValue when it is not loaded.
  Result<void> unload(std::string_view name);
  // What the files of a model say of it, loaded or not; nothing while they are read: on_change() comes behind.
  std::optional<Result<ModelHead>> head(std::string_view name);
  // All that could be loaded and all that are, by name.
  std::vector<ModelStatus> statuses();

  const ModelSetOptions& options() const { return options_; }
  uint64_t used_bytes() const;
  // For how long a model that nobody uses has been ending; 0: none is.
  Tick retiring_age() const;
  // The last call but the destructor: ends the threads, gives up a load, and halts every instance: nothing is computed
  // or delivered afterwards.
  void halt();

 private:
  friend class ModelUse;
  using Lock = std::unique_lock<std::mutex>;
  using EntryPtr = std::shared_ptr<ModelEntry>;

  void run();
  bool unload_one(Lock& lock);
  bool load_one(Lock& lock);
  bool plan(const EntryPtr& entry, Lock& lock);
  void load_now(const EntryPtr& entry, uint64_t bytes, Lock& lock);
  void retire(const EntryPtr& entry, Lock& lock);
  void fail(const EntryPtr& entry, Error error, Lock& lock);
  bool may_go(const ModelEntry& entry) const;
  bool room_could_be_made(const MemoryNeed& need) const;
  EntryPtr longest_unused() const;
  Tick next_event() const;
  Error no_room(const ModelEntry& entry) const;
  size_t n_in_memory() const;
  void release(const EntryPtr& entry, ModelUse::Kind kind);
  Result<std::string> known_name(std::string_view name);
  std::vector<ModelListing> listing();
  EntryPtr queue_entry(const std::string& name);

  const ModelSource source_;
  const ModelSetOptions options_;
  SystemClock clock_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, EntryPtr, std::less<>> entries_;        // guarded by mutex_; loaded, or on their way
  std::deque<EntryPtr> queue_;                                  // guarded by mutex_; to be loaded
  std::map<std::string, std::string, std::less<>> last_error_;  // guarded by mutex_; of the last load
  uint64_t used_bytes_ = 0;                                     // guarded by mutex_
  size_t n_waiting_ = 0;                                        // guarded by mutex_; uses of entries not loaded
  Tick retiring_since_ = 0;                                     // guarded by mutex_; 0: no model is ending
  bool stopping_ = false;                                       // guarded by mutex_
  std::mutex listing_mutex_;
  std::vector<ModelListing> listing_;  // guarded by listing_mutex_
  Tick listed_at_ = 0;                 // guarded by listing_mutex_; 0: never
  std::unique_ptr<ModelHeads> heads_;  // until halt()
  std::thread thread_;
};

}  // namespace millrace::instance
