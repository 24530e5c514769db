#include "engine/sessions.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/macros.h"

namespace millrace::engine {
namespace {

constexpr uint64_t kBytesPerTurn = 16 << 20;  // 1 to 2 ms of memory bandwidth, as for tiers
constexpr size_t kMostNames = 4096;
constexpr uint64_t kMostTokens = 16 << 20;  // of all names: 64 MiB

}  // namespace

void Sessions::remember(const std::string& name, uint32_t scope, const std::string& salt,
                        const cache::TokenView& tokens) {
  Known known{.name = name, .scope = scope, .salt = salt, .tokens = {}};
  known.tokens.assign(tokens.prompt.begin(), tokens.prompt.end());
  known.tokens.insert(known.tokens.end(), tokens.outputs.begin(), tokens.outputs.end());
  if (auto older = find(name); older != known_.end()) {
    n_known_tokens_ -= older->tokens.size();
    known_.erase(older);
  }
  n_known_tokens_ += known.tokens.size();
  known_.push_back(std::move(known));
  while (known_.size() > kMostNames || (n_known_tokens_ > kMostTokens && known_.size() > 1)) {
    n_known_tokens_ -= known_.front().tokens.size();
    known_.pop_front();
  }
}

std::deque<Sessions::Known>::iterator Sessions::find(const std::string& name) {
  return std::ranges::find(known_, name, &Known::name);
}

void Sessions::add(std::shared_ptr<SessionTask> task) {
  jobs_.push_back({.task = std::move(task), .kv = {}, .loaded = {}});
}

bool Sessions::turn(bool idle) {
  if (jobs_.empty() || !idle) return false;
  Job& job = jobs_.front();
  Result<void> outcome;
  if (!std::exchange(job.begun, true)) outcome = begin(job);
  if (outcome.ok() && go_on(job)) return true;
  std::shared_ptr<SessionTask> task = std::move(job.task);
  cache_.release(job.kv);
  jobs_.erase(jobs_.begin());
  task->finish(std::move(outcome));
  return true;
}

Result<void> Sessions::begin(Job& job) {
  SessionTask& task = *job.task;
  uint32_t block_tokens = cache_.geometry().block_tokens;
  if (task.verb == SessionVerb::kRestore) {
    job.kv.scope = task.scope;
    CHECK(task.copy.blocks.size() <= task.copy.tokens.size() / block_tokens, "{} blocks of {} tokens",
          task.copy.blocks.size(), task.copy.tokens.size());
    for (const flow::SessionBlock& block : task.copy.blocks) job.loaded.push_back(block.kv_groups);
    return {};
  }
  auto known = find(task.name);
  if (known == known_.end()) {
    return Error{ErrorCode::kNotFound, fmt::format("no request of {} has ended yet", task.name), ""};
  }
  job.kv.scope = known->scope;
  task.n_tokens = cache_.match(job.kv, {.prompt = known->tokens, .outputs = {}}, UINT32_MAX);
  if (task.verb == SessionVerb::kErase) {
    erase(job, *known);
    n_known_tokens_ -= known->tokens.size();
    known_.erase(known);
    return {};
  }
  uint64_t bytes = 0;
  for (uint32_t g = 0; g < cache_.geometry().groups.size(); ++g) {
    auto held = [](flow::BlockId id) { return id != flow::kNullBlock; };
    bytes += static_cast<uint64_t>(std::ranges::count_if(job.kv.table[g], held)) * cache_.geometry().block_bytes;
  }
  if (bytes > task.max_bytes) {
    return Error{ErrorCode::kResource,
                 fmt::format("{} has {} bytes of KV: at most {} are saved", task.name, bytes, task.max_bytes), ""};
  }
  task.copy.cache_salt = known->salt;
  task.copy.tokens = known->tokens;
  return {};
}

// False when the job is done.
bool Sessions::go_on(Job& job) {
  switch (job.task->verb) {
    case SessionVerb::kSave:
      return save_some(job);
    case SessionVerb::kRestore:
      return restore_some(job);
    case SessionVerb::kErase:
      return false;
  }
  return false;
}

bool Sessions::save_some(Job& job) {
  flow::SessionCopy& copy = job.task->copy;
  size_t n_blocks = job.task->n_tokens / cache_.geometry().block_tokens;
  for (uint64_t bytes = 0; copy.blocks.size() < n_blocks && bytes < kBytesPerTurn;) {
    size_t index = copy.blocks.size();
    flow::SessionBlock& block = copy.blocks.emplace_back();
    for (uint32_t g = 0; g < cache_.geometry().groups.size(); ++g) {
      flow::BlockId id = job.kv.table[g][index];
      if (id == flow::kNullBlock) continue;
      std::span<const uint8_t> from = bytes_(id);
      block.kv_groups |= uint32_t{1} << g;
      block.bytes.insert(block.bytes.end(), from.begin(), from.end());
      bytes += cache_.geometry().block_bytes;
    }
  }
  return copy.blocks.size() < n_blocks;
}

bool Sessions::restore_some(Job& job) {
  SessionTask& task = *job.task;
  auto max_new = static_cast<uint32_t>(std::max<uint64_t>(1, kBytesPerTurn / cache_.geometry().block_bytes));
  restored_.clear();
  cache::TokenView tokens{.prompt = task.copy.tokens, .outputs = {}};
  bool more = cache_.restore(job.kv, tokens, job.loaded, max_new, restored_);
  for (const cache::RestoredBlock& place : restored_) {
    const flow::SessionBlock& block = task.copy.blocks[place.index];
    auto before = static_cast<size_t>(std::popcount(block.kv_groups & ((uint32_t{1} << place.kv_group) - 1)));
    std::span<uint8_t> to = bytes_(place.id);
    if (to.empty()) continue;  // a pool without bytes, of a replay
    std::memcpy(to.data(), block.bytes.data() + before * to.size(), to.size());
  }
  if (more) return true;
  task.n_tokens = job.kv.n_published * cache_.geometry().block_tokens;
  remember(task.name, task.scope, task.copy.cache_salt, tokens);
  return false;
}

// Forgets what no other sequence holds and no other prefix needs.
void Sessions::erase(Job& job, const Known& known) {
  cache_.end_leases(known.name);
  job.task->n_tokens = cache_.forget_own_path(job.kv) * cache_.geometry().block_tokens;
  cache_.heal(job.kv);
}

void Sessions::fail_all(const Error& error) {
  while (!jobs_.empty()) {
    std::shared_ptr<SessionTask> task = std::move(jobs_.back().task);
    cache_.release(jobs_.back().kv);
    jobs_.pop_back();
    task->finish(error);
  }
}

void Sessions::holders(std::vector<const cache::SeqBlocks*>& out) const {
  for (const Job& job : jobs_) out.push_back(&job.kv);
}

void Sessions::holders(std::vector<cache::SeqBlocks*>& out) {
  for (Job& job : jobs_) out.push_back(&job.kv);
}

void Sessions::heal() {
  for (Job& job : jobs_) cache_.heal(job.kv);
}

}  // namespace millrace::engine
