// The step of Decoder. Every thread runs these functions together; see decoder.h for the barriers.
#include "models/decoder.h"

#include <algorithm>
#include <cstring>

namespace millrace::models {

using layers::Ctx;
using layers::is_redundant;
using layers::round_up;

namespace {

// Panels of the output matrix taken at a time at its end: 80 KB at d_model 576, some 5 us of memory.
constexpr int64_t kSharedLogitPanels = 4;

layers::MatrixOut into(const layers::Residual& residual, float* delta) {
  if (delta != nullptr) return {delta, residual.stride, 0, false};
  return {residual.x, residual.stride, 0, true};
}

// Of blocks that rows [begin, end) are the first to write: memory that nobody used yet is cleared, 2 MiB at a time, by
// who touches it first. All threads do that here, each for its rows; else the one with head 0 would, while the others
// wait for it.
void touch_new_blocks(const Step& step, device::Range rows, uint32_t n_layers) {
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    int64_t pos = step.batch.position(row);
    if (pos % kernels::kKvBlockTokens != 0) continue;
    const layers::SeqRows& seq = step.batch.seqs[step.batch.row_seq[row]];
    for (uint32_t i = 0; i < n_layers; ++i) {
      uint32_t block = seq.tables[step.kv.layers[i].table][pos / kernels::kKvBlockTokens];
      volatile uint8_t* first = step.kv.head(i, block, 0);
      *first = *first;
    }
  }
}

}  // namespace

int64_t Decoder::weight_bytes() const {
  int64_t bytes = output_.bytes();
  for (const DecoderLayer& layer : layers_) {
    bytes += layer.attention.weight_bytes() + layer.mlp.gate.bytes() + layer.mlp.up.bytes() + layer.mlp.down.bytes();
  }
  return bytes;
}

layers::AttentionLimits Decoder::attention_limits(const StepLimits& limits) const {
  return layers::attention_limits(shape_, limits.max_rows, limits.max_len);
}

DecoderBuffers Decoder::carve(layers::StepArenas arenas, const StepLimits& limits, int64_t n_rows) const {
  DecoderBuffers b;
  layers::ActMask input = 0;
  layers::ActMask heads = 0;
  layers::ActMask inner = 0;
  for (const DecoderLayer& layer : layers_) {
    input |= layer.attention.input_mask() | layer.mlp.input_mask();
    heads |= layer.attention.out.act_mask();
    inner |= layer.mlp.down.act_mask();
  }
  auto rows = static_cast<size_t>(n_rows);
  int64_t stride = round_up(desc_.d_model, 16);
  bool per_thread = blocks_.post_norms && is_redundant(n_rows);
  device::Arena& x_arena = per_thread ? arenas.own : arenas.shared;
  b.residual = {x_arena.take<float>(rows * static_cast<size_t>(stride)), stride, desc_.d_model, n_rows, per_thread};
  b.input = layers::carve_input(arenas, input, n_rows, desc_.d_model);
  b.heads_in = heads_at_once_ ? layers::carve_acts(arenas.shared, heads, n_rows, desc_.q_dim())
                              : layers::carve_input(arenas, heads, n_rows, desc_.q_dim());
  b.inner = layers::carve_acts(arenas.shared, inner, n_rows, desc_.d_ff);
  b.tmp = arenas.own.take<float>(static_cast<size_t>(stride));
  b.ahead = arenas.own.take<const uint8_t*>(static_cast<size_t>(layers::kMaxAhead));
  auto q_floats = rows * static_cast<size_t>(round_up(desc_.q_dim(), kernels::kPanelRows));
  b.q = arenas.shared.take<float>(q_floats);
  b.heads = arenas.shared.take<float>(q_floats);
  if (blocks_.post_norms) {
    b.attn_delta = arenas.shared.take<float>(rows * static_cast<size_t>(stride));
    b.ffn_delta = arenas.shared.take<float>(rows * static_cast<size_t>(stride));
  }
  for (size_t i = 0; i < ropes_.size(); ++i) {
    b.angles[i] = arenas.shared.take<float>(rows * static_cast<size_t>(ropes_[i].row_floats()));
  }
  for (size_t i = 0; i < windows_.size(); ++i) {
    b.plans[i] =
        layers::carve_plan(arenas.shared, shape_, windows_[i], attention_limits(limits), n_rows, limits.n_threads);
  }
  return b;
}

ScratchBytes Decoder::scratch_bytes(const StepLimits& limits) const {
  ScratchBytes bytes;
  int64_t phases = std::max(layers::attention_own_bytes(shape_, attention_limits(limits)),
                            layers::Mlp::own_bytes(limits.max_rows) + 256);
  for (int64_t n_rows : {limits.max_rows, std::min(limits.max_rows, layers::kRedundantRows)}) {
    device::Arena shared = device::Arena::measuring();
    device::Arena own = device::Arena::measuring();
    carve({shared, own}, limits, n_rows);
    bytes.shared = std::max(bytes.shared, static_cast<int64_t>(shared.mark()));
    bytes.own = std::max(bytes.own, static_cast<int64_t>(own.mark()) + phases);
  }
  for (int64_t n_rows : {limits.max_logit_rows, std::min(limits.max_logit_rows, layers::kRedundantRows)}) {
    device::Arena shared = device::Arena::measuring();
    device::Arena own = device::Arena::measuring();
    layers::carve_input({shared, own}, output_.act_mask(), n_rows, desc_.d_model);
    bytes.shared = std::max(bytes.shared, static_cast<int64_t>(shared.mark()));
    bytes.own = std::max(bytes.own, static_cast<int64_t>(own.mark()) + round_up(desc_.d_model, 16) * 4);
  }
  return bytes;
}

int Decoder::table_of_plan(const layers::KvView& kv, size_t plan_idx) const {
  int table = layers::kNoTable;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (static_cast<size_t>(layers_[i].attention.plan_idx) != plan_idx) continue;
    int of_layer = static_cast<int>(kv.layers[i].table);
    if (table != layers::kNoTable && table != of_layer) return layers::kNoTable;
    table = of_layer;
  }
  return table;
}

void Decoder::begin(Ctx& ctx, const Step& step, DecoderBuffers& b) const {
  const layers::Batch& batch = step.batch;
  device::Range mine = ctx.team.range(batch.n_rows);
  touch_new_blocks(step, mine, desc_.n_layers);
  device::Range embedded = b.residual.per_thread ? device::Range{0, batch.n_rows} : mine;
  for (int64_t row = embedded.begin; row < embedded.end; ++row) {
    embedding_.row(ctx.k, batch.tokens[row], b.residual.row(row));
  }
  for (size_t i = 0; i < ropes_.size(); ++i) {
    for (int64_t row = mine.begin; row < mine.end; ++row) {
      ropes_[i].fill(b.angles[i] + row * ropes_[i].row_floats(), batch.position(row));
    }
  }
  auto n_threads = static_cast<size_t>(ctx.team.n_threads);
  for (size_t i = 0; i < windows_.size(); ++i) {
    if (i % n_threads != static_cast<size_t>(ctx.team.thread)) continue;
    layers::build_plan(b.plans[i], batch, attention_limits(step.limits), table_of_plan(step.kv, i), ctx.team.n_threads);
  }
}

layers::AttentionStep Decoder::attention_step(const Step& step, const DecoderBuffers& b,
                                              const layers::Attention& attention,
                                              const layers::AttentionLimits& limits) const {
  auto rope_idx = static_cast<size_t>(attention.rope_idx);
  layers::AttentionStep at{.batch = step.batch, .kv = step.kv, .limits = limits, .rope = ropes_[rope_idx]};
  at.angles = b.angles[rope_idx];
  at.q = b.q;
  at.heads = b.heads;
  at.q_stride = round_up(desc_.q_dim(), kernels::kPanelRows);
  return at;
}

void Decoder::attention_block(Ctx& ctx, const Step& step, DecoderBuffers& b, uint32_t i) const {
  const DecoderLayer& layer = layers_[i];
  const layers::Attention& attention = layer.attention;
  int64_t n_rows = step.batch.n_rows;
  layers::AttentionLimits limits = attention_limits(step.limits);
  layers::AttentionStep at = attention_step(step, b, attention, limits);
  layers::project_heads(ctx, attention, at, b.input);
  device::Range out_panels = ctx.team.first_units(attention.out.n_panels());
  ctx.team.sync(attention.out.front(out_panels));  // attention itself reads no weights
  layers::ActSet heads_in = b.heads_in;
  heads_in.mask = attention.out.act_mask();
  layers::attend(ctx, attention, at, *b.plans[attention.plan_idx].shared, heads_in);
  if (i + 1 < desc_.n_layers && n_rows > layers::kRedundantRows) {
    const layers::Attention& next = layers_[i + 1].attention;
    layers::look_ahead(ctx, next, attention_step(step, b, next, limits), *b.plans[next.plan_idx].shared, b.ahead);
  }
  ctx.team.sync(attention.out.front(out_panels));
  if (!heads_at_once_) {
    bool redundant = is_redundant(n_rows);
    device::Range rows = redundant ? device::Range{0, n_rows} : ctx.team.range(n_rows);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      layers::quantize_row(ctx.k, heads_in, row, b.heads + row * at.q_stride);
    }
    if (!redundant) ctx.team.sync();
  }
  ctx.team.for_units(attention.out.n_panels(), 1, [&](int64_t begin, int64_t end) {
    attention.out.multiply(ctx, heads_in, {0, n_rows}, {begin, end}, into(b.residual, b.attn_delta));
  });
  ctx.team.sync(layer.mlp.gate_up_front(ctx.team));
}

void Decoder::run_layer(Ctx& ctx, const Step& step, DecoderBuffers& b, uint32_t i) const {
  const DecoderLayer& layer = layers_[i];
  int64_t n_rows = step.batch.n_rows;
  layers::NormPhase before_attention{.norm = layer.attn_norm};
  if (i > 0) {
    before_attention.delta = b.ffn_delta;
    before_attention.post = layers_[i - 1].post_ffn_norm;
  }
  layers::ActSet input = b.input;
  input.mask = layer.attention.input_mask();
  layers::norm_phase(ctx, b.residual, before_attention, input, b.tmp);
  attention_block(ctx, step, b, i);
  input.mask = layer.mlp.input_mask();
  layers::norm_phase(ctx, b.residual, {layer.ffn_norm, b.attn_delta, layer.post_attn_norm}, b.input, b.tmp);
  layers::ActSet inner = b.inner;
  inner.mask = layer.mlp.down.act_mask();
  layer.mlp.gate_up(ctx, b.input, n_rows, inner);
  ctx.team.sync(layer.mlp.down_front(ctx.team));
  layer.mlp.project_down(ctx, inner, n_rows, into(b.residual, b.ffn_delta));
  bool last = i + 1 == desc_.n_layers;
  ctx.team.sync(last ? output_front(ctx.team) : layers::project_front(layers_[i + 1].attention, ctx.team));
}

device::Prefetch Decoder::output_front(const device::Team& team) const {
  return output_.front(team.first_units(output_.n_panels()));
}

void Decoder::keep_wanted(Ctx& ctx, const Step& step, const DecoderBuffers& b) const {
  const layers::Batch& batch = step.batch;
  layers::NormPhase last{.norm = {}, .delta = b.ffn_delta, .post = layers_.back().post_ffn_norm};
  device::Range range = ctx.team.range(batch.n_wanted);
  for (int64_t i = range.begin; i < range.end; ++i) {
    layers::add_normed_row(ctx.k, b.residual, batch.wanted[i], last, b.tmp);
    std::memcpy(batch.hidden + i * b.residual.stride, b.residual.row(batch.wanted[i]),
                static_cast<size_t>(desc_.d_model) * sizeof(float));
  }
}

void Decoder::forward(Ctx& ctx, const Step& step) const {
  device::Arena shared = ctx.shared;
  size_t mark = ctx.own.mark();
  DecoderBuffers buffers = carve({shared, ctx.own}, step.limits, step.batch.n_rows);
  begin(ctx, step, buffers);
  ctx.team.sync(layers::project_front(layers_.front().attention, ctx.team));
  for (uint32_t i = 0; i < desc_.n_layers; ++i) {
    run_layer(ctx, step, buffers, i);
    if (ctx.heartbeat != nullptr && ctx.team.thread == 0) ctx.heartbeat->beat();
  }
  keep_wanted(ctx, step, buffers);
  ctx.team.sync(output_front(ctx.team));
  ctx.own.rewind(mark);
}

void Decoder::logits(Ctx& ctx, const LogitRows& rows) const {
  device::Arena shared = ctx.shared;
  size_t mark = ctx.own.mark();
  int64_t stride = round_up(desc_.d_model, 16);
  layers::ActSet input = layers::carve_input({shared, ctx.own}, output_.act_mask(), rows.n_rows, desc_.d_model);
  auto* tmp = ctx.own.take<float>(static_cast<size_t>(stride));
  layers::Residual residual{rows.hidden, stride, desc_.d_model, rows.n_rows, false};
  layers::norm_phase(ctx, residual, {.norm = output_norm_}, input, tmp);
  ctx.team.for_units(output_.n_panels(), kSharedLogitPanels, [&](int64_t begin, int64_t end) {
    output_.multiply(ctx, input, {0, rows.n_rows}, {begin, end}, {rows.out, rows.out_stride, 0, false});
    if (desc_.logit_softcap <= 0.0f) return;
    int64_t column = begin * kernels::kPanelRows;
    int64_t n = std::min<int64_t>(end * kernels::kPanelRows, desc_.n_vocab) - column;
    for (int64_t row = 0; row < rows.n_rows && n > 0; ++row) {
      ctx.k.softcap(rows.out + row * rows.out_stride + column, desc_.logit_softcap, n);
    }
  });
  ctx.team.sync();
  ctx.own.rewind(mark);
}

void Decoder::finish_hidden(const kernels::KernelTable& table, float* row) const {
  table.rms_norm(row, row, output_norm_.weight, output_norm_.eps, desc_.d_model);
}

}  // namespace millrace::models
