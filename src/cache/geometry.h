// How many blocks of which KvGroup a sequence needs, and which of them it sees. Pure functions of a KvGeometry.
#pragma once

#include <cstdint>

#include "cache/seq_blocks.h"
#include "flow/kv_geometry.h"

namespace millrace::cache {

constexpr uint32_t ceil_div(uint32_t a, uint32_t b) { return a / b + (a % b != 0 ? 1 : 0); }

// Index of the first block that a query at position `pos` (or later) of this KvGroup sees.
inline uint32_t first_visible_block(const flow::KvGroup& group, uint32_t block_tokens, uint32_t pos) {
  if (group.kind == flow::KvGroupKind::kFull || pos + 1 <= group.window_tokens) return 0;
  if (group.kind == flow::KvGroupKind::kChunk) return (pos - pos % group.window_tokens) / block_tokens;
  return (pos + 1 - group.window_tokens) / block_tokens;
}

// What a query at position `pos` (or later) sees of a KvGroup: blocks [0, n_sinks) and [first, ...).
struct VisibleBlocks {
  uint32_t n_sinks = 0;
  uint32_t first = 0;
  bool contains(uint32_t index) const { return index < n_sinks || index >= first; }
};

// A sequence's own window concerns Full KvGroups; the others keep theirs.
inline VisibleBlocks visible_blocks(const flow::KvGroup& group, uint32_t block_tokens, const SeqBlocks& seq,
                                    uint32_t pos) {
  if (group.kind != flow::KvGroupKind::kFull || seq.window_tokens == 0) {
    return {.n_sinks = 0, .first = first_visible_block(group, block_tokens, pos)};
  }
  uint32_t first = pos + 1 <= seq.window_tokens ? 0 : (pos + 1 - seq.window_tokens) / block_tokens;
  uint32_t n_sinks = ceil_div(seq.sink_tokens, block_tokens);
  return {.n_sinks = n_sinks < first ? n_sinks : first, .first = first};
}

// Most blocks of one KvGroup that a sequence of `n_tokens` tokens holds at once when a step adds at most `chunk` rows.
inline uint32_t max_blocks_of_group(const flow::KvGroup& group, uint32_t block_tokens, uint32_t n_tokens,
                                    uint32_t chunk) {
  uint32_t all = ceil_div(n_tokens, block_tokens);
  if (group.kind == flow::KvGroupKind::kFull) return all;
  uint64_t span = uint64_t{group.window_tokens} - 1 + chunk;
  uint64_t live = (span + block_tokens - 1) / block_tokens + 1;
  return live < all ? static_cast<uint32_t>(live) : all;
}

// The same, summed over all KvGroups.
inline uint32_t max_blocks_of_sequence(const flow::KvGeometry& kv, uint32_t n_tokens, uint32_t chunk) {
  uint64_t sum = 0;
  for (const flow::KvGroup& group : kv.groups) sum += max_blocks_of_group(group, kv.block_tokens, n_tokens, chunk);
  return sum > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(sum);
}

// Longest sequence (prompt + output) that always fits the pool when it runs alone; at most kv.max_len.
inline uint32_t longest_sequence(const flow::KvGeometry& kv, uint32_t chunk) {
  uint32_t low = 0;
  uint32_t high = kv.max_len;
  while (low < high) {  // max_blocks_of_sequence grows with n_tokens
    uint32_t middle = low + (high - low + 1) / 2;
    if (max_blocks_of_sequence(kv, middle, chunk) <= kv.n_blocks) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

}  // namespace millrace::cache
