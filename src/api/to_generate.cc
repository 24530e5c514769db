#include "api/to_generate.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr int64_t kCompletionsMaxTokens = 16;  // API.md 3.2

Error too_long(const CommonParams& params, std::string text) {
  return Error{ErrorCode::kContextLengthExceeded, std::move(text), params.max_tokens_name};
}

// Keeps truncate_prompt_tokens of the prompt (-1: max_len, which leaves room for an output token if there is one).
void truncate(std::vector<TokenId>& prompt, const PromptParams& params, int64_t max_len) {
  if (!params.truncate_prompt_tokens) return;
  int64_t limit = *params.truncate_prompt_tokens;
  if (limit < 0) limit = std::max<int64_t>(max_len, 0);
  auto size = static_cast<int64_t>(prompt.size());
  if (limit >= size) return;
  if (params.truncation_side == TruncationSide::kLeft) {
    prompt.erase(prompt.begin(), prompt.begin() + (size - limit));
  } else {
    prompt.resize(static_cast<size_t>(limit));
  }
}

Error beyond_context(const CommonParams& params, int64_t n_prompt, int64_t max_len, int64_t need) {
  std::string text = fmt::format(
      "prompt of {} tokens exceeds the available context size of {} tokens (this model's maximum context "
      "length, with at least {} output token)",
      n_prompt, max_len, need);
  if (params.sampling.pooling != flow::Pooling::kNone) {
    text = fmt::format("input of {} tokens is too large: this model's maximum context length is {} tokens", n_prompt,
                       max_len);
  }
  return Error{ErrorCode::kContextLengthExceeded, std::move(text), "prompt"};
}

int64_t blocks_for(int64_t n_tokens, uint32_t block_tokens) { return (n_tokens - 1) / block_tokens + 1; }

// Output tokens to allow, >= 0.
Result<int64_t> resolve_max_tokens(const CommonParams& params, int64_t n_prompt, const AdmitContext& admit) {
  std::optional<int64_t> wanted = params.max_tokens;
  if (wanted && *wanted < 0) wanted.reset();
  int64_t need = wanted ? std::min<int64_t>(*wanted, 1) : 1;
  if (n_prompt > admit.max_len - need) {
    return beyond_context(params, n_prompt, admit.max_len, need);
  }
  int64_t rest = admit.max_len - n_prompt;
  if (params.clamp_max_tokens) {
    if (admit.block_tokens > 0) rest = std::min(rest, int64_t{admit.block_tokens} * admit.n_blocks - n_prompt);
    if (wanted) wanted = std::clamp<int64_t>(rest, 0, *wanted);
  }
  if (wanted && *wanted > rest) {
    return too_long(params, fmt::format("prompt of {} tokens + {} {} exceed {} (this model's maximum context length)",
                                        n_prompt, params.max_tokens_name, *wanted, admit.max_len));
  }
  if (admit.block_tokens > 0) {
    int64_t total = n_prompt + (wanted ? *wanted : 1);
    int64_t blocks = blocks_for(total, admit.block_tokens);
    if (blocks > admit.n_blocks) {
      return too_long(
          params, fmt::format("one sequence of {} tokens needs {} blocks, pool has {}", total, blocks, admit.n_blocks));
    }
    rest = std::min(rest, int64_t{admit.block_tokens} * admit.n_blocks - n_prompt);
  }
  if (wanted) return *wanted;
  if (params.max_tokens) return rest;  // -1
  int64_t fallback = admit.completions ? kCompletionsMaxTokens : rest;
  return std::min(params.default_max_tokens.value_or(fallback), rest);
}

}  // namespace

Result<flow::GenerateRequest> to_generate(const CommonParams& params, std::vector<TokenId> prompt,
                                          const AdmitContext& admit) {
  bool reads_out = params.sampling.pooling != flow::Pooling::kNone;
  truncate(prompt, params.prompt, reads_out ? admit.max_len : admit.max_len - 1);
  if (prompt.empty()) return Error{ErrorCode::kEmptyPrompt, "prompt: no tokens, must have at least 1", "prompt"};
  int64_t max_tokens = TRY(resolve_max_tokens(params, static_cast<int64_t>(prompt.size()), admit));
  if (params.sampling.min_tokens > max_tokens) {
    return Error{ErrorCode::kInvalidValue,
                 fmt::format("{}: {}, must be at most {} {}", params.min_tokens_name, params.sampling.min_tokens,
                             params.max_tokens_name, max_tokens),
                 params.min_tokens_name};
  }
  flow::GenerateRequest request;
  request.id = admit.id;
  request.tenant = admit.tenant;
  request.scope = admit.scope;
  request.cache_salt = params.prompt.cache_salt;
  int64_t priority = std::clamp<int64_t>(params.caller.priority, -INT16_MAX, INT16_MAX + int64_t{1});
  request.band = static_cast<int16_t>(-priority);
  request.arrival = admit.now;
  if (params.caller.timeout_s) {
    request.deadline =
        admit.now + std::max<Tick>(1, static_cast<Tick>(*params.caller.timeout_s * static_cast<double>(kSecond)));
  }
  request.ttft_slo = params.extensions.ttft_slo_ms * kMillisecond;
  request.itl_slo = params.extensions.itl_slo_ms * kMillisecond;
  request.retention = params.extensions.retention;
  request.session = params.caller.session_id;
  request.session_ttl = params.extensions.session_ttl_s * kSecond;
  request.window_tokens = params.extensions.window_tokens;
  request.sink_tokens = params.extensions.sink_tokens;
  request.prompt = std::move(prompt);
  request.sampling = params.sampling;
  request.sampling.seed = params.seed ? static_cast<uint64_t>(*params.seed) : admit.random_seed;
  request.sampling.max_tokens = static_cast<uint32_t>(std::min<int64_t>(max_tokens, UINT32_MAX));
  request.sampling.eos_token_ids.assign(admit.eos_token_ids.begin(), admit.eos_token_ids.end());
  // a constraint ends with the end token and nothing can follow it
  if (params.constraint.kind != flow::ConstraintKind::kNone) request.sampling.ignore_eos = false;
  request.n = std::max(params.n, params.best_of);
  if (request.n > params.n) request.sampling.n_logprobs = std::max(request.sampling.n_logprobs, 0);  // to compare them
  if (params.beam.width > 1 && max_tokens > 0) {
    request.beam_width = params.beam.width;
    request.length_penalty = params.beam.length_penalty;
    request.beam_stop = params.beam.early_stopping ? flow::BeamStop::kFull : flow::BeamStop::kLikely;
    size_t n_ends = request.sampling.stop_token_ids.size() + request.sampling.eos_token_ids.size();
    request.sampling.n_logprobs = static_cast<int32_t>(flow::beam_candidates(request.beam_width, n_ends));
  }
  if (request.sampling.mirostat > 0) {
    request.sampling.memory = std::make_shared<flow::SamplerMemory>();
    request.sampling.memory->mirostat_mu.resize(std::max(request.n, request.beam_width));
  }
  request.use_prefix_cache = params.prompt.cache_prompt;
  return request;
}

}  // namespace millrace::api
