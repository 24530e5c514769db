// Cutting and dealing. Cost of an item = query rows x (visible tokens of its spans + a constant for the call).
#include "layers/attention_plan.h"

#include <algorithm>

#include "base/macros.h"

namespace millrace::layers {
namespace {

// Whole tiles of 6 rows for 1, 2, 3, 4, 6 and 8 query heads per KV head. 64 left three of eleven tiles with 5 rows at 3
// heads (docs/performance.md, 2026-11-21).
constexpr int64_t kMaxItemRows = 96;
constexpr int64_t kOwnFloats = 1 << 20;        // 4 MiB of partials per thread at most, unless one token needs more
constexpr int64_t kSharedFloats = 1 << 22;     // 16 MiB of shared partials
constexpr int64_t kCallCost = 64;              // tokens' worth of work in starting a span (estimate)
constexpr int64_t kUnsplitItemsPerThread = 8;  // a whole unit must be at most this part of a thread's work

int64_t tokens_per_tile(const AttentionShape& shape, const AttentionLimits& limits) {
  return std::max<int64_t>(1, limits.max_item_rows / shape.n_group());
}

// The last token that any row of a tile sees.
int64_t last_seen(const AttentionTile& tile) { return (tile.n_seen > 0 ? tile.n_seen : tile.pos + tile.n_tokens) - 1; }

// Cost of one span of a tile, without the number of rows.
int64_t span_cost(const AttentionTile& tile, int64_t span_idx) {
  if (tile.sinks > 0 && span_idx == 0) return tile.sinks + kCallCost;
  int64_t span = tile.first_span + span_idx - (tile.sinks > 0 ? 1 : 0);
  int64_t last = last_seen(tile);
  int64_t begin = std::max(span * kernels::kSpanTokens, tile.window > 0 ? tile.pos - tile.window + 1 : int64_t{0});
  int64_t end = std::min((span + 1) * kernels::kSpanTokens, last + 1);
  return std::max<int64_t>(end - begin, 0) + kCallCost;
}

int64_t tile_cost(const AttentionTile& tile) {
  int64_t cost = 0;
  for (int64_t i = 0; i < tile.n_spans; ++i) cost += span_cost(tile, i);
  return cost * tile.n_tokens;
}

int64_t build_tiles(AttentionPlan& plan, const Batch& batch, int64_t tile_tokens) {
  int64_t n = 0;
  for (int64_t s = 0; s < batch.n_seqs; ++s) {
    const SeqRows& seq = batch.seqs[s];
    for (int64_t at = 0; at < seq.n_rows; at += tile_tokens) {
      AttentionTile& tile = plan.tiles[n++];
      tile.seq = static_cast<int32_t>(s);
      tile.row_begin = seq.row_begin + static_cast<int32_t>(at);
      tile.n_tokens = static_cast<int32_t>(std::min(tile_tokens, seq.n_rows - at));
      tile.pos = seq.ctx + at;
      tile.n_seen = plan.shape.ordered ? 0 : seq.ctx + seq.n_rows;
      tile.window = plan.window > 0 ? plan.window : seq.window;
      int64_t last_begin = tile.pos + tile.n_tokens - tile.window;  // where the window of the last row begins
      tile.sinks = plan.window == 0 && tile.window > 0 && last_begin > 0 ? seq.sinks : 0;
      int64_t first_seen = tile.window > 0 ? std::max<int64_t>(0, tile.pos - tile.window + 1) : 0;
      tile.first_span = first_seen / kernels::kSpanTokens;
      tile.n_spans = static_cast<int32_t>(last_seen(tile) / kernels::kSpanTokens - tile.first_span + 1);
      if (tile.sinks > 0) ++tile.n_spans;
    }
  }
  return n;
}

// item_of_thread[t] = first item whose middle lies behind t / n_threads of the cost.
void deal(AttentionPlan& plan, int64_t total_cost, int n_threads) {
  int thread = 0;
  int64_t before = 0;
  int64_t item = 0;
  auto place = [&](int64_t cost) {
    while (thread < n_threads && (2 * before + cost) * n_threads >= 2 * total_cost * thread) {
      plan.item_of_thread[thread++] = item;
    }
    before += cost;
    ++item;
  };
  for (int64_t i = 0; i < plan.n_tiles; ++i) {
    const AttentionTile& tile = plan.tiles[i];
    int64_t whole = tile_cost(tile);
    for (int64_t head = 0; head < plan.shape.n_kv_heads; ++head) {
      if (!plan.split) {
        place(whole);
        continue;
      }
      for (int64_t s = 0; s < tile.n_spans; ++s) {
        place(span_cost(tile, s) * tile.n_tokens);
      }
    }
  }
  while (thread <= n_threads) plan.item_of_thread[thread++] = plan.n_items;
}

}  // namespace

AttentionLimits attention_limits(const AttentionShape& shape, int64_t max_rows, int64_t max_len) {
  AttentionLimits limits;
  limits.max_rows = max_rows;
  limits.max_len = max_len;
  int64_t n_spans = ceil_div(max_len, kernels::kSpanTokens);
  int64_t row_floats = n_spans * (2 + shape.head_dim);
  limits.max_item_rows = std::clamp(kOwnFloats / row_floats, shape.n_group(), std::max(kMaxItemRows, shape.n_group()));
  // one decode token of one sequence must always fit, so that a lone long stream uses all threads
  int64_t one_token = shape.n_kv_heads * partial_floats(n_spans, shape.n_group(), shape.head_dim);
  limits.shared_floats = std::max(one_token, std::min(kSharedFloats, max_rows * one_token));
  return limits;
}

int64_t own_partial_floats(const AttentionShape& shape, const AttentionLimits& limits) {
  int64_t n_spans = ceil_div(limits.max_len, kernels::kSpanTokens) + 1;  // one for sinks
  return partial_floats(n_spans, limits.max_item_rows, shape.head_dim);
}

AttentionPlanPieces carve_plan(device::Arena& arena, const AttentionShape& shape, int64_t window,
                               const AttentionLimits& limits, int64_t n_rows, int n_threads) {
  AttentionPlanPieces pieces;
  pieces.shared = arena.take<AttentionPlan>(1);
  AttentionPlan& plan = pieces.empty;
  plan.shape = shape;
  plan.window = window;
  plan.tiles = arena.take<AttentionTile>(static_cast<size_t>(n_rows));
  plan.item_of_thread = arena.take<int64_t>(static_cast<size_t>(n_threads) + 1);
  plan.pending = arena.take<std::atomic<int32_t>>(static_cast<size_t>(n_rows * shape.n_kv_heads));
  plan.partials = arena.take<float>(static_cast<size_t>(limits.shared_floats));
  return pieces;
}

void build_plan(const AttentionPlanPieces& pieces, const Batch& batch, const AttentionLimits& limits, int n_threads) {
  AttentionPlan& plan = *pieces.shared;
  plan = pieces.empty;
  const AttentionShape& shape = plan.shape;
  plan.n_tiles = build_tiles(plan, batch, tokens_per_tile(shape, limits));
  int64_t total_cost = 0;
  int64_t largest = 0;
  int64_t floats = 0;
  for (int64_t i = 0; i < plan.n_tiles; ++i) {
    AttentionTile& tile = plan.tiles[i];
    int64_t cost = tile_cost(tile);
    total_cost += cost * shape.n_kv_heads;
    largest = std::max(largest, cost);
    tile.partial_begin = floats;
    floats += shape.n_kv_heads * partial_floats(tile.n_spans, tile.n_tokens * shape.n_group(), shape.head_dim);
  }
  plan.split =
      n_threads > 1 && floats <= limits.shared_floats && largest * n_threads * kUnsplitItemsPerThread > total_cost;
  plan.n_items = 0;
  for (int64_t i = 0; i < plan.n_tiles; ++i) {
    AttentionTile& tile = plan.tiles[i];
    tile.item_begin = plan.n_items;
    plan.n_items += shape.n_kv_heads * (plan.split ? tile.n_spans : 1);
    for (int64_t head = 0; head < shape.n_kv_heads; ++head) {
      plan.pending[i * shape.n_kv_heads + head].store(tile.n_spans, std::memory_order_relaxed);
    }
  }
  deal(plan, total_cost, n_threads);
}

}  // namespace millrace::layers
