#include "instance/router.h"

#include <new>
#include <utility>

#include "instance/text_side.h"

namespace millrace::instance {
namespace {

constexpr SessionKey kSlotMask = (SessionKey{1} << kSlotBits) - 1;

struct Wakeup {
  Notifier* notifier = nullptr;
  std::vector<SessionKey> keys;
};

void add_wakeup(std::vector<Wakeup>& wakeups, Notifier* notifier, SessionKey key) {
  for (Wakeup& wakeup : wakeups) {
    if (wakeup.notifier == notifier) {
      wakeup.keys.push_back(key);
      return;
    }
  }
  wakeups.push_back({notifier, {key}});
}

}  // namespace

Router::Router() = default;
Router::~Router() = default;

Router::Slot* Router::find(SessionKey key) {
  size_t slot_idx = key & kSlotMask;
  if (key == 0 || slot_idx >= slots_.size() || slots_[slot_idx]->key != key) return nullptr;
  return slots_[slot_idx].get();
}

SessionKey Router::open(Notifier& notifier) {
  std::lock_guard lock(mutex_);
  uint32_t slot_idx = 0;
  if (!free_.empty()) {
    slot_idx = free_.back();
    free_.pop_back();
  } else {
    if (slots_.size() > kSlotMask) return 0;
    slot_idx = static_cast<uint32_t>(slots_.size());
    if (free_.capacity() <= slots_.size()) free_.reserve(2 * slots_.size() + 1);  // close() must not allocate
    slots_.push_back(std::make_unique<Slot>());
  }
  Slot& slot = *slots_[slot_idx];
  ++slot.generation;
  slot.key = SessionKey{slot.generation} << kSlotBits | slot_idx;
  slot.notifier = &notifier;
  slot.notified = false;
  ++n_open_;
  return slot.key;
}

void Router::close(SessionKey key) {
  Mail dropped;  // destroyed after the lock
  std::lock_guard lock(mutex_);
  Slot* slot = find(key);
  if (slot == nullptr) return;
  slot->key = 0;
  slot->notifier = nullptr;
  dropped = std::exchange(slot->mail, Mail{});
  free_.push_back(static_cast<uint32_t>(key & kSlotMask));
  --n_open_;
}

Mail Router::take(SessionKey key) {
  std::lock_guard lock(mutex_);
  Slot* slot = find(key);
  if (slot == nullptr) return {};
  slot->notified = false;
  return std::exchange(slot->mail, Mail{});
}

void Router::post_prepared(SessionKey key, std::unique_ptr<Prepared> prepared) {
  Notifier* notifier = nullptr;
  {
    std::lock_guard lock(mutex_);
    Slot* slot = find(key);
    if (slot == nullptr) return;
    slot->mail.prepared = std::move(prepared);
    notifier = std::exchange(slot->notified, true) ? nullptr : slot->notifier;
  }
  if (notifier == nullptr) return;
  try {
    notifier->notify({&key, 1});
  } catch (const std::bad_alloc&) {
    std::lock_guard lock(mutex_);
    if (Slot* slot = find(key); slot != nullptr) slot->notified = false;
    throw;
  }
}

void Router::deliver(std::span<flow::TokenEvent> events) {
  std::vector<Wakeup> wakeups;
  {
    std::lock_guard lock(mutex_);
    for (flow::TokenEvent& event : events) {
      SessionKey key = key_of(event.request);
      Slot* slot = find(key);
      if (slot == nullptr) continue;
      slot->mail.events.push_back(std::move(event));
      if (!std::exchange(slot->notified, true)) add_wakeup(wakeups, slot->notifier, key);
    }
  }
  for (const Wakeup& wakeup : wakeups) wakeup.notifier->notify(wakeup.keys);
}

size_t Router::n_open() const {
  std::lock_guard lock(mutex_);
  return n_open_;
}

}  // namespace millrace::instance
