// The step of Bert, and its head. Every thread runs forward() together; see bert.h for the barriers.
#include "models/bert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/macros.h"

namespace millrace::models {

using layers::Ctx;
using layers::round_up;

// The buffers of one step, carved alike on all threads.
struct BertBuffers {
  int64_t stride = 0;       // of x and delta: round_up(d_model, 16)
  float* x = nullptr;       // [n_rows, stride] hidden states
  float* delta = nullptr;   // [n_rows, stride] what a block gives
  float* tmp = nullptr;     // own [stride]
  layers::ActSet input;     // of q/k/v and the feed-forward
  layers::ActSet heads_in;  // of the attention output
  layers::ActSet inner;     // of down
  float* q = nullptr;       // [n_rows, q_stride]
  float* heads = nullptr;   // [n_rows, q_stride]
  int64_t q_stride = 0;
  layers::AttentionPlanPieces plan;
};

namespace {

// x = norm(x + delta + bias), quantised for what reads it next; rows are shared out.
struct AddAndNorm {
  const float* bias;
  const layers::LayerNorm& norm;
  layers::ActMask next;  // who reads it
};

void add_and_norm(Ctx& ctx, const BertBuffers& b, int64_t n_rows, const AddAndNorm& phase) {
  layers::ActSet input = b.input;
  input.mask = phase.next;
  int64_t d_model = phase.norm.n;
  device::Range rows = ctx.team.range(n_rows);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    float* x = b.x + row * b.stride;
    ctx.k.add(x, b.delta + row * b.stride, d_model);
    ctx.k.add(x, phase.bias, d_model);
    phase.norm.apply(ctx.k, x, x);
    layers::quantize_row(ctx.k, input, row, x);
  }
  ctx.team.sync();
}

// W x + b, in f64: a head is small and runs once for each prompt.
std::vector<float> affine(const std::vector<float>& weight, const std::vector<float>& bias, std::span<const float> x) {
  std::vector<float> out(bias.size());
  for (size_t row = 0; row < out.size(); ++row) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(weight[row * x.size() + i]) * x[i];
    out[row] = static_cast<float>(sum + static_cast<double>(bias[row]));
  }
  return out;
}

}  // namespace

int64_t Bert::weight_bytes() const {
  int64_t bytes = 0;
  for (const BertLayer& layer : layers_) {
    bytes += layer.attention.weight_bytes() + layer.ffn.up.bytes() + layer.ffn.down.bytes();
  }
  return bytes;
}

layers::AttentionLimits Bert::attention_limits(const StepLimits& limits) const {
  return layers::attention_limits(shape_, limits.max_rows, limits.max_len);
}

BertBuffers Bert::carve(layers::StepArenas arenas, const StepLimits& limits, int64_t n_rows) const {
  BertBuffers b;
  layers::ActMask input = 0;
  layers::ActMask heads = 0;
  layers::ActMask inner = 0;
  for (const BertLayer& layer : layers_) {
    input |= layer.attention.input_mask() | layer.ffn.up.act_mask();
    heads |= layer.attention.out.act_mask();
    inner |= layer.ffn.down.act_mask();
  }
  auto rows = static_cast<size_t>(n_rows);
  b.stride = round_up(desc_.d_model, 32);
  b.q_stride = round_up(desc_.q_dim(), kernels::kPanelRows);
  b.x = arenas.shared.take<float>(rows * static_cast<size_t>(b.stride));
  b.delta = arenas.shared.take<float>(rows * static_cast<size_t>(b.stride));
  b.tmp = arenas.own.take<float>(static_cast<size_t>(b.stride));
  b.input = layers::carve_acts(arenas.shared, input, n_rows, desc_.d_model);
  b.heads_in = layers::carve_acts(arenas.shared, heads, n_rows, desc_.q_dim());
  b.inner = layers::carve_acts(arenas.shared, inner, n_rows, desc_.d_ff);
  b.q = arenas.shared.take<float>(rows * static_cast<size_t>(b.q_stride));
  b.heads = arenas.shared.take<float>(rows * static_cast<size_t>(b.q_stride));
  b.plan = layers::carve_plan(arenas.shared, shape_, 0, attention_limits(limits), n_rows, limits.n_threads);
  return b;
}

ScratchBytes Bert::scratch_bytes(const StepLimits& limits) const {
  device::Arena shared = device::Arena::measuring();
  device::Arena own = device::Arena::measuring();
  carve({shared, own}, limits, limits.max_rows);
  int64_t phases = std::max(layers::attention_own_bytes(shape_, attention_limits(limits)),
                            layers::FeedForward::own_bytes(limits.max_rows) + 256);
  return {static_cast<int64_t>(shared.mark()), static_cast<int64_t>(own.mark()) + phases};
}

void Bert::embed(Ctx& ctx, const Step& step, BertBuffers& b) const {
  const layers::Batch& batch = step.batch;
  layers::ActSet input = b.input;
  input.mask = layers_.front().attention.input_mask();
  device::Range rows = ctx.team.range(batch.n_rows);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const layers::SeqRows& seq = batch.seqs[batch.row_seq[row]];
    int64_t position = batch.position(row);
    bool second = seq.second_begin > 0 && position >= seq.second_begin && desc_.n_token_types > 1;
    float* x = b.x + row * b.stride;
    words_.row(ctx.k, batch.tokens[row], x);
    types_.row(ctx.k, second ? 1 : 0, b.tmp);
    ctx.k.add(x, b.tmp, desc_.d_model);
    positions_.row(ctx.k, static_cast<TokenId>(position), b.tmp);
    ctx.k.add(x, b.tmp, desc_.d_model);
    embedding_norm_.apply(ctx.k, x, x);
    layers::quantize_row(ctx.k, input, row, x);
  }
  if (ctx.team.thread == 0) {
    layers::build_plan(b.plan, batch, attention_limits(step.limits), layers::kNoTable, ctx.team.n_threads);
  }
  ctx.team.sync(layers::project_front(layers_.front().attention, ctx.team));
}

void Bert::attention_block(Ctx& ctx, const Step& step, BertBuffers& b, uint32_t i) const {
  const layers::Attention& attention = layers_[i].attention;
  int64_t n_rows = step.batch.n_rows;
  layers::AttentionLimits limits = attention_limits(step.limits);
  layers::AttentionStep at{.batch = step.batch, .kv = step.kv, .limits = limits, .rope = no_rope_};
  at.q = b.q;
  at.heads = b.heads;
  at.q_stride = b.q_stride;
  layers::ActSet input = b.input;
  input.mask = attention.input_mask();
  layers::project_heads(ctx, attention, at, input);
  ctx.team.sync();
  layers::ActSet heads_in = b.heads_in;
  heads_in.mask = attention.out.act_mask();
  layers::attend(ctx, attention, at, *b.plan.shared, heads_in);
  ctx.team.sync();
  if (!heads_at_once_) {
    device::Range rows = ctx.team.range(n_rows);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      layers::quantize_row(ctx.k, heads_in, row, b.heads + row * b.q_stride);
    }
    ctx.team.sync();
  }
  ctx.team.for_units(attention.out.n_panels(), 1, [&](int64_t begin, int64_t end) {
    attention.out.multiply(ctx, heads_in, {0, n_rows}, {begin, end}, {b.delta, b.stride, 0, false});
  });
  ctx.team.sync();
}

void Bert::run_layer(Ctx& ctx, const Step& step, BertBuffers& b, uint32_t i) const {
  const BertLayer& layer = layers_[i];
  int64_t n_rows = step.batch.n_rows;
  attention_block(ctx, step, b, i);
  add_and_norm(ctx, b, n_rows, {layer.attn_out_bias, layer.attn_norm, layer.ffn.up.act_mask()});
  layers::ActSet input = b.input;
  input.mask = layer.ffn.up.act_mask();
  layers::ActSet inner = b.inner;
  inner.mask = layer.ffn.down.act_mask();
  layer.ffn.expand(ctx, input, n_rows, inner);
  ctx.team.sync();
  ctx.team.for_units(layer.ffn.down.n_panels(), 1, [&](int64_t begin, int64_t end) {
    layer.ffn.down.multiply(ctx, inner, {0, n_rows}, {begin, end}, {b.delta, b.stride, 0, false});
  });
  ctx.team.sync();
  bool last = i + 1 == desc_.n_layers;
  layers::ActMask next = last ? 0 : layers_[i + 1].attention.input_mask();
  add_and_norm(ctx, b, n_rows, {layer.ffn.down_bias, layer.ffn_norm, next});
}

void Bert::forward(Ctx& ctx, const Step& step) const {
  device::Arena shared = ctx.shared;
  size_t mark = ctx.own.mark();
  const layers::Batch& batch = step.batch;
  BertBuffers buffers = carve({shared, ctx.own}, step.limits, batch.n_rows);
  embed(ctx, step, buffers);
  for (uint32_t i = 0; i < desc_.n_layers; ++i) {
    run_layer(ctx, step, buffers, i);
    if (ctx.heartbeat != nullptr && ctx.team.thread == 0) ctx.heartbeat->beat();
  }
  device::Range range = ctx.team.range(batch.n_wanted);
  int64_t hidden_stride = round_up(desc_.d_model, 16);
  for (int64_t i = range.begin; i < range.end; ++i) {
    std::memcpy(batch.hidden + i * hidden_stride, buffers.x + batch.wanted[i] * buffers.stride,
                static_cast<size_t>(desc_.d_model) * sizeof(float));
  }
  ctx.team.sync();
  ctx.own.rewind(mark);
}

void Bert::logits(Ctx& /*ctx*/, const LogitRows& rows) const {
  CHECK(rows.n_rows == 0, "an encoder has no logits, {} rows of them were wanted", rows.n_rows);
}

std::vector<float> Bert::score(std::span<const float> pooled) const {
  CHECK(!classifier_.empty(), "this model has no head");
  std::vector<float> hidden = affine(pooler_, pooler_bias_, pooled);
  for (float& value : hidden) value = std::tanh(value);
  return affine(classifier_, classifier_bias_, hidden);
}

}  // namespace millrace::models
