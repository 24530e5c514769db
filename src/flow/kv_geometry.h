// What the cache needs to know of a model's KV: groups of layers with one life cycle (KvGroup), all with the same
// bytes per block so that one pool serves them. Built at load from the model's tensor::KvLayerSpec list.
#pragma once

#include <cstdint>
#include <vector>

namespace millrace::flow {

constexpr int kMaxKvGroups = 8;

enum class KvGroupKind : uint8_t { kFull, kWindow, kChunk };

// Layers whose blocks are taken and released together. kWindow: a query at position p sees (p - window_tokens, p].
// kChunk: it sees from the last multiple of window_tokens on (attention local to chunks).
struct KvGroup {
  KvGroupKind kind = KvGroupKind::kFull;
  uint32_t window_tokens = 0;    // 0 for kFull
  std::vector<uint32_t> layers;  // model layer indices, in order of their place inside a block
};

struct KvGeometry {
  uint32_t block_tokens = 32;   // tokens per block; 32 on CPU
  uint32_t n_blocks = 0;        // blocks in the pool, shared by all KvGroups
  uint64_t block_bytes = 0;     // bytes of one block of any KvGroup
  uint32_t max_len = 0;         // longest sequence in tokens (prompt + output)
  std::vector<KvGroup> groups;  // 1..kMaxKvGroups
};

}  // namespace millrace::flow
