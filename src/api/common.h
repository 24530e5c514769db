// What every generation route shares, after parsing: plain data, validated, defaults filled in.
// Built by parse_chat() and parse_completion() through the table of fields.h; read by to_generate() and output.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/compat.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/limits.h"
#include "flow/constraint.h"
#include "flow/sampling_params.h"

namespace millrace::text {
class Tokenizer;
}

namespace millrace::api {

// How the model answers the routes that read prompts out (pooling.h).
struct PoolingFacts {
  flow::Pooling pooling = flow::Pooling::kLast;  // kTokens: vectors of tokens only
  bool generates = true;
  uint32_t n_scores = 0;  // > 0: a head gives so many for each prompt instead of an embedding
  int64_t d_model = 0;    // values of an embedding
};

// Facts of the served model that a request is checked against.
struct ModelFacts {
  int64_t n_vocab = 0;
  int64_t max_len = 0;  // tokens, prompt + output
  std::span<const TokenId> eos_token_ids = {};
  const text::Tokenizer* tokenizer = nullptr;  // for fields that name tokens by text; may be null
  PoolingFacts pooling = {};
};

// All that parsing a body needs. The referenced objects outlive the call.
struct ParseContext {
  const Limits& limits;
  std::span<const std::string> served_names;  // >= 1, the first one answers a request without `model`
  ModelFacts model;
  SamplingDefaults defaults;                  // of the model and the command line
  const SamplingDefaults* dialect = nullptr;  // behind them; null: the profile's
  const CompatProfile* profile = &compat_profiles()[0];
  // What requests without a constraint or tools get; its any_whitespace holds where they say nothing. null: none
  const flow::ConstraintSpec* constraint = nullptr;
  bool strict_fields = false;                // an unknown field is 400 unknown_field
  bool trust_request_chat_template = false;  // else `chat_template` is 400 chat_template_disabled
  std::string session_id = {};               // of a header; the body's wins
};

struct StreamParams {
  bool stream = false;
  bool include_usage = false;
  bool continuous_usage_stats = false;
  int64_t interval = 1;                 // tokens of a piece; the first and the last one wait for none
  std::optional<int64_t> keep_alive_s;  // silence before a comment; <= 0: none; absent: the server's
};

enum class TruncationSide : uint8_t { kLeft, kRight };  // kLeft keeps the last tokens

struct PromptParams {
  bool add_special_tokens = true;                 // default: chat false, completions true
  std::optional<int64_t> truncate_prompt_tokens;  // -1: to the context length
  TruncationSide truncation_side = TruncationSide::kLeft;
  bool cache_prompt = true;  // false: no prefix-cache lookup
  std::string cache_salt;    // empty: none
};

// How the answer is shown. Logprob counts are sampling.n_logprobs and sampling.n_prompt_logprobs.
struct OutputParams {
  std::vector<std::string> stop;  // strings, matched on decoded text
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  std::vector<std::string> preserved_tokens;  // special tokens that are shown all the same
  bool spaces_between_special_tokens = true;
  bool echo = false;
  bool return_tokens_as_token_ids = false;  // "token_id:123" instead of text in logprobs
  bool return_token_ids = false;
  bool return_prompt_text = false;
  bool timings_per_token = false;
  bool return_progress = false;
  bool verbose = false;                      // whole replies carry __verbose
  int32_t id_slot = -1;                      // the name of the conversation for /slots, where it has no session_id
  std::vector<std::string> response_fields;  // of native replies, "a/b"; empty: all
  uint32_t n_indent = 0;                     // > 0: a line behind the first that is indented by less ends the answer
  int64_t t_max_predict_ms = 0;              // > 0: so long after the first token the next new line ends the answer
};

// The object `millrace`: our own extensions.
struct ExtensionParams {
  int64_t ttft_slo_ms = 0;  // wished time to the first token, and between two tokens; 0 = none
  int64_t itl_slo_ms = 0;
  std::string tenant;          // heard only from a gateway's key
  uint8_t retention = 0;       // 0..7
  uint32_t window_tokens = 0;  // 0 = off
  uint32_t sink_tokens = 0;
  int64_t session_ttl_s = 0;  // needs session_id; 0 = no lease
};

struct BeamParams {
  bool wanted = false;
  uint32_t width = 0;  // 0: n
  float length_penalty = 1.0f;
  bool early_stopping = false;
};

struct CallerParams {
  std::string request_id;               // empty: make one
  std::vector<std::string> prompt_ids;  // of the prompts one by one, where the client named them; else empty
  std::string session_id;
  std::string user;
  std::string prompt_cache_key;
  int64_t priority = 0;  // lower first
  std::optional<double> timeout_s;
};

// Fields nobody knows: counted, and the first kMaxIgnoredNames named in X-Millrace-Ignored-Fields.
constexpr size_t kMaxIgnoredNames = 16;
struct IgnoredFields {
  uint64_t count = 0;
  std::vector<std::string> names;
};

struct CommonParams {
  std::string model;                   // as requested (the reply repeats it); the first served name when absent
  flow::SamplingParams sampling;       // without seed, max_tokens and eos_token_ids: to_generate() fills these
  std::vector<std::string> bad_words;  // become tokens of `sampling` with the prompt, as do these
  std::vector<std::string> dry_breakers = {"\n", ":", "\"", "*"};
  flow::ConstraintSpec constraint;             // what the answer's text must be; compiled before the request runs
  std::optional<int64_t> max_tokens;           // absent: the default below; -1: rest of the context
  std::string max_tokens_name = "max_tokens";  // the names these two were sent under, for errors
  std::string min_tokens_name = "min_tokens";
  std::optional<int64_t> default_max_tokens;  // of the server; absent: chat rest of the context, completions 16
  bool clamp_max_tokens = false;              // more than fits ends with length instead of 400 (native routes)
  std::optional<int64_t> seed;                // absent: random
  uint32_t n = 1;
  uint32_t best_of = 0;  // > n: so many answers are made, the n with the highest log probability per token are given
  StreamParams stream;
  PromptParams prompt;
  OutputParams output;
  CallerParams caller;
  ExtensionParams extensions;
  BeamParams beam;  // width > 1: beam search
  IgnoredFields ignored;
};

}  // namespace millrace::api
