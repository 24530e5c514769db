// Ctx: what a forward pass needs besides weights and data, and Batch: the rows of one step. Models run SPMD: every
// compute thread calls the same functions with its own Ctx; work is split by team, and team.sync() stands where data
// crosses threads.
//  1. `shared` is a copy of one cursor: all threads make the same sequence of take() calls and get the same addresses.
//  2. `own` is memory of this thread alone.
// Thread: a Ctx belongs to one compute thread; a Batch is read by all of them.
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "device/buffer.h"
#include "device/heartbeat.h"
#include "device/thread_pool.h"
#include "kernels/ops.h"

namespace millrace::layers {

constexpr int kMaxKvTables = 8;        // KvGroups of a model
constexpr int64_t kRedundantRows = 8;  // up to here each thread repeats norms instead of waiting at a barrier

struct Ctx {
  const kernels::KernelTable& k;
  device::Team& team;
  device::Arena shared;
  device::Arena own;
  device::Heartbeat* heartbeat = nullptr;  // or nullptr
  kernels::Ahead ahead = {};               // what multiply() may ask for meanwhile
  int64_t weight_bytes = 0;                // packed weight bytes this thread has read
};

// One sequence of a step: rows row_begin .. row_begin+n_rows-1 are its tokens ctx .. ctx+n_rows-1.
struct SeqRows {
  int32_t row_begin = 0;
  int32_t n_rows = 0;
  int64_t ctx = 0;  // tokens already in KV
  // > 0: layers without a window of their own see the first `sinks` tokens and the last `window` ones only
  int64_t window = 0;
  int64_t sinks = 0;                          // at most kSpanTokens
  int64_t second_begin = 0;                   // > 0: position of the first token of a second text (encoders)
  const uint32_t* tables[kMaxKvTables] = {};  // per KvGroup: block id of each 32 tokens, up to the last row's
};

struct Batch {
  int64_t n_rows = 0;
  const TokenId* tokens = nullptr;   // [n_rows]
  const int32_t* row_seq = nullptr;  // [n_rows] index into seqs
  const SeqRows* seqs = nullptr;     // [n_seqs], row_begin ascending without gaps
  int64_t n_seqs = 0;
  const int32_t* wanted = nullptr;  // [n_wanted] rows whose final hidden state is kept
  int64_t n_wanted = 0;
  int64_t n_logits = 0;     // logits are wanted of the first so many of them; the others are read out
  float* hidden = nullptr;  // out [n_wanted, round_up(d_model, 16)] f32, before the output norm

  int64_t position(int64_t row) const {
    const SeqRows& seq = seqs[row_seq[row]];
    return seq.ctx + row - seq.row_begin;
  }
};

// Where the KV bytes of each layer lie: head h of block id at
// base + id * block_bytes + offset_bytes[layer] + h * head_bytes.
struct KvLayerPlace {
  uint32_t table = 0;         // KvGroup: index into SeqRows::tables
  uint64_t offset_bytes = 0;  // of the layer inside a block
};
struct KvView {
  uint8_t* base = nullptr;
  uint64_t block_bytes = 0;
  uint64_t head_bytes = 0;
  kernels::KvDType dtype = kernels::KvDType::kBF16;
  const KvLayerPlace* layers = nullptr;  // [n_layers]

  uint8_t* head(uint32_t layer, uint32_t block, int64_t kv_head) const {
    return base + block * block_bytes + layers[layer].offset_bytes + static_cast<uint64_t>(kv_head) * head_bytes;
  }
};

constexpr int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }
constexpr int64_t ceil_div(int64_t value, int64_t unit) { return (value + unit - 1) / unit; }

}  // namespace millrace::layers
