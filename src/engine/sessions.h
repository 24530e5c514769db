// Sessions: conversations by name, and copies of their KV out of the pool and back (session files).
//  1. A name stands for the tokens of the last request of that name that ended; the KV is what the cache still has.
//  2. Bytes are copied only while no step is in flight, some per turn; meanwhile the path is held.
//  3. Every task ends with one call of finish().
// Thread: engine; a SessionTask belongs to the engine from Engine::session() until its `done` is called.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cache/kv_cache.h"
#include "flow/session_copy.h"
#include "flow/tier_store.h"

namespace millrace::engine {

enum class SessionVerb : uint8_t { kSave, kRestore, kErase };

struct SessionTask {
  SessionVerb verb = SessionVerb::kSave;
  std::string name;
  uint32_t scope = 0;      // kRestore: of copy.cache_salt
  flow::SessionCopy copy;  // kSave: filled; kRestore: given
  uint32_t n_tokens = 0;   // filled: whose KV was copied, or forgotten
  uint64_t max_bytes = 0;  // kSave: most that is copied
  // Called on the engine thread; must not block.
  std::function<void(Result<void>)> done;

  void finish(Result<void> outcome) { std::exchange(done, nullptr)(std::move(outcome)); }
};

class Sessions {
 public:
  using BlockBytes = std::function<std::span<uint8_t>(flow::BlockId)>;  // [block_bytes] of a block of the pool

  Sessions(cache::KvCache& cache, BlockBytes bytes) : cache_(cache), bytes_(std::move(bytes)) {}

  // A request of this name ended.
  void remember(const std::string& name, uint32_t scope, const std::string& salt, const cache::TokenView& tokens);
  void add(std::shared_ptr<SessionTask> task);
  // `idle`: no step is in flight. True when there was something to do.
  bool turn(bool idle);
  // A step in flight keeps a task waiting.
  bool waits() const { return !jobs_.empty(); }
  void fail_all(const Error& error);
  // Sequences in disguise that hold blocks (audits).
  void holders(std::vector<const cache::SeqBlocks*>& out) const;
  void holders(std::vector<cache::SeqBlocks*>& out);
  // The trie forgot paths.
  void heal();

 private:
  struct Known {
    std::string name;
    uint32_t scope = 0;
    std::string salt;
    std::vector<TokenId> tokens;
  };
  struct Job {
    std::shared_ptr<SessionTask> task;
    cache::SeqBlocks kv;
    std::vector<uint32_t> loaded;  // kRestore: [blocks] KvGroups that the copy has
    bool begun = false;
  };

  std::deque<Known>::iterator find(const std::string& name);
  Result<void> begin(Job& job);
  bool go_on(Job& job);
  bool save_some(Job& job);
  bool restore_some(Job& job);
  void erase(Job& job, const Known& known);

  cache::KvCache& cache_;
  BlockBytes bytes_;
  std::deque<Known> known_;  // the latest last
  uint64_t n_known_tokens_ = 0;
  std::vector<Job> jobs_;                       // in the order they came
  std::vector<cache::RestoredBlock> restored_;  // scratch
};

}  // namespace millrace::engine
