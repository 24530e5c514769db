// AttentionPlan: how the attention of one step is cut into items and dealt to threads. An item is a tile of query
// tokens of one sequence x one KV head x either one absolute span of 256 tokens (split) or all its spans. Layers with
// the same window share a plan. Whatever the cut, each row meets the same spans in the same order: the same bits.
//  1. Spans are absolute: [256 i, 256 i + 256). Spans wholly before the window are left out; kernels select inside. The
//     first tokens that a sequence keeps seeing beside its window (sinks) are one more span, before the others.
//  2. Items are dealt in order, by cost; the thread that finishes the last span of a (tile, KV head) merges it.
//  3. Neighbouring decodes that begin with the same blocks (a shared prefix) make one tile: the spans they have in
//     common are met by all their rows in one call, so that K and V are read once a tile and not once a sequence;
//     behind them each row meets the spans of its own sequence.
// Thread: built by one thread, read by all behind a barrier.
#pragma once

#include <atomic>
#include <cstdint>

#include "layers/ctx.h"

namespace millrace::layers {

struct AttentionShape {
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t head_dim = 0;
  bool ordered = true;  // false: every row sees its whole sequence (encoders)

  int64_t n_group() const { return n_heads / n_kv_heads; }  // query heads per KV head
  bool operator==(const AttentionShape&) const = default;
};

struct AttentionTile {
  int32_t seq = 0;  // the first one
  int32_t row_begin = 0;
  int32_t n_tokens = 0;
  int32_t n_spans = 0;  // with the one of the sinks; of decodes joined, the most that one has
  int64_t pos = 0;      // of the first query token
  int64_t window = 0;   // tokens; 0 = none
  int64_t sinks = 0;    // > 0: span 0 of the tile is that of the sinks, for rows whose window begins behind token 0
  int64_t first_span = 0;
  int64_t n_seen = 0;         // > 0: every row sees so many tokens
  int32_t n_shared = 0;       // > 0: row t is the decode of sequence seq + t; they have so many first spans in common
  int64_t cost = 0;           // of one KV head
  int64_t item_begin = 0;     // items before this tile
  int64_t partial_begin = 0;  // split: floats before this tile's partials
};

// Partials of one (tile, KV head): max and sum [n_spans, rows_pad], o [n_spans, rows_pad, head_dim].
constexpr int64_t partial_floats(int64_t n_spans, int64_t n_rows, int64_t head_dim) {
  return n_spans * round_up(n_rows, 16) * (2 + head_dim);
}

struct AttentionPlan {
  AttentionShape shape;
  int64_t window = 0;  // of the layers, tokens; 0 = none: then a sequence may have its own
  bool split = false;  // items are single spans and partials are shared
  int64_t n_tiles = 0;
  int64_t n_items = 0;
  AttentionTile* tiles = nullptr;           // [n_tiles]
  int64_t* item_of_thread = nullptr;        // [n_threads + 1] first item of each thread
  std::atomic<int32_t>* pending = nullptr;  // split: [n_tiles * n_kv_heads] spans not finished yet
  float* partials = nullptr;                // split: shared
};

// What a plan may use; all sizes are for the largest step.
struct AttentionLimits {
  int64_t max_rows = 0;        // rows of a step
  int64_t max_len = 0;         // tokens of a sequence
  int64_t max_item_rows = 96;  // query rows (tokens x group) of an item
  int64_t shared_floats = 0;   // room for shared partials
};

// max_item_rows and shared_floats that keep scratch small for any max_len.
AttentionLimits attention_limits(const AttentionShape& shape, int64_t max_rows, int64_t max_len);
// Floats of partials one thread needs when items are not split.
int64_t own_partial_floats(const AttentionShape& shape, const AttentionLimits& limits);

// A plan in the making: every thread has the same pieces, one of them fills `shared` for all.
struct AttentionPlanPieces {
  AttentionPlan* shared = nullptr;
  AttentionPlan empty;  // with the carved arrays
};

// Carves the plan and its arrays (same calls on all threads; nothing is written).
AttentionPlanPieces carve_plan(device::Arena& arena, const AttentionShape& shape, int64_t window,
                               const AttentionLimits& limits, int64_t n_rows, int n_threads);
constexpr int kNoTable = -1;
// Fills *pieces.shared for a batch. One thread; the others read it behind a barrier. table: that of the plan's layers
// (index into SeqRows::tables), by which shared prefixes are found; kNoTable joins no decodes.
void build_plan(const AttentionPlanPieces& pieces, const Batch& batch, const AttentionLimits& limits, int table,
                int n_threads);
// Spans that row t of a tile meets.
int64_t spans_of(const AttentionTile& tile, const Batch& batch, int64_t t);

}  // namespace millrace::layers
