// TextSide: everything of a loaded model that deals in text: tokenizer, chat template, defaults, end tokens. Turns a
// parsed request into token requests (prepare) on a text worker.
// Thread: any (immutable but for the table of cache scopes and the cache of breakers, which have locks).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "api/chat.h"
#include "api/completions.h"
#include "api/errors.h"
#include "api/tokenize.h"
#include "base/limits.h"
#include "base/result.h"
#include "flow/generate_request.h"
#include "instance/answer_side.h"
#include "instance/router.h"
#include "instance/sampler_words.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace millrace::instance {

// One request of a client, parsed: what a Session is made from.
struct Job {
  std::variant<api::ChatRequest, api::CompletionRequest> body;
  Tick arrival = 0;     // engine clock
  uint32_t tenant = 0;  // of Instance::tenants()
  uint32_t tenant_weight = 1;
  size_t body_bytes = 0;  // of the request as it came; 0 = unknown

  const api::CommonParams& params() const;
  api::CommonParams& params();
  bool is_chat() const { return std::holds_alternative<api::ChatRequest>(body); }
};

struct PreparedPrompt {
  std::string text;  // echo: what comes before the answer (chat: the last assistant message)
  std::vector<TokenId> tokens;
  flow::GenerateRequest request;
  AnswerPlan answer;
};

// What a text worker sends back.
struct Prepared {
  std::optional<api::ApiError> error;
  std::vector<PreparedPrompt> prompts;
  std::vector<TokenId> preserved;  // special tokens that are shown; sorted
};

struct TextParts {
  text::Tokenizer tokenizer;
  std::optional<text::ChatTemplate> chat_template;
  api::SamplingDefaults defaults;
  std::vector<TokenId> eos_token_ids;
  int64_t max_len = 0;  // tokens
  uint32_t block_tokens = 0;
  uint32_t n_blocks = 0;
  api::PoolingFacts pooling;
  int64_t n_vocab = 0;  // of the model's logits; 0: the tokenizer's
  AnswerRules answers;
  bool names_slots = false;  // a request without a session_id is known by its slot
  Limits limits;
};

class TextSide {
 public:
  explicit TextSide(TextParts parts);

  const text::Tokenizer& tokenizer() const { return parts_.tokenizer; }
  const TextParts& parts() const { return parts_; }
  const AnswerSide& answers() const { return answers_; }

  // Of requests with this salt and without a window of their own.
  uint32_t scope_of_salt(const std::string& salt);
  // Template, tokens, lengths. Never fails as a whole: the error is in the result.
  Prepared prepare(const Job& job, SessionKey key);
  // The tokens of POST /tokenize.
  Result<std::vector<TokenId>> tokenize(const api::TokenizeRequest& request) const;
  Result<text::RenderedPrompt> render(const api::ChatRequest& chat) const;

 private:
  uint32_t scope_of(const api::CommonParams& params);
  uint32_t scope_of_key(std::string key);
  Result<std::vector<TokenId>> encode_prompt(std::string_view text, const text::EncodeOptions& options,
                                             const api::PromptParams& params, size_t n_others = 0) const;
  Result<PreparedPrompt> prepare_chat(const api::ChatRequest& chat) const;
  Result<std::vector<TokenId>> tokens_of(const api::PromptInput& input, const api::PromptParams& params) const;
  Result<PreparedPrompt> prepare_pair(const api::PromptPair& pair, const api::PromptParams& params) const;
  void truncate_text(const api::PromptParams& params, std::vector<TokenId>& tokens) const;
  Result<PreparedPrompt> prepare_text(const api::PromptInput& input, const api::CommonParams& params) const;
  Result<void> add_sampler_words(const api::CommonParams& params, flow::SamplingParams& sampling);

  TextParts parts_;
  AnswerSide answers_;
  BreakerCache breakers_;
  std::mutex scopes_mutex_;
  std::map<std::string, uint32_t, std::less<>> scopes_;  // guarded by scopes_mutex_; salt to scope
  uint32_t next_scope_ = 1;                              // guarded by scopes_mutex_
};

}  // namespace millrace::instance
