// What a reply is made of, as plain data, and the writers of whole replies. Key order is fixed and follows API.md 4.
// Text passed in is UTF-8, except TokenText::bytes, which may be any bytes.
// Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/common.h"
#include "base/ids.h"
#include "base/json.h"
#include "flow/token_event.h"

namespace millrace::api {

enum class ReplyKind : uint8_t { kChat, kCompletion };

// Equal on all chunks of one stream.
struct ReplyHead {
  std::string id;       // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;  // unix seconds
  std::string model;    // the requested name
  std::string system_fingerprint;
};

struct Usage {
  uint64_t prompt_tokens = 0;
  uint64_t completion_tokens = 0;
  uint64_t cached_tokens = 0;     // of the prompt, found in the prefix cache
  uint64_t created_tokens = 0;    // of the prompt, put into the prefix cache: whole blocks only
  uint64_t reasoning_tokens = 0;  // of the completion
};

// llama-server's timings object; rates exclude the first token.
struct Timings {
  double queue_ms = 0;  // arrival to first scheduled; not part of that object
  uint64_t cache_n = 0;
  uint64_t prompt_n = 0;  // prompt tokens computed
  double prompt_ms = 0;
  uint64_t predicted_n = 0;
  double predicted_ms = 0;  // first to last token
};
// From the finishing event of a sequence.
Timings timings_of(const flow::TokenEvent& finish);

struct TokenText {
  TokenId id = kNoToken;
  std::string bytes;  // decoded bytes of this token alone
  std::string text;   // what it adds to the text, UTF-8; "" while a character is unfinished
  float logprob = 0.0f;
  int32_t rank = 0;
};

// Logprobs of one position with the text of each token.
struct PositionText {
  TokenText chosen;
  std::vector<TokenText> top;
  bool has_logprob = true;  // false: the first prompt token, which has none
};

// kCalls: stopped, with calls of tools; kAbort: only for formats with tells_abort().
enum class FinishKind : uint8_t { kStop, kLength, kCalls, kAbort };
// What ended the sequence: nothing to tell (EOS, length), a stop id, or a stop string.
using StopReason = std::variant<std::monostate, TokenId, std::string>;
struct Finish {
  FinishKind kind = FinishKind::kStop;
  StopReason reason;
  bool named = false;  // kCalls: the tool was named by the request
};

// A piece of one call of a tool.
struct CallPiece {
  uint32_t index = 0;  // among the calls of the choice
  std::string id;      // with the name, in the first piece of a call
  std::string name;
  std::string arguments;  // JSON text: joined, the pieces of a call are that of an object unless the answer was cut off
};
enum class PartKind : uint8_t { kContent, kReasoning, kCall };
struct OutputPart {
  PartKind kind = PartKind::kContent;
  std::string text;
  CallPiece call;  // kCall: the whole call
};

// The prompt side of a reply; unused parts stay empty.
struct PromptOutput {
  std::string text;                    // for echo and return_prompt_text
  std::vector<TokenId> token_ids;      // for return_token_ids
  std::vector<PositionText> logprobs;  // one per prompt token, the first without a logprob
  std::vector<float> pooled;           // of a prompt that was read out (flow::TokenEvent::pooled)
};

struct ChoiceOutput {
  uint32_t index = 0;
  uint32_t prompt_index = 0;  // completions: which PromptOutput it belongs to
  std::string text;           // the content, without reasoning and calls
  std::string reasoning;
  std::vector<OutputPart> parts;  // all of it, in order
  Finish finish;
  std::vector<TokenId> token_ids;
  std::vector<PositionText> logprobs;  // one per output token, when asked for
  Timings timings;
};

struct ReplyParts {
  const ReplyHead& head;
  const CommonParams& params;
  std::span<const PromptOutput> prompts;  // chat: exactly one
  std::span<const ChoiceOutput> choices;  // in index order
  Usage usage;                            // summed over prompts and choices
  const Timings* timings = nullptr;       // null: no timings key
  double prepare_ms = 0;                  // arrival until the engine had the tokens of the prompt
};

// Appends one more part, joined to the last one when it goes on with that.
void add_part(ChoiceOutput& choice, PartKind kind, std::string_view text, const CallPiece* call);

// The names that reasoning text goes under; both by default.
enum class ReasoningField : uint8_t { kBoth, kReasoning, kReasoningContent };

// {"id":"chatcmpl-...","object":"chat.completion",...}; OutputParams::echo puts PromptOutput::text before the text.
std::string chat_reply(const ReplyParts& parts, ReasoningField field = ReasoningField::kBoth);
// {"id":"cmpl-...","object":"text_completion",...}; with echo, text and logprobs begin with the prompt.
std::string completion_reply(const ReplyParts& parts);

// One served name of GET /v1/models.
struct ModelCard {
  std::string id;
  std::string root;    // path or org/name
  std::string parent;  // base model of an adapter; empty: null
  int64_t created = 0;
  int64_t max_model_len = 0;
  std::string vocab_type;
  int64_t n_vocab = 0;
  int64_t n_ctx_train = 0;
  int64_t n_embd = 0;
  int64_t n_params = 0;
  int64_t size_bytes = 0;
  std::vector<std::string> aliases;  // all names of the model
  std::vector<std::string> tags;
  std::string state = {};  // of one of several models: loaded, loading or unloaded; empty: not told
  bool failed = false;     // its last load did
};
std::string models_reply(std::span<const ModelCard> cards);
std::string model_reply(const ModelCard& card);

// A new id: prefix + 32 hex digits of two random words.
std::string make_reply_id(std::string_view prefix, uint64_t high, uint64_t low);

}  // namespace millrace::api
