// Router: the only way from the engine thread and the text workers to the owner of a session. It holds one mailbox
// per open session in a table of slots; others hold a SessionKey (generation and slot), checked on every use.
//  1. Mail for a closed session is dropped. A key is never used twice.
//  2. No lock is held while a Notifier is called.
// Thread: any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "flow/token_event.h"

namespace millrace::instance {

struct Prepared;

using SessionKey = uint64_t;  // generation << 20 | slot; 0 = none

constexpr unsigned kSlotBits = 20;
constexpr unsigned kPromptBits = 12;  // prompts of one session: at most 4096
constexpr flow::RequestId request_id_of(SessionKey key, size_t prompt_idx) { return key << kPromptBits | prompt_idx; }
constexpr SessionKey key_of(flow::RequestId id) { return id >> kPromptBits; }
constexpr size_t prompt_of(flow::RequestId id) { return id & ((1u << kPromptBits) - 1); }

// Told which sessions have mail. Called from the engine thread and from text workers: must not block.
// Must outlive the instance.
class Notifier {
 public:
  virtual ~Notifier() = default;
  virtual void notify(std::span<const SessionKey> keys) = 0;
};

struct Mail {
  std::unique_ptr<Prepared> prepared;    // once, from a text worker
  std::vector<flow::TokenEvent> events;  // in order of the engine
};

class Router final : public flow::EventSink {
 public:
  Router();
  ~Router() override;

  // 0 when every slot is taken.
  SessionKey open(Notifier& notifier);
  void close(SessionKey key);
  Mail take(SessionKey key);
  void post_prepared(SessionKey key, std::unique_ptr<Prepared> prepared);
  // Thread: engine.
  void deliver(std::span<flow::TokenEvent> events) override;
  size_t n_open() const;

 private:
  struct Slot {
    SessionKey key = 0;  // 0: free
    uint32_t generation = 0;
    bool notified = false;  // the notifier knows of the mail
    Notifier* notifier = nullptr;
    Mail mail;
  };
  Slot* find(SessionKey key);

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Slot>> slots_;  // guarded by mutex_
  std::vector<uint32_t> free_;                // guarded by mutex_
  size_t n_open_ = 0;                         // guarded by mutex_
};

}  // namespace millrace::instance
