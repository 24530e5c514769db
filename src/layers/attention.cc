// The phases of attention. Units of project_heads are sets of heads whose rows fill whole panels: units of k and v
// together, since a block slot is written with both, and units of q, the last of which go to whoever is free.
#include "layers/attention.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace millrace::layers {
namespace {

// Heads of one unit: their rows are a multiple of 32, so units start on panels.
int64_t heads_per_unit(int64_t head_dim) {
  return kernels::kPanelRows / std::gcd(head_dim, int64_t{kernels::kPanelRows});
}

struct HeadRange {
  int64_t begin = 0;
  int64_t end = 0;
};

device::Range panels_of(const HeadRange& heads, int64_t head_dim) {
  return {heads.begin * head_dim / kernels::kPanelRows, ceil_div(heads.end * head_dim, kernels::kPanelRows)};
}

struct HeadEpilogue {
  const float* bias;
  const float* norm;
  bool rotate;
};

// values: one head of one row, finished in place.
void finish_head(const Ctx& ctx, const Attention& a, const AttentionStep& step, const HeadEpilogue& epilogue,
                 int64_t row, float* values) {
  if (epilogue.bias != nullptr) ctx.k.add(values, epilogue.bias, a.shape.head_dim);
  if (epilogue.norm != nullptr) ctx.k.rms_norm(values, values, epilogue.norm, a.norm_eps, a.shape.head_dim);
  if (epilogue.rotate) step.rope.rotate(ctx.k, values, step.angles + row * step.rope.row_floats());
}

void project_q(Ctx& ctx, const Attention& a, const AttentionStep& step, const ActSet& input, HeadRange heads) {
  int64_t hd = a.shape.head_dim;
  a.q.multiply(ctx, input, {0, step.batch.n_rows}, panels_of(heads, hd), {step.q, step.q_stride, 0, false});
  for (int64_t row = 0; row < step.batch.n_rows; ++row) {
    for (int64_t head = heads.begin; head < heads.end; ++head) {
      const float* bias = a.q_bias == nullptr ? nullptr : a.q_bias + head * hd;
      finish_head(ctx, a, step, {bias, a.q_norm, true}, row, step.q + row * step.q_stride + head * hd);
    }
  }
}

void project_kv(Ctx& ctx, const Attention& a, const AttentionStep& step, const ActSet& input, HeadRange heads) {
  int64_t hd = a.shape.head_dim;
  int64_t stride = round_up((heads.end - heads.begin) * hd, kernels::kPanelRows);
  device::Range panels = panels_of(heads, hd);
  size_t mark = ctx.own.mark();
  auto* keys = ctx.own.take<float>(static_cast<size_t>(step.batch.n_rows * stride));
  auto* values = ctx.own.take<float>(static_cast<size_t>(step.batch.n_rows * stride));
  a.k.multiply(ctx, input, {0, step.batch.n_rows}, panels, {keys, stride, panels.begin, false});
  a.v.multiply(ctx, input, {0, step.batch.n_rows}, panels, {values, stride, panels.begin, false});
  kernels::KvWrite write = ctx.k.kv_write[static_cast<size_t>(step.kv.dtype)];
  uint32_t table = step.kv.layers[a.layer].table;
  for (int64_t row = 0; row < step.batch.n_rows; ++row) {
    int64_t pos = step.batch.position(row);
    uint32_t block = step.batch.seqs[step.batch.row_seq[row]].tables[table][pos / kernels::kKvBlockTokens];
    for (int64_t head = heads.begin; head < heads.end; ++head) {
      float* key = keys + row * stride + (head - heads.begin) * hd;
      float* value = values + row * stride + (head - heads.begin) * hd;
      finish_head(ctx, a, step, {a.k_bias == nullptr ? nullptr : a.k_bias + head * hd, a.k_norm, true}, row, key);
      finish_head(ctx, a, step, {a.v_bias == nullptr ? nullptr : a.v_bias + head * hd, nullptr, false}, row, value);
      write({step.kv.head(a.layer, block, head), hd, pos % kernels::kKvBlockTokens, key, value});
    }
  }
  ctx.own.rewind(mark);
}

// How project_heads() is shared out. Cost is in units of one matrix; unit u goes to the thread in whose part of the
// cost its middle lies.
struct HeadUnits {
  int64_t per_unit;  // heads
  int64_t n_q;
  int64_t n_kv;
  int64_t n_dealt_q;  // the first q units; the others are taken as threads come free

  HeadUnits(const Attention& a, const device::Team& team) : per_unit(heads_per_unit(a.shape.head_dim)) {
    n_q = ceil_div(a.shape.n_heads, per_unit);
    n_kv = ceil_div(a.shape.n_kv_heads, per_unit);
    n_dealt_q = team.n_threads == 1 ? n_q : n_q - n_q / 4;
  }
  bool is_mine(const device::Team& team, int64_t before, int64_t cost) const {
    return (2 * before + cost) * team.n_threads / (2 * (2 * n_kv + n_dealt_q)) == team.thread;
  }
  bool is_my_kv(const device::Team& team, int64_t u) const { return is_mine(team, 2 * u, 2); }
  bool is_my_q(const device::Team& team, int64_t u) const { return is_mine(team, 2 * n_kv + u, 1); }
  HeadRange q_heads(const Attention& a, int64_t u) const {
    return {u * per_unit, std::min((u + 1) * per_unit, a.shape.n_heads)};
  }
  HeadRange kv_heads(const Attention& a, int64_t u) const {
    return {u * per_unit, std::min((u + 1) * per_unit, a.shape.n_kv_heads)};
  }
};

// The partials of one (tile, KV head).
struct Partials {
  float* max;
  float* sum;
  float* o;
  int64_t rows_pad;
};

Partials partials_at(float* memory, const AttentionTile& tile, const AttentionShape& shape) {
  int64_t rows_pad = round_up(tile.n_tokens * shape.n_group(), 16);
  return {memory, memory + tile.n_spans * rows_pad, memory + 2 * tile.n_spans * rows_pad, rows_pad};
}

struct ItemPlace {
  const AttentionTile* tile;
  int64_t head;      // KV head
  uint8_t* scratch;  // of the kernel
};

// The sinks of each row that lie before its window, row by row: how many they are depends on the row alone.
void attend_sinks(const Ctx& ctx, const Attention& a, const AttentionStep& step, const ItemPlace& place,
                  const Partials& partials) {
  const AttentionTile& tile = *place.tile;
  const uint32_t* table = step.batch.seqs[tile.seq].tables[step.kv.layers[a.layer].table];
  int64_t n_group = a.shape.n_group();
  int64_t hd = a.shape.head_dim;
  constexpr int64_t kSpanBlocks = kernels::kSpanTokens / kernels::kKvBlockTokens;
  for (int64_t t = 0; t < tile.n_tokens; ++t) {
    int64_t n_seen = std::min(tile.sinks, tile.pos + t - tile.window + 1);
    int64_t r = t * n_group;
    if (n_seen <= 0) {
      std::fill_n(partials.max + r, n_group, -std::numeric_limits<float>::infinity());
      std::fill_n(partials.sum + r, n_group, 0.0f);
      std::fill_n(partials.o + r * hd, n_group * hd, 0.0f);
      continue;
    }
    const uint8_t* blocks[kSpanBlocks] = {};
    for (int64_t i = 0; i < ceil_div(n_seen, kernels::kKvBlockTokens); ++i) {
      blocks[i] = step.kv.head(a.layer, table[i], place.head);
    }
    kernels::AttnSpanArgs args;
    args.q = step.q + (tile.row_begin + t) * step.q_stride + place.head * n_group * hd;
    args.q_token_stride = step.q_stride;
    args.n_tokens = 1;
    args.n_group = static_cast<int32_t>(n_group);
    args.head_dim = hd;
    args.pos = n_seen - 1;  // sees tokens 0 .. n_seen - 1
    args.blocks = blocks;
    args.scale = a.scale;
    args.softcap = a.softcap;
    args.max = partials.max + r;
    args.sum = partials.sum + r;
    args.o = partials.o + r * hd;
    args.scratch = place.scratch;
    ctx.k.attn_span[static_cast<size_t>(step.kv.dtype)](args);
  }
}

// One call of the kernel: rows of an item against a span.
struct SpanCall {
  ItemPlace item;     // tile nullptr: no call
  int64_t span_idx;   // of the tile
  int64_t token = 0;  // query tokens [token, token + n_tokens) of the tile
  int64_t n_tokens = 0;

  bool is_sinks() const { return item.tile->sinks > 0 && span_idx == 0; }
  int64_t span() const { return item.tile->first_span + span_idx - (item.tile->sinks > 0 ? 1 : 0); }
  // Rows of several sequences, which see all of the span.
  bool is_shared() const { return span_idx < item.tile->n_shared; }
  int64_t seq() const { return item.tile->seq + (item.tile->n_shared > 0 ? token : 0); }

  // Goes on to the next call of the item; false: there is none. Spans [.., span_end) of a tile of one sequence; of
  // joined decodes first the spans they share, then those of each.
  bool advance(const Batch& batch, int64_t span_end) {
    const AttentionTile& tile = *item.tile;
    ++span_idx;
    if (tile.n_shared == 0) return span_idx < span_end;
    if (is_shared()) return true;
    if (span_idx == tile.n_shared && n_tokens > 1) {
      n_tokens = 1;
      return true;
    }
    if (span_idx < spans_of(tile, batch, token)) return true;
    span_idx = tile.n_shared;
    return ++token < tile.n_tokens;
  }
};

// What the rows of a call see of their sequence.
struct Seen {
  int64_t pos;      // of the first row
  int64_t n_seen;   // > 0: all rows see so many tokens
  int64_t n_whole;  // tokens that any row sees
};

Seen seen_by(const AttentionStep& step, const SpanCall& call) {
  const AttentionTile& tile = *call.item.tile;
  int64_t pos = tile.n_shared > 0 ? step.batch.seqs[call.seq()].ctx : tile.pos;
  int64_t n_seen = call.is_shared() ? (call.span() + 1) * kernels::kSpanTokens : tile.n_seen;
  return {pos, n_seen, n_seen > 0 ? n_seen : pos + call.n_tokens};
}

// The (layer, KV head) pieces of a span, nullptr where no row of the call looks.
struct SpanBlocks {
  const uint8_t* piece[kernels::kSpanTokens / kernels::kKvBlockTokens] = {};
};

SpanBlocks blocks_of(const Attention& a, const AttentionStep& step, const SpanCall& call) {
  const AttentionTile& tile = *call.item.tile;
  const uint32_t* table = step.batch.seqs[call.seq()].tables[step.kv.layers[a.layer].table];
  int64_t first_seen = tile.window > 0 ? std::max<int64_t>(0, tile.pos - tile.window + 1) : 0;
  int64_t last_seen = seen_by(step, call).n_whole - 1;
  constexpr int64_t kSpanBlocks = kernels::kSpanTokens / kernels::kKvBlockTokens;
  SpanBlocks blocks;
  for (int64_t i = 0; i < kSpanBlocks; ++i) {
    int64_t block = call.span() * kSpanBlocks + i;
    int64_t first = block * kernels::kKvBlockTokens;
    if (first > last_seen || first + kernels::kKvBlockTokens <= first_seen) continue;
    blocks.piece[i] = step.kv.head(a.layer, table[block], call.item.head);
  }
  return blocks;
}

// The items of one thread, in order.
class ItemCursor {
 public:
  struct Item {
    const AttentionTile* tile = nullptr;  // nullptr: no more
    int64_t head = 0;                     // KV head
    int64_t span_begin = 0;               // of the tile
    int64_t span_end = 0;

    // The first call; tile nullptr when there is no item.
    SpanCall first(uint8_t* scratch) const {
      return {{tile, head, scratch}, span_begin, 0, tile == nullptr ? 0 : int64_t{tile->n_tokens}};
    }
  };
  ItemCursor(const AttentionPlan& plan, int thread)
      : plan_(plan), item_(plan.item_of_thread[thread]), end_(plan.item_of_thread[thread + 1]) {}

  Item next() {
    if (item_ >= end_) return {};
    while (tile_idx_ + 1 < plan_.n_tiles && plan_.tiles[tile_idx_ + 1].item_begin <= item_) ++tile_idx_;
    const AttentionTile& tile = plan_.tiles[tile_idx_];
    int64_t in_tile = item_++ - tile.item_begin;
    if (!plan_.split) return {&tile, in_tile, 0, tile.n_spans};
    return {&tile, in_tile / tile.n_spans, in_tile % tile.n_spans, in_tile % tile.n_spans + 1};
  }

 private:
  const AttentionPlan& plan_;
  int64_t item_;
  int64_t end_;
  int64_t tile_idx_ = 0;
};

// `next`: the call after this one, tile nullptr when there is none.
void attend_span(const Ctx& ctx, const Attention& a, const AttentionStep& step, const SpanCall& call,
                 const SpanCall& next, const Partials& partials) {
  const AttentionTile& tile = *call.item.tile;
  if (call.is_sinks()) return attend_sinks(ctx, a, step, call.item, partials);
  SpanBlocks blocks = blocks_of(a, step, call);
  SpanBlocks next_blocks;
  if (next.item.tile != nullptr && !next.is_sinks()) next_blocks = blocks_of(a, step, next);
  int64_t n_group = a.shape.n_group();
  int64_t hd = a.shape.head_dim;
  Seen seen = seen_by(step, call);
  kernels::AttnSpanArgs args;
  args.q = step.q + (tile.row_begin + call.token) * step.q_stride + call.item.head * n_group * hd;
  args.q_token_stride = step.q_stride;
  args.n_tokens = static_cast<int32_t>(call.n_tokens);
  args.n_group = static_cast<int32_t>(n_group);
  args.head_dim = hd;
  args.pos = seen.pos;
  args.window = tile.window;
  args.n_seen = seen.n_seen;
  args.blocks = blocks.piece;
  args.next_blocks = next_blocks.piece;
  args.span_begin = call.span() * kernels::kSpanTokens;
  args.scale = a.scale;
  args.softcap = a.softcap;
  int64_t first = call.span_idx * partials.rows_pad + call.token * n_group;
  args.max = partials.max + first;
  args.sum = partials.sum + first;
  args.o = partials.o + first * hd;
  args.scratch = call.item.scratch;
  ctx.k.attn_span[static_cast<size_t>(step.kv.dtype)](args);
}

void merge_unit(const Ctx& ctx, const Attention& a, const AttentionStep& step, const ItemPlace& place,
                const Partials& partials, const ActSet& acts) {
  const AttentionTile& tile = *place.tile;
  int64_t n_group = a.shape.n_group();
  int64_t hd = a.shape.head_dim;
  for (int64_t t = 0; t < tile.n_tokens; ++t) {
    int64_t row = tile.row_begin + t;
    int64_t n_spans = spans_of(tile, step.batch, t);
    int64_t col = place.head * n_group * hd;
    float* out = step.heads + row * step.q_stride + col;
    for (int64_t g = 0; g < n_group; ++g) {
      int64_t r = t * n_group + g;
      ctx.k.attn_merge(
          {partials.max + r, partials.sum + r, partials.o + r * hd, partials.rows_pad, n_spans, hd, out + g * hd});
    }
    if (a.quantize_heads) quantize_window(ctx.k, acts, row, col, n_group * hd, out);
  }
}

// Spans of a split item are counted down; the thread that finishes the last one sees all the others' partials.
bool finishes_unit(AttentionPlan& plan, const ItemPlace& place) {
  int64_t unit = (place.tile - plan.tiles) * plan.shape.n_kv_heads + place.head;
  std::atomic<int32_t>& pending = plan.pending[unit];
  if (pending.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
  pending.store(place.tile->n_spans, std::memory_order_relaxed);  // for the next layer, behind a barrier
  return true;
}

}  // namespace

bool Attention::can_quantize_heads() const {
  return act_columns(out.act_mask()) == 32 && shape.n_group() * shape.head_dim % 32 == 0;
}

int64_t attention_own_bytes(const AttentionShape& shape, const AttentionLimits& limits) {
  constexpr int64_t kFloat = sizeof(float);
  int64_t unit_columns = round_up(heads_per_unit(shape.head_dim) * shape.head_dim, kernels::kPanelRows);
  int64_t project = 2 * limits.max_rows * unit_columns * kFloat;
  int64_t scratch = round_up(kernels::attn_scratch_bytes(limits.max_item_rows, shape.head_dim), 64);
  return std::max(project, scratch + own_partial_floats(shape, limits) * kFloat) + 256;
}

void project_heads(Ctx& ctx, const Attention& a, const AttentionStep& step, const ActSet& input) {
  HeadUnits units(a, ctx.team);
  for (int64_t u = 0; u < units.n_kv; ++u) {
    if (units.is_my_kv(ctx.team, u)) project_kv(ctx, a, step, input, units.kv_heads(a, u));
  }
  for (int64_t u = 0; u < units.n_dealt_q; ++u) {
    if (units.is_my_q(ctx.team, u)) project_q(ctx, a, step, input, units.q_heads(a, u));
  }
  if (units.n_dealt_q == units.n_q) return;
  for (int64_t u = units.n_dealt_q + ctx.team.take_next(); u < units.n_q; u = units.n_dealt_q + ctx.team.take_next()) {
    project_q(ctx, a, step, input, units.q_heads(a, u));
  }
}

device::Prefetch project_front(const Attention& a, const device::Team& team) {
  HeadUnits units(a, team);
  if (units.is_my_kv(team, 0)) return a.k.front(panels_of(units.kv_heads(a, 0), a.shape.head_dim));
  for (int64_t u = 0; u < units.n_dealt_q; ++u) {
    if (units.is_my_q(team, u)) return a.q.front(panels_of({u * units.per_unit, a.shape.n_heads}, a.shape.head_dim));
  }
  return {};
}

void look_ahead(Ctx& ctx, const Attention& a, const AttentionStep& step, const AttentionPlan& plan,
                const uint8_t** pieces) {
  int64_t n = 0;
  ItemCursor cursor(plan, ctx.team.thread);
  for (ItemCursor::Item item = cursor.next(); item.tile != nullptr && n < kMaxAhead; item = cursor.next()) {
    if (item.tile->n_tokens > 1 && item.tile->n_shared == 0) continue;  // prefill reads a block many times
    SpanCall call = item.first(nullptr);
    do {
      if (call.is_sinks()) continue;
      for (const uint8_t* piece : blocks_of(a, step, call).piece) {
        if (piece != nullptr && n < kMaxAhead) pieces[n++] = piece;
      }
    } while (call.advance(step.batch, item.span_end));
  }
  ctx.ahead = {pieces, n, static_cast<int64_t>(step.kv.head_bytes), 0};
}

void attend(Ctx& ctx, const Attention& a, const AttentionStep& step, AttentionPlan& plan, const ActSet& acts) {
  size_t mark = ctx.own.mark();
  int64_t hd = a.shape.head_dim;
  auto* scratch =
      ctx.own.take<uint8_t>(static_cast<size_t>(kernels::attn_scratch_bytes(step.limits.max_item_rows, hd)));
  auto own_floats = static_cast<size_t>(own_partial_floats(a.shape, step.limits));
  float* own = plan.split ? nullptr : ctx.own.take<float>(own_floats);
  ctx.ahead = {};
  ItemCursor cursor(plan, ctx.team.thread);
  ItemCursor::Item next;
  for (ItemCursor::Item item = cursor.next(); item.tile != nullptr; item = next) {
    next = cursor.next();
    const AttentionTile& tile = *item.tile;
    int64_t unit_floats = partial_floats(tile.n_spans, tile.n_tokens * a.shape.n_group(), hd);
    float* memory = plan.split ? plan.partials + tile.partial_begin + item.head * unit_floats : own;
    Partials partials = partials_at(memory, tile, a.shape);
    SpanCall call = item.first(scratch);
    for (bool more = true; more;) {
      SpanCall behind = call;
      more = behind.advance(step.batch, item.span_end);
      attend_span(ctx, a, step, call, more ? behind : next.first(scratch), partials);
      call = behind;
    }
    if (!plan.split || finishes_unit(plan, call.item)) merge_unit(ctx, a, step, call.item, partials, acts);
  }
  ctx.own.rewind(mark);
}

}  // namespace millrace::layers
