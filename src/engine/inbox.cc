#include "engine/inbox.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/macros.h"

namespace millrace::engine {
namespace {

constexpr uint64_t kForksPerPlace = 128;  // the default limit of n: bounds the memory of what waits

}  // namespace

Result<void> Inbox::push_requests(std::vector<flow::GenerateRequest>&& prompts) {
  uint64_t tokens = 0;
  uint64_t forks = 0;
  for (const flow::GenerateRequest& prompt : prompts) {
    tokens += prompt.prompt.size();
    forks += prompt.n;
  }
  {
    std::lock_guard lock(mutex_);
    if (counts_.draining) {
      ++counts_.n_refused;
      return Error{ErrorCode::kDraining, "the server is shutting down and takes no new requests", ""};
    }
    uint64_t max_forks = uint64_t{max_requests_} * kForksPerPlace;
    bool too_much = counts_.n_tokens + tokens > max_tokens_ || counts_.n_forks + forks > max_forks;
    if (counts_.n_places >= max_requests_ || (counts_.n_places > 0 && too_much)) {
      ++counts_.n_refused;
      ++(counts_.n_places >= max_requests_ ? counts_.n_too_many : counts_.n_too_long);
      return Error{ErrorCode::kQueueFull,
                   fmt::format("the queue is full: {} requests with {} prompt tokens wait, limits {} and {}",
                               counts_.n_places, counts_.n_tokens, max_requests_, max_tokens_),
                   ""};
    }
    if (prompts.empty()) return {};
    // before anything is counted: it may throw
    size_t n_after = messages_.size() + prompts.size();
    if (n_after > messages_.capacity()) messages_.reserve(std::max(n_after, 2 * messages_.capacity()));
    ++counts_.n_places;
    counts_.n_accepted += prompts.size();
    counts_.n_tokens += tokens;
    counts_.n_forks += forks;
    counts_.n_forks_pending += forks;
    for (size_t i = 0; i < prompts.size(); ++i) {
      flow::GenerateRequest& request = prompts[i];
      request.more_follow = i + 1 < prompts.size();
      flow::RequestId id = request.id;
      messages_.push_back({.kind = MessageKind::kSubmit, .id = id, .request = std::move(request)});
    }
  }
  ready_.notify_one();
  return {};
}

void Inbox::push(Message&& message) {
  {
    std::lock_guard lock(mutex_);
    if (message.kind == MessageKind::kBeginDrain || message.kind == MessageKind::kStop) counts_.draining = true;
    messages_.push_back(std::move(message));
  }
  ready_.notify_one();
}

void Inbox::count_refusal() {
  std::lock_guard lock(mutex_);
  ++counts_.n_refused;
}

void Inbox::wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
  }
  ready_.notify_one();
}

void Inbox::drain(std::vector<Message>& out) {
  out.clear();
  std::lock_guard lock(mutex_);
  out.swap(messages_);
  counts_.n_forks_pending = 0;
  woken_ = false;
}

void Inbox::leave_queue(const flow::GenerateRequest& request) {
  std::lock_guard lock(mutex_);
  bool last = !request.more_follow;
  CHECK(
      counts_.n_places >= (last ? 1u : 0u) && counts_.n_tokens >= request.prompt.size() && counts_.n_forks >= request.n,
      "a request left the queue twice");
  counts_.n_places -= last ? 1 : 0;
  counts_.n_tokens -= request.prompt.size();
  counts_.n_forks -= request.n;
}

void Inbox::wait(int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  auto ready = [&] { return woken_ || !messages_.empty(); };
  if (timeout_ns < 0) {
    ready_.wait(lock, ready);
  } else {
    ready_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), ready);
  }
}

InboxCounts Inbox::counts() const {
  std::lock_guard lock(mutex_);
  return counts_;
}

bool Inbox::empty() const {
  std::lock_guard lock(mutex_);
  return messages_.empty();
}

}  // namespace millrace::engine
