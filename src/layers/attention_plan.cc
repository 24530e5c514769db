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
constexpr int64_t kJoinedItemsPerThread = 6;   // at least, when decodes are joined

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

int64_t cost_of(const AttentionTile& tile) {
  int64_t cost = 0;
  for (int64_t i = 0; i < tile.n_spans; ++i) cost += span_cost(tile, i);
  return cost * tile.n_tokens;
}

// Whole spans, from the first on, of which two decodes have the same blocks. At most `most` are looked at.
int64_t common_spans(const SeqRows& a, const SeqRows& b, int table, int64_t most) {
  constexpr int64_t kSpanBlocks = kernels::kSpanTokens / kernels::kKvBlockTokens;
  int64_t n_whole = std::min({a.ctx / kernels::kSpanTokens, b.ctx / kernels::kSpanTokens, most});
  const uint32_t* left = a.tables[table];
  const uint32_t* right = b.tables[table];
  int64_t n = 0;
  while (n < n_whole && std::equal(left + n * kSpanBlocks, left + (n + 1) * kSpanBlocks, right + n * kSpanBlocks)) ++n;
  return n;
}

bool is_plain_decode(const AttentionTile& tile, const Batch& batch) {
  return batch.seqs[tile.seq].n_rows == 1 && tile.window == 0 && tile.n_seen == 0;
}

// Decodes that one tile may hold so that enough items are left to share out evenly.
int64_t most_joined(const AttentionPlan& plan, const Batch& batch, int64_t tile_tokens, int n_threads) {
  int64_t n_decodes = 0;
  for (int64_t i = 0; i < plan.n_tiles; ++i) n_decodes += is_plain_decode(plan.tiles[i], batch) ? 1 : 0;
  return std::min(tile_tokens, n_decodes * plan.shape.n_kv_heads / (kJoinedItemsPerThread * n_threads));
}

// Rewrites the tiles of a plan that is not split.
void join_decodes(AttentionPlan& plan, const Batch& batch, int table, int64_t most) {
  int64_t n = 0;
  for (int64_t i = 0; i < plan.n_tiles; ++n) {
    AttentionTile tile = plan.tiles[i++];
    const SeqRows& first = batch.seqs[tile.seq];
    for (; is_plain_decode(tile, batch) && tile.n_tokens < most && i < plan.n_tiles; ++i) {
      const AttentionTile& next = plan.tiles[i];
      if (!is_plain_decode(next, batch)) break;
      int64_t wanted = tile.n_shared > 0 ? tile.n_shared : first.ctx / kernels::kSpanTokens;
      int64_t common = common_spans(first, batch.seqs[next.seq], table, wanted);
      if (common == 0 || common < tile.n_shared) break;
      tile.n_shared = static_cast<int32_t>(common);
      tile.n_spans = std::max(tile.n_spans, next.n_spans);
      tile.cost += next.cost;
      ++tile.n_tokens;
    }
    plan.tiles[n] = tile;
  }
  plan.n_tiles = n;
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
      tile.n_shared = 0;
      tile.cost = cost_of(tile);
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
    for (int64_t head = 0; head < plan.shape.n_kv_heads; ++head) {
      if (!plan.split) {
        place(tile.cost);
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

int64_t spans_of(const AttentionTile& tile, const Batch& batch, int64_t t) {
  return tile.n_shared > 0 ? batch.seqs[tile.seq + t].ctx / kernels::kSpanTokens + 1 : tile.n_spans;
}

void build_plan(const AttentionPlanPieces& pieces, const Batch& batch, const AttentionLimits& limits, int table,
                int n_threads) {
  AttentionPlan& plan = *pieces.shared;
  plan = pieces.empty;
  const AttentionShape& shape = plan.shape;
  plan.n_tiles = build_tiles(plan, batch, tokens_per_tile(shape, limits));
  int64_t total_cost = 0;
  int64_t largest = 0;
  int64_t floats = 0;
  for (int64_t i = 0; i < plan.n_tiles; ++i) {
    AttentionTile& tile = plan.tiles[i];
    total_cost += tile.cost * shape.n_kv_heads;
    largest = std::max(largest, tile.cost);
    tile.partial_begin = floats;
    floats += shape.n_kv_heads * partial_floats(tile.n_spans, tile.n_tokens * shape.n_group(), shape.head_dim);
  }
  plan.split =
      n_threads > 1 && floats <= limits.shared_floats && largest * n_threads * kUnsplitItemsPerThread > total_cost;
  if (!plan.split && table != kNoTable) {
    join_decodes(plan, batch, table, most_joined(plan, batch, tokens_per_tile(shape, limits), n_threads));
  }
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
