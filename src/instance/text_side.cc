#include "instance/text_side.h"

#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <random>
#include <utility>

#include "api/to_generate.h"
#include "base/macros.h"
#include "base/out_of_memory.h"
#include "instance/instance.h"
#include "instance/sampler_words.h"

namespace millrace::instance {
namespace {

// Salts remembered; beyond, a salt gets a scope of its own each time, so that nothing is ever shared by mistake.
constexpr size_t kMaxScopes = 1'000'000;

// Values of a reply with a vector for every token: 64 MiB.
constexpr uint64_t kMaxTokenValues = uint64_t{1} << 24;

uint64_t random_word() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

std::string message_text(const Json& message) {
  const Json* content = message.get("content");
  if (content == nullptr) return {};
  if (content->is_string()) return content->as_string();
  std::string joined;
  if (content->is_array()) {
    for (const Json& part : content->as_array()) {
      const Json* piece = part.get("text");
      if (piece != nullptr && piece->is_string()) joined += piece->as_string();
    }
  }
  return joined;
}

// Content given as parts, for templates that take text only.
Json with_plain_content(const Json& messages) {
  Json out = messages;
  for (Json& message : out.as_array()) {
    const Json* content = message.get("content");
    if (content != nullptr && content->is_array()) message.set("content", message_text(message));
  }
  return out;
}

std::string last_assistant_text(const Json& messages) {
  if (!messages.is_array() || messages.size() == 0) return {};
  const Json& last = messages.as_array().back();
  const Json* role = last.get("role");
  if (role == nullptr || !role->is_string() || role->as_string() != "assistant") return {};
  return message_text(last);
}

// An encoder continues nothing.
Result<void> check_generates(const api::PoolingFacts& facts, const api::CommonParams& params) {
  if (facts.generates || params.sampling.pooling != flow::Pooling::kNone) return {};
  return Error{ErrorCode::kNotSupported,
               facts.n_scores > 0 ? "this model generates no text: it answers /score and /rerank"
                                  : "this model generates no text: it answers /v1/embeddings, /score and /rerank",
               "model"};
}

std::string piece_of(const text::Tokenizer& tokenizer, TokenId id) {
  return id == kNoToken ? std::string() : std::string(tokenizer.token_bytes(id));
}

// Beams go by the model's own probabilities: a constraint would be ignored.
Error no_beams_within(const flow::ConstraintSpec& constraint) {
  std::string param = constraint.param.empty() ? "tools" : constraint.param;
  return {ErrorCode::kUnsupportedParameter, param + ": not supported with beam search", param};
}

// Of texts that are tokens; sorted.
std::vector<TokenId> ids_of(const std::vector<std::string>& texts, const text::Tokenizer& tokenizer) {
  std::vector<TokenId> out;
  for (const std::string& text : texts) {
    if (std::optional<TokenId> id = tokenizer.find(text)) out.push_back(*id);
  }
  std::ranges::sort(out);
  return out;
}

constexpr int32_t kManyLogprobs = 1000;         // of a position: only where --max-logprobs is -1
constexpr uint64_t kMostLogprobs = 16'000'000;  // of a request that asks for so many, some 100 bytes each

// What a request of very many log probabilities keeps until it is answered.
uint64_t n_logprobs_of(const flow::GenerateRequest& request) {
  const flow::SamplingParams& sampling = request.sampling;
  uint64_t n = 0;
  if (sampling.n_logprobs > kManyLogprobs) {
    n += static_cast<uint64_t>(sampling.n_logprobs) * sampling.max_tokens * request.n;
  }
  if (sampling.n_prompt_logprobs > kManyLogprobs) {
    n += static_cast<uint64_t>(sampling.n_prompt_logprobs) * request.prompt.size();
  }
  return n;
}

Error too_many_logprobs(uint64_t n) {
  return {ErrorCode::kInvalidValue,
          fmt::format("logprobs: {} log probabilities in all, at most {}: ask for fewer tokens (max_tokens)", n,
                      kMostLogprobs),
          "logprobs"};
}

}  // namespace

const api::CommonParams& Job::params() const {
  if (const auto* chat = std::get_if<api::ChatRequest>(&body)) return chat->common;
  return std::get<api::CompletionRequest>(body).common;
}

api::CommonParams& Job::params() {
  if (auto* chat = std::get_if<api::ChatRequest>(&body)) return chat->common;
  return std::get<api::CompletionRequest>(body).common;
}

TextSide::TextSide(TextParts parts)
    : parts_(std::move(parts)),
      answers_(parts_.answers, parts_.chat_template ? &*parts_.chat_template : nullptr, parts_.tokenizer,
               parts_.eos_token_ids, std::max(parts_.tokenizer.n_vocab(), static_cast<size_t>(parts_.n_vocab))) {}

uint32_t TextSide::scope_of(const api::CommonParams& params) {
  const api::ExtensionParams& own = params.extensions;
  std::string key = params.prompt.cache_salt;
  if (own.window_tokens > 0) key += fmt::format("@{} {}", own.window_tokens, own.sink_tokens);  // no salt has an @
  return scope_of_key(std::move(key));
}

uint32_t TextSide::scope_of_salt(const std::string& salt) { return scope_of_key(salt); }

uint32_t TextSide::scope_of_key(std::string key) {
  if (key.empty()) return 0;
  std::lock_guard lock(scopes_mutex_);
  auto found = scopes_.find(key);
  if (found != scopes_.end()) return found->second;
  uint32_t scope = next_scope_++;
  if (scopes_.size() < kMaxScopes) scopes_.emplace(std::move(key), scope);
  return scope;
}

Result<text::RenderedPrompt> TextSide::render(const api::ChatRequest& chat) const {
  text::Conversation conversation;
  conversation.messages = chat.messages;
  conversation.add_generation_prompt = chat.add_generation_prompt;
  conversation.continue_final_message = chat.continue_final_message;
  conversation.kwargs = chat.chat_template_kwargs;
  conversation.bos_token = piece_of(parts_.tokenizer, parts_.tokenizer.bos());
  conversation.eos_token = piece_of(parts_.tokenizer, parts_.tokenizer.eos());
  conversation.now_unix = static_cast<int64_t>(std::time(nullptr));
  std::optional<text::ChatTemplate> own;
  if (!chat.chat_template.empty()) {
    own = TRY(text::ChatTemplate::parse(chat.chat_template, parts_.limits));
  } else if (!parts_.chat_template) {
    return Error{ErrorCode::kInvalidTemplate, "this model has no chat template; use /v1/completions", "messages"};
  }
  const text::ChatTemplate& by = own ? *own : *parts_.chat_template;
  if (!by.wants_content_parts()) conversation.messages = with_plain_content(chat.messages);
  answers_.tell(chat, by, conversation);
  text::RenderedPrompt rendered = TRY(by.render(conversation));
  answers_.end_reasoning(conversation, rendered.text);
  return rendered;
}

// A text that cannot fit beside `n_others` tokens is refused by its size: megabytes of it would keep this thread from
// the others for seconds.
Result<std::vector<TokenId>> TextSide::encode_prompt(std::string_view text, const text::EncodeOptions& options,
                                                     const api::PromptParams& params, size_t n_others) const {
  auto fewest = static_cast<int64_t>(parts_.tokenizer.fewest_tokens(text) + n_others);
  if (fewest > parts_.max_len && !params.truncate_prompt_tokens) {
    std::string what = fmt::format(
        "prompt of {} tokens or more (a text of {} bytes) exceeds the available context size of {} tokens (this "
        "model's maximum context length)",
        fewest, text.size(), parts_.max_len);
    return Error{ErrorCode::kContextLengthExceeded, std::move(what), "prompt"};
  }
  return parts_.tokenizer.encode(text, options);
}

Result<PreparedPrompt> TextSide::prepare_chat(const api::ChatRequest& chat) const {
  text::RenderedPrompt rendered = TRY(render(chat));
  text::EncodeOptions options;
  options.add_special = chat.common.prompt.add_special_tokens;
  options.literal = rendered.literal;
  PreparedPrompt prepared;
  prepared.tokens = TRY(encode_prompt(rendered.text, options, chat.common.prompt, chat.past.size()));
  if (!chat.past.empty()) {
    const bool begins = !prepared.tokens.empty() && prepared.tokens.front() == parts_.tokenizer.bos();
    if (begins) prepared.tokens.erase(prepared.tokens.begin());  // what is past has begun already
    prepared.tokens.insert(prepared.tokens.begin(), chat.past.begin(), chat.past.end());
  }
  prepared.answer = answers_.plan(chat, rendered.text);
  if (chat.common.output.echo) prepared.text = last_assistant_text(chat.messages);
  if (chat.common.output.return_prompt_text) prepared.text = std::move(rendered.text);
  return prepared;
}

// Ids as they are; of ids and texts in one sequence only a first text begins it.
Result<std::vector<TokenId>> TextSide::tokens_of(const api::PromptInput& input, const api::PromptParams& params) const {
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&input)) return *ids;
  std::vector<TokenId> out;
  text::EncodeOptions options;
  for (const api::PromptPart& part : std::get<std::vector<api::PromptPart>>(input)) {
    if (const auto* id = std::get_if<TokenId>(&part)) {
      out.push_back(*id);
      continue;
    }
    options.add_special = params.add_special_tokens && out.empty();
    std::vector<TokenId> more = TRY(encode_prompt(std::get<std::string>(part), options, params, out.size()));
    out.insert(out.end(), more.begin(), more.end());
  }
  return out;
}

// Both texts as the encoder was trained on them: prefix, first, suffix, second, suffix; too long a pair loses tokens of
// the end of its longer text, as longest_first of the tokenizers library does.
Result<PreparedPrompt> TextSide::prepare_pair(const api::PromptPair& pair, const api::PromptParams& params) const {
  const text::TokenizerSpec& spec = parts_.tokenizer.spec();
  text::EncodeOptions options;
  options.add_special = false;
  size_t n_special = spec.prefix.size() + 2 * spec.suffix.size();
  std::vector<TokenId> first = TRY(encode_prompt(pair.first, options, params, n_special));
  std::vector<TokenId> second = TRY(encode_prompt(pair.second, options, params, n_special + first.size()));
  int64_t limit = params.truncate_prompt_tokens.value_or(INT64_MAX);
  if (limit < 0) limit = parts_.max_len;
  while (static_cast<int64_t>(first.size() + second.size() + n_special) > limit && !(first.empty() && second.empty())) {
    (first.size() > second.size() ? first : second).pop_back();
  }
  PreparedPrompt prepared;
  auto append = [&](const std::vector<TokenId>& ids) {
    prepared.tokens.insert(prepared.tokens.end(), ids.begin(), ids.end());
  };
  append(spec.prefix);
  append(first);
  append(spec.suffix);
  prepared.request.second_begin = static_cast<uint32_t>(prepared.tokens.size());
  append(second);
  append(spec.suffix);
  return prepared;
}

// Special tokens around a text stay when it is cut.
void TextSide::truncate_text(const api::PromptParams& params, std::vector<TokenId>& tokens) const {
  const text::TokenizerSpec& spec = parts_.tokenizer.spec();
  if (!params.truncate_prompt_tokens || !params.add_special_tokens) return;
  int64_t limit = *params.truncate_prompt_tokens < 0 ? parts_.max_len : *params.truncate_prompt_tokens;
  size_t n_special = spec.prefix.size() + spec.suffix.size();
  if (limit >= static_cast<int64_t>(tokens.size()) || limit < static_cast<int64_t>(n_special)) return;
  auto n_cut = static_cast<std::ptrdiff_t>(static_cast<int64_t>(tokens.size()) - limit);
  auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(spec.prefix.size());
  auto end = tokens.end() - static_cast<std::ptrdiff_t>(spec.suffix.size());
  if (params.truncation_side == api::TruncationSide::kLeft) {
    tokens.erase(begin, begin + n_cut);
  } else {
    tokens.erase(end - n_cut, end);
  }
}

Result<PreparedPrompt> TextSide::prepare_text(const api::PromptInput& input, const api::CommonParams& params) const {
  PreparedPrompt prepared;
  prepared.answer.constraint = params.constraint;
  if (const auto* text = std::get_if<std::string>(&input)) {
    text::EncodeOptions options;
    options.add_special = params.prompt.add_special_tokens;
    prepared.tokens = TRY(encode_prompt(*text, options, params.prompt));
    if (params.sampling.pooling != flow::Pooling::kNone) truncate_text(params.prompt, prepared.tokens);
    if (params.output.echo || params.output.return_prompt_text) prepared.text = *text;
  } else if (const auto* pair = std::get_if<api::PromptPair>(&input)) {
    return prepare_pair(*pair, params.prompt);
  } else {
    prepared.tokens = TRY(tokens_of(input, params.prompt));
    if (params.output.echo || params.output.return_prompt_text) {
      prepared.text = parts_.tokenizer.decode(prepared.tokens, params.output.skip_special_tokens);
    }
  }
  return prepared;
}

// What the samplers are told as text, as tokens.
Result<void> TextSide::add_sampler_words(const api::CommonParams& params, flow::SamplingParams& sampling) {
  if (!params.bad_words.empty()) {
    std::vector<std::vector<TokenId>> words = TRY(bad_word_tokens(parts_.tokenizer, params.bad_words));
    sampling.bad_words.insert(sampling.bad_words.end(), words.begin(), words.end());
  }
  if (sampling.dry.multiplier > 0.0f) {
    sampling.dry.breakers = TRY(breakers_.get(parts_.tokenizer, params.dry_breakers));
  }
  return {};
}

Prepared TextSide::prepare(const Job& job, SessionKey key) try {
  Prepared out;
  const api::CommonParams& params = job.params();
  const auto* chat = std::get_if<api::ChatRequest>(&job.body);
  const auto* completion = std::get_if<api::CompletionRequest>(&job.body);
  if (Result<void> able = check_generates(parts_.pooling, params); !able.ok()) {
    out.error = api::ApiError{able.take_error()};
    return out;
  }
  out.preserved = ids_of(params.output.preserved_tokens, parts_.tokenizer);
  api::AdmitContext admit;
  admit.tenant = job.tenant;
  admit.scope = scope_of(params);
  admit.now = job.arrival;
  admit.random_seed = random_word();
  admit.max_len = parts_.max_len;
  admit.block_tokens = parts_.block_tokens;
  admit.n_blocks = parts_.n_blocks;
  admit.eos_token_ids = parts_.eos_token_ids;
  admit.completions = completion != nullptr;
  uint64_t n_values = 0;
  uint64_t n_logprobs = 0;
  size_t n_prompts = chat != nullptr ? 1 : completion->prompts.size();
  for (size_t i = 0; i < n_prompts; ++i) {
    Result<PreparedPrompt> prepared =
        chat != nullptr ? prepare_chat(*chat) : prepare_text(completion->prompts[i], params);
    if (!prepared.ok()) {
      out.error = api::ApiError{prepared.take_error()};
      return out;
    }
    n_values += prepared->tokens.size() * static_cast<uint64_t>(parts_.pooling.d_model);
    if (params.sampling.pooling == flow::Pooling::kTokens && n_values > kMaxTokenValues) {
      std::string what = fmt::format("input: more than {} values, a vector of {} for every token", kMaxTokenValues,
                                     parts_.pooling.d_model);
      out.error = api::ApiError{Error{ErrorCode::kInvalidValue, std::move(what), "input"}};
      return out;
    }
    admit.id = request_id_of(key, i);
    auto n_tokens = static_cast<int64_t>(prepared->tokens.size());
    auto request = api::to_generate(params, prepared->tokens, admit);
    if (request.ok()) {
      Result<void> named = add_sampler_words(params, request->sampling);
      if (!named.ok()) request = named.take_error();
    }
    if (!request.ok()) {
      out.error = api::with_lengths(request.take_error(), n_tokens, parts_.max_len);
      return out;
    }
    uint32_t second_begin = prepared->request.second_begin;
    prepared->request = std::move(request).value();
    prepared->request.second_begin = second_begin;
    if (const auto& constraint = prepared->answer.constraint; constraint.kind != flow::ConstraintKind::kNone) {
      if (prepared->request.beam_width > 1) {
        out.error = api::ApiError{no_beams_within(constraint)};
        return out;
      }
      prepared->request.sampling.ignore_eos = false;  // a constraint ends with the end token, nothing can follow it
    }
    prepared->request.weight = job.tenant_weight;
    if (parts_.names_slots && prepared->request.session.empty()) {
      prepared->request.session = slot_name(std::max(params.output.id_slot, 0));
    }
    if (prepared->request.prompt.size() != prepared->tokens.size()) {  // truncate_prompt_tokens
      prepared->tokens = prepared->request.prompt;
      if (completion != nullptr) prepared->text = parts_.tokenizer.decode(prepared->tokens, true);
    }
    if (params.output.echo && completion != nullptr) {
      flow::SamplingParams& sampling = prepared->request.sampling;  // logprobs of what is echoed
      sampling.n_prompt_logprobs = std::max(sampling.n_prompt_logprobs, sampling.n_logprobs);
    }
    n_logprobs += n_logprobs_of(prepared->request);
    if (n_logprobs > kMostLogprobs) {
      out.error = api::ApiError{too_many_logprobs(n_logprobs)};
      return out;
    }
    out.prompts.push_back(std::move(prepared).value());
  }
  return out;
} catch (const std::bad_alloc&) {
  Prepared failed;
  failed.error = api::ApiError{out_of_memory("preparing the prompt")};
  return failed;
}

Result<std::vector<TokenId>> TextSide::tokenize(const api::TokenizeRequest& request) const {
  if (!request.chat) {
    text::EncodeOptions options;
    options.add_special = request.add_special;
    options.parse_special = request.parse_special;
    return parts_.tokenizer.encode(request.text, options);
  }
  text::RenderedPrompt rendered = TRY(render(*request.chat));
  text::EncodeOptions options;
  options.add_special = request.add_special;
  options.literal = rendered.literal;
  return parts_.tokenizer.encode(rendered.text, options);
}

}  // namespace millrace::instance
