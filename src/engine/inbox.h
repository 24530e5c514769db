// Inbox: the messages of other threads to the engine thread, in order, with the bounds of the queue. The prompts of one
// client request are taken or refused together: they take one place, and when others wait their tokens and forks must
// fit too. Every other message names an accepted request or switches the whole engine, so their number is bounded by
// what the server sends per request. Thread: any; drain() and wait(): engine.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/result.h"
#include "flow/generate_request.h"

namespace millrace::engine {

enum class MessageKind : uint8_t {
  kSubmit,
  kCancel,
  kCancelFork,
  kPark,
  kResume,
  kResetPrefixCache,
  kBeginDrain,
  kStop,
  kSession
};

struct SessionTask;

struct Message {
  MessageKind kind = MessageKind::kSubmit;
  flow::RequestId id = 0;
  uint32_t fork = 0;
  std::optional<flow::GenerateRequest> request;  // with kSubmit
  std::shared_ptr<SessionTask> session;          // with kSession
};

struct InboxCounts {
  uint32_t n_places = 0;         // of client requests with a prompt not yet started
  uint64_t n_tokens = 0;         // prompt tokens not yet started
  uint64_t n_forks = 0;          // forks of prompts not yet started
  uint64_t n_accepted = 0;       // totals: prompts
  uint64_t n_refused = 0;        // calls refused
  uint64_t n_too_many = 0;       // of those, because of the limit of requests
  uint64_t n_too_long = 0;       // of those, because of the limit of tokens
  uint64_t n_forks_pending = 0;  // forks of requests that drain() has not handed over yet
  bool draining = false;
};

class Inbox {
 public:
  Inbox(uint32_t max_requests, uint64_t max_tokens) : max_requests_(max_requests), max_tokens_(max_tokens) {}

  // The prompts of one client request. kQueueFull or kDraining when they cannot be taken. No prompt: nothing is taken.
  Result<void> push_requests(std::vector<flow::GenerateRequest>&& prompts);
  void push(Message&& message);
  void count_refusal();
  void wake();

  // Moves all messages to `out` (which is cleared first, keeping its memory).
  void drain(std::vector<Message>& out);
  // A prompt started or ended: what it held of the queue is free.
  void leave_queue(const flow::GenerateRequest& request);
  // Sleeps until there is a message, wake() was called, or timeout_ns passed (negative: no limit).
  void wait(int64_t timeout_ns);

  InboxCounts counts() const;
  bool empty() const;

 private:
  const uint32_t max_requests_;
  const uint64_t max_tokens_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::vector<Message> messages_;  // guarded by mutex_
  InboxCounts counts_;             // guarded by mutex_
  bool woken_ = false;             // guarded by mutex_
};

}  // namespace millrace::engine
