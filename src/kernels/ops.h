// The only list of operations. One function type per operation with its shapes; KernelTable has one slot per operation
// and weight format; ref/ defines the meaning in plain scalar code; every table gives the same bits for the same
// inputs (docs/contracts/arithmetic.md), whatever the number of rows, threads or the ISA.
//  1. Lanes are output rows: K is summed in one ascending chain per output and never split over lanes or threads.
//  2. A call covers a range of panels or rows; callers split ranges over threads. No call allocates or locks.
//  3. All float buffers are 64-byte aligned; row strides are multiples of 16 values.
// Source of the forms: section "canonical arithmetic" of docs/contracts/arithmetic.md.
#pragma once

#include <cstdint>

#include "tensor/format_id.h"

namespace millrace::kernels {

constexpr int kPanelRows = 32;      // output rows of one panel
constexpr int kKvBlockTokens = 32;  // tokens of one KV block on CPU
constexpr int kSpanTokens = 256;    // tokens of one attention span: absolute, [256 i, 256 i + 256)
constexpr int kLanes = 16;          // fixed lanes of row reductions (norms, softmax sums), whatever the ISA

// How the activations of a weight format are stored.
enum class ActKind : uint8_t {
  kF32,     // form F: f32 rows
  kBF16,    // form B: bf16 pairs
  kQ8A32,   // form G: int8, one scale per 32 values
  kQ8A256,  // form S: int8, one scale per 256 values, sums per 16
};

// The quantised (or plain) input rows of a GEMM. Written by ActQuantize, read by Gemm. k_pad = k rounded up to 32 (256
// for kQ8A256); values beyond k are zero.
struct ActRows {
  ActKind kind = ActKind::kF32;
  int64_t n_rows = 0;
  int64_t k = 0;
  void* data =
      nullptr;         // kF32: f32 [n_rows, k_pad]; kBF16: bf16 [n_rows, k_pad]; kQ8*: int8 [n_rows, k_pad], never -128
  float* d = nullptr;  // kQ8*: [n_rows, n_groups] scale, amax / 127
  float* s = nullptr;  // kQ8A32: [n_rows, n_groups] d * sum(q), rounded once
  int32_t* sum = nullptr;  // kQ8A32: [n_rows, k_pad/32] sum(q); kQ8A256: [n_rows, k_pad/16] sum(q) per 16
};

// Bytes of one ActRows buffer for n_rows x k (all parts, 64-byte aligned), and the struct carved out of such memory.
int64_t act_bytes(ActKind kind, int64_t n_rows, int64_t k);
ActRows act_carve(ActKind kind, int64_t n_rows, int64_t k, void* memory);

// Quantises rows [row_begin, row_end) of x [n_rows, x_stride] f32 into act.
using ActQuantize = void (*)(const ActRows& act, const float* x, int64_t x_stride, int64_t row_begin, int64_t row_end);

// Packs 32 rows of file groups into one panel. rows[i] = first group of row i in file format, nullptr = a zero row.
// Any row order may be given: interleaved gate/up, RoPE pairs and several matrices in one panel range are all row
// order.
using PackPanel = void (*)(uint8_t* panel, const uint8_t* const* rows /* [32] */, int64_t k);

// Memory that the same thread will read soon, as pieces of one size: a GEMM that is bound by its products asks for it
// as it goes, and the cursor moves on. Changes no result.
struct Ahead {
  const uint8_t* const* pieces = nullptr;  // [n_left]
  int64_t n_left = 0;
  int64_t piece_bytes = 0;
  int64_t at = 0;  // bytes of the first piece asked for already
};

// out[m, n] (+)= sum_k act[m, k] * w[n, k] in the format's chain form, for the rows of act and panels [panel_begin,
// panel_end).
struct GemmArgs {
  ActRows act;
  int64_t row_begin = 0;  // rows of act to compute: [row_begin, row_end)
  int64_t row_end = 0;
  const uint8_t* panels = nullptr;  // panel 0; panel p at p * panel_bytes(format, k)
  int64_t k = 0;
  int64_t n = 0;  // valid output rows; lanes beyond are not stored
  int64_t panel_begin = 0;
  int64_t panel_end = 0;
  float* out = nullptr;  // [n_rows, out_stride] f32
  int64_t out_stride = 0;
  bool add = false;        // true: out = out + result (residual), one f32 addition after the chain
  Ahead* ahead = nullptr;  // or nullptr
};
using Gemm = void (*)(const GemmArgs& args);

// The packed matrix of one row back to f32 (tied embedding): out [k].
using UnpackRow = void (*)(float* out, const uint8_t* panels, int64_t row, int64_t k);

enum class KvDType : uint8_t { kBF16, kInt8 };

// Bytes of one (layer, KV head) inside a KV block: K then V. Layout of docs/contracts/arithmetic.md "KV blocks".
int64_t kv_head_bytes(KvDType dtype, int64_t head_dim);

// Writes K and V of one token into slot `token` (0..31) of a (layer, KV head) piece of a block.
struct KvWriteArgs {
  uint8_t* head = nullptr;  // [kv_head_bytes] the (layer, KV head) piece: K then V
  int64_t head_dim = 0;
  int64_t token = 0;
  const float* k = nullptr;  // [head_dim] after norm and RoPE
  const float* v = nullptr;  // [head_dim]
};
using KvWrite = void (*)(const KvWriteArgs& args);

// One attention item: all query rows of one sequence tile against one span of one KV head.
// Row r = t * n_group + g is query token t (absolute position pos + t), query head kv_head * n_group + g.
// It attends to tokens j with span_begin <= j <= pos + t and, with a window w > 0, j > pos + t - w; with n_seen > 0 to
// all tokens j < n_seen instead, whatever its position.
// Writes the unnormalised FlashDecoding partial of each row: max, sum, o. A row that sees no token of the span gets
// max = -inf, sum = 0, o = 0. Partials do not depend on the other rows.
struct AttnSpanArgs {
  const float* q = nullptr;  // [n_tokens, n_group, head_dim] f32, token t at t * q_token_stride; after RoPE, not scaled
  int64_t q_token_stride = 0;
  int32_t n_tokens = 0;  // query tokens of this item
  int32_t n_group = 0;   // query heads per KV head
  int64_t head_dim = 0;
  int64_t pos = 0;     // absolute position of query token 0
  int64_t window = 0;  // 0 = none
  int64_t n_seen = 0;  // > 0: of a sequence without order (encoders)
  const uint8_t* const* blocks =
      nullptr;                 // [8] the (layer, KV head) pieces of the span's blocks; nullptr where no row looks
  int64_t span_begin = 0;      // multiple of 256
  float scale = 1.0f;          // softmax scale
  float softcap = 0.0f;        // 0 = none: s = cap * tanh(s / cap)
  float* max = nullptr;        // [n_tokens * n_group]
  float* sum = nullptr;        // [n_tokens * n_group]
  float* o = nullptr;          // [n_tokens * n_group, head_dim]
  uint8_t* scratch = nullptr;  // attn_scratch_bytes(n_tokens * n_group, head_dim)
  // [8] as blocks, or nullptr: what the next call will read. May be fetched meanwhile; changes no result.
  const uint8_t* const* next_blocks = nullptr;
};
using AttnSpan = void (*)(const AttnSpanArgs& args);
int64_t attn_scratch_bytes(int64_t n_rows, int64_t head_dim);

// Merges the partials of one row over n_spans spans in ascending order and normalises: out [head_dim].
struct AttnMergeArgs {
  const float* max = nullptr;  // span i at max[i * span_stride]
  const float* sum = nullptr;  // span i at sum[i * span_stride]
  const float* o = nullptr;    // [n_spans, head_dim] span i at o + i * span_stride * head_dim
  int64_t span_stride = 0;     // rows between spans
  int64_t n_spans = 0;
  int64_t head_dim = 0;
  float* out = nullptr;  // [head_dim]
};
using AttnMerge = void (*)(const AttnMergeArgs& args);

// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]; sum of squares in 16 fixed lanes and a fixed tree.
using RmsNorm = void (*)(float* out, const float* x, const float* weight, float eps, int64_t n);
// out[i] = (x[i] - mean) / sqrt(mean((x - mean)^2) + eps) * weight[i] + bias[i]; both sums as that of RmsNorm.
struct LayerNormArgs {
  const float* weight = nullptr;  // [n]
  const float* bias = nullptr;    // [n]
  float eps = 1e-12f;
  int64_t n = 0;
};
using LayerNorm = void (*)(float* out, const float* x, const LayerNormArgs& args);  // out, x [n]
// Rotates the first rope_dims values of one head in place. cos, sin: [rope_dims / 2]. Pairs (i, i + rope_dims/2).
using RopeHalf = void (*)(float* x, const float* cos, const float* sin, int64_t rope_dims);
// The same with pairs (2i, 2i + 1).
using RopePairs = void (*)(float* x, const float* cos, const float* sin, int64_t rope_dims);
// out[i] = silu(gate[i]) * up[i]; out[i] = gelu_tanh(gate[i]) * up[i]. Own exp2 polynomial, true division.
using GateUp = void (*)(float* out, const float* gate, const float* up, int64_t n);
// out[i] = x[i] * Phi(x[i]), Phi the normal distribution function (erf, not tanh).
using GeluRow = void (*)(float* out, const float* x, int64_t n);
using AddRow = void (*)(float* out, const float* x, int64_t n);  // out[i] += x[i]
using ScaleRow = void (*)(float* x, float factor, int64_t n);    // x[i] *= factor
using SoftcapRow = void (*)(float* x, float cap, int64_t n);     // x[i] = cap * tanh(x[i] / cap)

struct ArgMax {
  float value;
  int32_t index;  // ties: the lowest
};
using ArgMaxRow = ArgMax (*)(const float* x, int64_t n);  // x [n]; NaN anywhere: index -1
// sum_i exp(x[i] - max), 16 fixed lanes and a fixed tree.
using ExpSumRow = float (*)(const float* x, float max, int64_t n);
// out[i] = exp(x[i] - max).
using ExpRow = void (*)(float* out, const float* x, float max, int64_t n);
// Indices of x[i] >= threshold, ascending, at most `capacity` of them; returns how many there are in all.
using SelectAbove = int64_t (*)(int32_t* out, const float* x, float threshold, int64_t n, int64_t capacity);

// Runs n_rounds of independent multiply-add chains in registers; gives the number of multiply-adds done
// (kernels/probe.h).
using PeakLoop = int64_t (*)(int64_t n_rounds);

struct KernelTable {
  const char* name = nullptr;         // "generic", "avx2", "avx512vnni"
  const char* bf16_family = nullptr;  // "f32" or "vdpbf16ps": bf16 weights and KV are bit-equal inside one family
  ActKind act_kind[tensor::kNFormats] = {};
  PackPanel pack[tensor::kNFormats] = {};
  Gemm gemm[tensor::kNFormats] = {};
  UnpackRow unpack_row[tensor::kNFormats] = {};
  ActQuantize quantize[4] = {};  // by ActKind
  KvWrite kv_write[2] = {};      // by KvDType
  AttnSpan attn_span[2] = {};    // by KvDType
  AttnMerge attn_merge = nullptr;
  RmsNorm rms_norm = nullptr;
  LayerNorm layer_norm = nullptr;
  RopeHalf rope_half = nullptr;
  RopePairs rope_pairs = nullptr;
  GateUp silu_mul = nullptr;
  GateUp gelu_mul = nullptr;
  GeluRow gelu = nullptr;
  AddRow add = nullptr;
  ScaleRow scale = nullptr;
  SoftcapRow softcap = nullptr;
  ArgMaxRow argmax = nullptr;
  ExpSumRow exp_sum = nullptr;
  ExpRow exp = nullptr;
  SelectAbove select_above = nullptr;
  PeakLoop peak_int8 = nullptr;
  PeakLoop peak_f32 = nullptr;
};

// Bytes of one panel (32 rows x k) of a format; k must be a multiple of the format's group.
int64_t panel_bytes(tensor::Format format, int64_t k);

}  // namespace millrace::kernels
