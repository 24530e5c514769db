#include "instance/model_set.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/macros.h"
#include "instance/model_entry.h"

namespace millrace::instance {
namespace {

constexpr Tick kListingAge = kSecond;  // the store is looked at again after that

double gib(uint64_t bytes) { return static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << 30); }

uint64_t bytes_of(const InstanceFacts& facts) { return facts.weight_bytes + facts.kv_bytes + facts.scratch_bytes; }

}  // namespace

std::string_view plain_name(std::string_view name) {
  constexpr std::string_view kLatest = ":latest";
  if (name.ends_with(kLatest)) name.remove_suffix(kLatest.size());
  return name;
}

ModelSet::ModelSet(ModelSource source, ModelSetOptions options)
    : source_(std::move(source)),
      options_(std::move(options)),
      heads_(std::make_unique<ModelHeads>(source_.head, options_.on_change)),
      thread_([this] { run(); }) {
  CHECK(options_.most_loaded > 0);
}

ModelSet::~ModelSet() { halt(); }

void ModelSet::halt() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  heads_.reset();
  std::vector<EntryPtr> left;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [name, entry] : entries_) left.push_back(entry);
  }
  for (const EntryPtr& entry : left) {
    if (entry->instance != nullptr) entry->instance->halt();
  }
}

uint64_t ModelSet::used_bytes() const {
  std::lock_guard lock(mutex_);
  return used_bytes_;
}

std::vector<ModelListing> ModelSet::listing() {
  std::lock_guard lock(listing_mutex_);
  Tick now = clock_.now();
  if (listed_at_ == 0 || now - listed_at_ >= kListingAge) {
    listing_ = source_.list();
    listed_at_ = now;
  }
  return listing_;
}

Result<std::string> ModelSet::known_name(std::string_view name) {
  name = plain_name(name);
  {
    std::lock_guard lock(mutex_);
    if (entries_.find(name) != entries_.end()) return std::string(name);
  }
  std::string have;
  for (const ModelListing& one : listing()) {
    if (one.name == name) return one.name;
    if (have.size() < 256) have += (have.empty() ? "" : ", ") + quote_for_message(one.name);
  }
  return Error{ErrorCode::kModelNotFound,
               fmt::format("no model {}; there is: {}", quote_for_message(name), have.empty() ? "none" : have),
               "model"};
}

ModelSet::EntryPtr ModelSet::queue_entry(const std::string& name) {
  auto entry = std::make_shared<ModelEntry>();
  entry->name = name;
  entry->keep_alive = options_.keep_alive;
  entries_[name] = entry;
  queue_.push_back(entry);
  last_error_.erase(name);
  wake_.notify_all();
  return entry;
}

Result<ModelUse> ModelSet::use(std::string_view name) {
  std::string wanted(name);
  if (wanted.empty()) {
    std::lock_guard lock(mutex_);
    wanted = options_.default_name;
    Tick latest = 0;
    for (const auto& [key, entry] : entries_) {
      bool usable = options_.default_name.empty() && (latest == 0 || entry->last_used > latest);
      if (!usable) continue;
      latest = std::max<Tick>(entry->last_used, 1);
      wanted = key;
    }
  }
  if (wanted.empty()) {
    return Error{ErrorCode::kMissingField, "model is required: none is loaded, so the request has to name one",
                 "model"};
  }
  std::string known = TRY(known_name(wanted));
  std::lock_guard lock(mutex_);
  auto found = entries_.find(known);
  bool loaded = found != entries_.end() && found->second->state == ModelState::kLoaded;
  if (!loaded && n_waiting_ >= options_.most_waiting) {
    return Error{ErrorCode::kQueueFull, fmt::format("{} requests wait for models already", n_waiting_), ""};
  }
  if (found == entries_.end() && !options_.autoload) {
    return Error{ErrorCode::kInvalidValue, fmt::format("model {} is not loaded", quote_for_message(known)), "model"};
  }
  EntryPtr entry = found == entries_.end() ? queue_entry(known) : found->second;
  ++entry->n_uses;
  entry->last_used = clock_.now();
  if (!loaded) ++n_waiting_;
  return ModelUse(*this, std::move(entry), ModelUse::Kind::kUse);
}

Result<ModelUse> ModelSet::look(std::string_view name) {
  name = plain_name(name);
  if (!name.empty()) TRY(known_name(name));
  std::lock_guard lock(mutex_);
  EntryPtr best;
  for (const auto& [key, entry] : entries_) {
    if (entry->state != ModelState::kLoaded || !(name.empty() || key == name)) continue;
    bool preferred = key == options_.default_name;
    if (best == nullptr || preferred || (best->name != options_.default_name && entry->last_used > best->last_used)) {
      best = entry;
    }
  }
  if (best == nullptr) {
    return Error{ErrorCode::kInvalidValue,
                 name.empty() ? "no model is loaded" : fmt::format("model {} is not loaded", quote_for_message(name)),
                 "model"};
  }
  ++best->n_looks;
  return ModelUse(*this, std::move(best), ModelUse::Kind::kLook);
}

std::vector<ModelUse> ModelSet::loaded() {
  std::lock_guard lock(mutex_);
  std::vector<ModelUse> out;
  for (const auto& [name, entry] : entries_) {
    if (entry->state != ModelState::kLoaded) continue;
    ++entry->n_looks;
    out.push_back(ModelUse(*this, entry, ModelUse::Kind::kLook));
  }
  return out;
}

Result<void> ModelSet::load(std::string_view name) {
  std::string known = TRY(known_name(name));
  std::lock_guard lock(mutex_);
  auto found = entries_.find(known);
  if (found != entries_.end()) {
    EntryPtr& entry = found->second;
    bool was_leaving = std::exchange(entry->leaves, false);
    if (!was_leaving) {
      return Error{ErrorCode::kInvalidValue, "model is already running", "model"};
    }
    entry->wanted = true;
    return {};
  }
  queue_entry(known)->wanted = true;
  return {};
}

Result<void> ModelSet::unload(std::string_view name) {
  std::string known = TRY(known_name(name));
  std::lock_guard lock(mutex_);
  auto found = entries_.find(known);
  if (found == entries_.end()) {
    return Error{ErrorCode::kInvalidValue, "model is not running", "model"};
  }
  found->second->leaves = true;
  found->second->wanted = false;
  wake_.notify_all();
  return {};
}

std::vector<ModelStatus> ModelSet::statuses() {
  std::map<std::string, ModelStatus> all;
  for (ModelListing& one : listing()) {
    std::string name = one.name;
    all[name].listing = std::move(one);
  }
  std::lock_guard lock(mutex_);
  for (const auto& [name, entry] : entries_) {
    ModelStatus& status = all[name];
    status.listing.name = name;
    status.state = entry->state;
    status.bytes = entry->bytes;
    status.n_uses = entry->n_uses;
    status.progress = entry->progress;
    status.expires = entry->expires();
  }
  for (const auto& [name, text] : last_error_) {
    auto found = all.find(name);
    if (found == all.end() || found->second.state != ModelState::kUnloaded) continue;
    found->second.state = ModelState::kFailed;
    found->second.load_error = text;
  }
  std::vector<ModelStatus> out;
  for (auto& [name, status] : all) out.push_back(std::move(status));
  return out;
}

void ModelSet::release(const EntryPtr& entry, ModelUse::Kind kind) {
  std::lock_guard lock(mutex_);
  if (kind == ModelUse::Kind::kLook) {
    --entry->n_looks;
  } else {
    --entry->n_uses;
    if (entry->on_its_way()) --n_waiting_;
    if (entry->state == ModelState::kLoaded) entry->last_used = clock_.now();
  }
  if (entry->n_uses + entry->n_looks == 0) wake_.notify_all();
}

void ModelSet::run() {
  Lock lock(mutex_);
  while (!stopping_) {
    if (unload_one(lock) || load_one(lock)) continue;
    Tick at = next_event();
    if (at == kForever) {
      wake_.wait(lock);
    } else {
      wake_.wait_for(lock, std::chrono::nanoseconds(std::max<Tick>(at - clock_.now(), 0)));
    }
  }
}

// When something happens by itself: a model expires, a load has waited long enough.
Tick ModelSet::next_event() const {
  Tick at = kForever;
  auto earlier = [&](Tick tick) { at = at == kForever ? tick : std::min(at, tick); };
  for (const auto& [name, entry] : entries_) {
    if (may_go(*entry) && entry->keep_alive >= 0) earlier(entry->expires());
  }
  if (!queue_.empty()) earlier(queue_.front()->room_until);
  return at;
}

// True when it did something.
bool ModelSet::unload_one(Lock& lock) {
  Tick now = clock_.now();
  for (const auto& [name, entry] : entries_) {
    if (!may_go(*entry)) continue;
    bool expired = entry->keep_alive >= 0 && now >= entry->expires();
    if (!entry->leaves && !expired) continue;
    retire(EntryPtr(entry), lock);
    return true;
  }
  return false;
}

void ModelSet::retire(const EntryPtr& entry, Lock& lock) {
  DCHECK(entry->idle());
  entries_.erase(entry->name);
  std::unique_ptr<Instance> gone = std::move(entry->instance);
  entry->state = ModelState::kUnloaded;
  retiring_since_ = clock_.now();
  lock.unlock();
  if (options_.on_unload) options_.on_unload(entry->name, *gone);
  gone.reset();
  LOG(LogLevel::kInfo, "model {}: unloaded", quote_for_message(entry->name));
  lock.lock();
  retiring_since_ = 0;
  used_bytes_ -= entry->bytes;
  if (!options_.on_change) return;
  lock.unlock();
  options_.on_change();
  lock.lock();
}

// Nobody uses it, and its engine is well: one that hangs stays where /health sees it.
bool ModelSet::may_go(const ModelEntry& entry) const {
  if (!entry.idle() || entry.instance->state() == InstanceState::kDead) return false;
  return entry.instance->stall_age() < options_.hung_after;
}

Tick ModelSet::retiring_age() const {
  std::lock_guard lock(mutex_);
  return retiring_since_ == 0 ? 0 : clock_.now() - retiring_since_;
}

std::optional<Result<ModelHead>> ModelSet::head(std::string_view name) {
  Result<std::string> known = known_name(name);
  if (!known.ok()) return known.take_error();
  for (const ModelListing& one : listing()) {
    if (one.name == *known) return heads_->get(one);
  }
  return Error{ErrorCode::kModelNotFound, fmt::format("model {} is gone", quote_for_message(*known)), "model"};
}

// Whether the models in use leave room for this one, whoever else goes.
bool ModelSet::room_could_be_made(const MemoryNeed& need) const {
  uint64_t kept_bytes = used_bytes_;
  size_t n_kept = n_in_memory();
  for (const auto& [name, entry] : entries_) {
    if (!may_go(*entry)) continue;
    kept_bytes -= entry->bytes;
    --n_kept;
  }
  return n_kept < options_.most_loaded && options_.budget_bytes - kept_bytes >= need.least_bytes;
}

size_t ModelSet::n_in_memory() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& one) {
    return one.second->state == ModelState::kLoaded || one.second->state == ModelState::kLoading;
  }));
}

ModelSet::EntryPtr ModelSet::longest_unused() const {
  EntryPtr out;
  for (const auto& [name, entry] : entries_) {
    if (!may_go(*entry)) continue;
    if (out == nullptr || entry->last_used < out->last_used) out = entry;
  }
  return out;
}

Error ModelSet::no_room(const ModelEntry& entry) const {
  std::string others;
  for (const auto& [name, other] : entries_) {
    if (other->bytes == 0) continue;
    others += fmt::format("{}{} {:.2f} GiB ({})", others.empty() ? "" : ", ", quote_for_message(name),
                          gib(other->bytes), other->n_uses > 0 ? "in use" : "idle");
  }
  return {ErrorCode::kMemoryPressure,
          fmt::format("no room for model {}: it needs {:.2f} GiB, {:.2f} of {:.2f} GiB are free and {} of {} models "
                      "are loaded: {}",
                      quote_for_message(entry.name), gib(entry.need ? entry.need->least_bytes : 0),
                      gib(options_.budget_bytes - used_bytes_), gib(options_.budget_bytes), n_in_memory(),
                      options_.most_loaded, others.empty() ? "none" : others),
          "model"};
}

// Ends a load that never was one.
void ModelSet::fail(const EntryPtr& entry, Error error, Lock& lock) {
  if (!entry->abandoned()) LOG(LogLevel::kError, "model {}: {}", quote_for_message(entry->name), error.message);
  if (error.code != ErrorCode::kCancelled) last_error_[entry->name] = error.message;
  entry->state = ModelState::kFailed;
  entry->error = std::move(error);
  n_waiting_ -= entry->n_uses;
  entries_.erase(entry->name);
  std::erase(queue_, entry);
  if (!options_.on_change) return;
  lock.unlock();
  options_.on_change();
  lock.lock();
}

// Asks how much the model takes, once. False when that ended the load.
bool ModelSet::plan(const EntryPtr& entry, Lock& lock) {
  if (entry->need) return true;
  lock.unlock();
  Result<MemoryNeed> need = source_.need(entry->name, [&](const LoadProgress& progress) {
    std::lock_guard guard(mutex_);
    entry->progress = progress.fraction;
    return !stopping_ && !entry->abandoned();
  });
  lock.lock();
  if (!need.ok()) {
    fail(entry, need.take_error(), lock);
    return false;
  }
  entry->need = *need;
  entry->room_until = clock_.now() + options_.room_wait;
  if (need->least_bytes <= options_.budget_bytes) return true;
  fail(entry, no_room(*entry), lock);
  return false;
}

// True when it did something; false: nothing is to be loaded, or there is no room yet.
bool ModelSet::load_one(Lock& lock) {
  if (queue_.empty()) return false;
  EntryPtr entry = queue_.front();
  if (entry->abandoned()) {
    fail(entry, {ErrorCode::kCancelled, "nobody waits for the model any more", ""}, lock);
    return true;
  }
  if (!plan(entry, lock)) return true;
  const MemoryNeed& need = *entry->need;
  uint64_t share = options_.budget_bytes / options_.most_loaded;
  uint64_t bytes = std::max(need.least_bytes, std::min(need.usual_bytes, share));
  uint64_t left = options_.budget_bytes - used_bytes_;
  bool full = n_in_memory() >= options_.most_loaded;
  if (full || left < bytes) {
    EntryPtr victim = longest_unused();
    if (victim != nullptr && room_could_be_made(need)) {
      retire(victim, lock);
      return true;
    }
    bytes = left;  // with less KV than it would like
  }
  if (!full && bytes >= need.least_bytes) {
    load_now(entry, bytes, lock);
    return true;
  }
  if (clock_.now() < entry->room_until) return false;
  fail(entry, no_room(*entry), lock);
  return true;
}

void ModelSet::load_now(const EntryPtr& entry, uint64_t bytes, Lock& lock) {
  queue_.pop_front();
  entry->state = ModelState::kLoading;
  entry->bytes = bytes;
  used_bytes_ += bytes;
  lock.unlock();
  if (options_.on_change) options_.on_change();
  auto result = source_.load(entry->name, bytes, [&](const LoadProgress& progress) {
    std::lock_guard guard(mutex_);
    entry->progress = progress.fraction;
    return !stopping_ && !entry->abandoned();
  });
  if (result.ok() && options_.on_load) options_.on_load(entry->name, **result);
  lock.lock();
  if (!result.ok()) {
    used_bytes_ -= bytes;
    entry->bytes = 0;
    if (result.error().code == ErrorCode::kCancelled && !stopping_ && !entry->abandoned()) {
      entry->state = ModelState::kWaiting;  // given up, and asked for again meanwhile
      entry->progress = 0;
      entry->room_until = clock_.now() + options_.room_wait;
      queue_.push_front(entry);
      return;
    }
    fail(entry, result.take_error(), lock);
    return;
  }
  uint64_t taken = bytes_of((*result)->facts());
  DCHECK(taken <= bytes);
  used_bytes_ -= bytes - std::min(taken, bytes);
  entry->bytes = std::min(taken, bytes);
  entry->instance = std::move(result).value();
  entry->state = ModelState::kLoaded;
  entry->wanted = false;
  entry->last_used = clock_.now();
  n_waiting_ -= entry->n_uses;
  lock.unlock();
  LOG(LogLevel::kInfo, "model {}: loaded, {:.2f} GiB", quote_for_message(entry->name), gib(entry->bytes));
  if (options_.on_change) options_.on_change();
  lock.lock();
}

}  // namespace millrace::instance
