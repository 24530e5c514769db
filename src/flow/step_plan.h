// StepPlan: one forward pass as plain data, and StepOutput: what came back. See docs/contracts/step.md.
//  1. Rows of a share are tokens ctx .. ctx+q_len-1 of its slot; a slot's known tokens come from SlotInit.tokens (all
//  known
//     tokens at admission, fork or resume) plus every token sampled for it since.
//  2. Within a step, each layer writes K/V of all rows before any row attends; `cow` copies run first, in order.
//  3. BlockDelta only appends to or swaps entries of a slot's table; entries below a live window are kNullBlock.
//  4. The last n_draft rows of a share are tokens that the backend proposed for the slot (ShareResult.n_proposed) and
//     holds itself. The row before them and each of them is sampled, up to the first whose token is not the proposed
//     one; what follows it is void.
//  5. A slot named in freed_slots has no share and is forgotten after the step. SlotInit of an open slot replaces it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "flow/sampling_params.h"
#include "flow/token_event.h"

namespace millrace::flow {

using BlockId = uint32_t;
using SlotId = uint32_t;
constexpr BlockId kNullBlock = 0xFFFFFFFF;

struct SlotInit {
  SlotId slot = 0;
  uint32_t input_len = 0;  // prompt tokens; tokens beyond are outputs (penalties and draw counters need the border)
  uint32_t fork = 0;
  uint32_t window_tokens = 0;  // > 0: a window for Full KvGroups, beside the first sink_tokens
  uint32_t sink_tokens = 0;
  uint32_t second_begin = 0;                 // see GenerateRequest
  const SamplingParams* sampling = nullptr;  // lives as long as the request
  std::vector<TokenId> tokens;               // all known tokens
};

struct Share {
  SlotId slot = 0;
  uint32_t ctx = 0;              // tokens of this slot already in KV
  uint32_t q_len = 0;            // rows of this share, >= 1
  uint16_t epoch = 0;            // echoed in ShareResult
  uint16_t n_draft = 0;          // rows at the end that are proposals; with `sample` only
  bool sample = false;           // the last row is sampled, with n_draft those before it, too
  bool prompt_logprobs = false;  // logprobs of the rows' next prompt tokens are wanted
};

struct BlockDelta {
  SlotId slot = 0;
  uint32_t kv_group = 0;
  uint32_t index = 0;  // place in the table: token position / block_tokens
  BlockId id = kNullBlock;
};

// Copy the first `tokens` tokens of block src to dst (copy-on-write of a shared tail).
struct CopyOp {
  uint32_t kv_group = 0;
  BlockId src = 0;
  BlockId dst = 0;
  uint32_t tokens = 0;
};

struct StepPlan {
  uint64_t step = 0;        // 1, 2, 3, ...
  uint64_t state_hash = 0;  // of new_slots, shares and blocks: equal inputs give equal plans on every platform
  std::vector<SlotInit> new_slots;
  std::vector<BlockDelta> blocks;
  std::vector<CopyOp> cow;
  std::vector<Share> shares;  // at most tok_cap rows in all
  std::vector<SlotId> freed_slots;

  bool empty() const { return shares.empty() && cow.empty() && freed_slots.empty(); }
  uint32_t n_rows() const {
    uint32_t n = 0;
    for (const Share& share : shares) n += share.q_len;
    return n;
  }
};

// One sampled behind another in the same step.
struct FurtherToken {
  TokenId token = kNoToken;
  std::unique_ptr<PositionLogprobs> logprobs;
};

struct ShareResult {
  SlotId slot = 0;
  uint16_t epoch = 0;
  TokenId token = kNoToken;  // set when the share asked for a sample
  bool failed = false;       // non-finite logits, or no token allowed: `error` says which; ends this sequence alone
  Error error;
  std::unique_ptr<PositionLogprobs> logprobs;
  std::vector<PositionLogprobs> prompt_logprobs;
  std::vector<float> pooled;          // on the share that ends the prompt of a pooling request; else empty
  std::vector<FurtherToken> further;  // behind `token`: as many as proposals were right, at most n_draft
  uint16_t n_proposed = 0;            // tokens that the slot's next share may have as its draft
  bool completed = false;             // its constraint has ended, and the limit of tokens had a say in where
};

struct StepOutput {
  uint64_t step = 0;
  bool ok = true;  // false: the whole step failed (device fault); `error` says why
  Error error;
  std::vector<ShareResult> shares;  // in the order of StepPlan.shares
  Tick took = 0;                    // ns
};

}  // namespace millrace::flow
