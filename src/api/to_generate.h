// The last step of the door: parsed parameters and prompt tokens to the engine's request. The only place that builds
// a flow::GenerateRequest. Checks lengths: prompt < context, prompt + explicit max_tokens <= context, one sequence fits
// the block pool, min_tokens <= max_tokens.
// Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "api/common.h"
#include "base/ids.h"
#include "base/result.h"
#include "flow/generate_request.h"

namespace millrace::api {

struct AdmitContext {
  flow::RequestId id = 0;
  uint32_t tenant = 0;
  uint32_t scope = 0;         // interned (model, cache_salt)
  Tick now = 0;               // engine clock
  uint64_t random_seed = 0;   // used when the request has no seed
  int64_t max_len = 0;        // context in tokens
  uint32_t block_tokens = 0;  // 0: the pool is not checked
  uint32_t n_blocks = 0;
  std::span<const TokenId> eos_token_ids = {};
  bool completions = false;  // default of max_tokens is 16 (chat: rest of the context)
};

// A prompt over the context is cut first when truncate_prompt_tokens asks for it. Token ids were
// checked before. Errors: kEmptyPrompt, kContextLengthExceeded (wrap with with_lengths(error, prompt.size(), max_len)),
// kInvalidValue.
Result<flow::GenerateRequest> to_generate(const CommonParams& params, std::vector<TokenId> prompt,
                                          const AdmitContext& admit);

}  // namespace millrace::api
