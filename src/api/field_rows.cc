// The rows of request_fields(): API.md sections 3.3 to 3.9. Rows are applied in this order, so that of two rows that
// set the same member the later one wins.
#include <algorithm>
#include <array>
#include <iterator>

#include "api/chat.h"
#include "api/completions.h"
#include "api/fields.h"
#include "api/pooling.h"
#include "flow/generate_request.h"

namespace millrace::api {
namespace {

using T = FieldTarget;
using Type = FieldType;
constexpr uint8_t kChat = kRouteChat | kRouteNativeChat;
constexpr uint8_t kText = kRouteCompletions;
constexpr uint8_t kOpenAi = kRouteOpenAi;
constexpr uint8_t kNative = kRouteNative | kRouteNativeChat;
constexpr uint8_t kBoth = kRouteGenerate;
constexpr uint8_t kPooled = kRoutePooling;
constexpr uint8_t kAll = kRouteGenerate | kRoutePooling;
constexpr int64_t kMax32 = INT32_MAX;
constexpr int64_t kMax64 = INT64_MAX;
using J = const Json&;
using Setter = void (*)(T&, J);

float as_float(const Json& v) { return static_cast<float>(v.as_double()); }
int32_t as_int32(const Json& v) { return static_cast<int32_t>(v.as_int()); }

constexpr Field flag(std::string_view name, std::string_view aliases, std::string_view default_text, Setter set,
                     uint8_t routes = kBoth) {
  return {.name = name,
          .aliases = aliases,
          .routes = routes,
          .type = Type::kBool,
          .default_text = default_text,
          .set = set};
}
constexpr Field text(std::string_view name, std::string_view aliases, Type type, int64_t high, Setter set) {
  return {.name = name, .aliases = aliases, .type = type, .high = high, .set = set};
}
constexpr Field whole(std::string_view name, std::string_view aliases, int64_t low, int64_t high, Setter set) {
  return {.name = name, .aliases = aliases, .type = Type::kInt, .low = low, .high = high, .set = set};
}
constexpr Field counted(std::string_view name, std::string_view aliases, int64_t low, LimitId limit, Setter set,
                        uint8_t routes = kBoth) {
  return {
      .name = name, .aliases = aliases, .routes = routes, .type = Type::kInt, .low = low, .limit = limit, .set = set};
}
constexpr Field real(std::string_view name, std::string_view aliases, double low, double high,
                     std::string_view default_text, Setter set) {
  return {.name = name,
          .aliases = aliases,
          .type = Type::kNumber,
          .low_number = low,
          .high_number = high,
          .default_text = default_text,
          .set = set};
}
constexpr Field on(uint8_t routes, Field field) {
  field.routes = routes;
  return field;
}
constexpr Field or_all(Field field) {
  field.minus_one = MinusOne::kAll;
  return field;
}
constexpr Field or_rest(Field field) {
  field.minus_one = MinusOne::kRest;
  return field;
}
constexpr Field open(Field field) {
  field.low_open = true;
  return field;
}
constexpr Field without_effect(std::string_view name, Type type = Type::kAny, std::string_view aliases = {}) {
  return {.name = name,
          .aliases = aliases,
          .type = type,
          .support = Support::kNoEffect,
          .low = INT64_MIN,
          .low_number = -1e300,
          .high_number = 1e300};
}
// Anything but one of the neutral JSON values is refused.
constexpr Field refused(std::string_view name, std::string_view neutral, std::string_view aliases = {},
                        uint8_t routes = kBoth) {
  return {.name = name, .aliases = aliases, .routes = routes, .support = Support::kUnlessNeutral, .words = neutral};
}
constexpr std::string_view kNoShift =
    "context shifting rewrites cached positions, so shared blocks and equal output would be lost";
constexpr Field shifting(std::string_view name, int64_t low, std::string_view neutral) {
  return {.name = name,
          .type = Type::kInt,
          .support = Support::kUnlessNeutral,
          .low = low,
          .high = kMax32,
          .words = neutral,
          .note = kNoShift};
}

std::vector<TokenId> id_list(const Json& v) {
  std::vector<TokenId> ids;
  ids.reserve(v.size());
  for (const Json& id : v.as_array()) ids.push_back(as_int32(id));
  return ids;
}

void set_max_tokens(T& t, J v) {
  t.common.max_tokens = v.as_int();
  t.common.max_tokens_name = t.sent_name;
}

// A string or an array of strings.
std::vector<std::string> string_list(const Json& v) {
  if (v.is_string()) return {v.as_string()};
  std::vector<std::string> out;
  for (const Json& item : v.as_array()) out.push_back(item.as_string());
  return out;
}

void set_stop(T& t, const Json& v) { t.common.output.stop = string_list(v); }

// -1: of every token.
int32_t logprob_count(const T& t, const Json& v) {
  return v.as_int() < 0 ? static_cast<int32_t>(t.n_vocab) : as_int32(v);
}

void set_chat_top(T& t, const Json& v) {
  t.top_logprobs_set = true;
  t.common.sampling.n_logprobs = logprob_count(t, v);
}

void set_chat_logprobs(T& t, const Json& v) {
  t.chat_logprobs = v.as_bool();
  int32_t& count = t.common.sampling.n_logprobs;
  count = v.as_bool() ? std::max(count, 0) : -1;
}

void set_chat_probs(T& t, J v) {
  if (v.as_int() != 0) t.common.sampling.n_logprobs = logprob_count(t, v);
}

void set_presence(T& t, J v) { t.common.sampling.presence_penalty = as_float(v); }
void set_frequency(T& t, J v) { t.common.sampling.frequency_penalty = as_float(v); }
constexpr float kLeastPenalty = 1e-6F;  // logits are divided by it: what is below counts as this, and they stay finite
constexpr double kNativeNumber = 1e6;   // native dialects bound no penalty and no bias; this only keeps sums finite

void set_response_fields(T& t, J v) {
  for (const Json& field : v.as_array()) {
    if (field.is_string()) t.common.output.response_fields.push_back(field.as_string());
  }
}

void set_vector_form(T& t, J v) {
  const std::string& word = v.as_string();
  t.pooling->form = word == "base64"  ? VectorForm::kBase64
                    : word == "bytes" ? VectorForm::kBytes
                    : word == "float" ? VectorForm::kFloat
                                      : VectorForm::kBytesOnly;
}

void set_vector_type(T& t, J v) {
  const std::string& word = v.as_string();
  t.pooling->type = word == "float16"    ? VectorType::kFloat16
                    : word == "bfloat16" ? VectorType::kBfloat16
                                         : VectorType::kFloat32;
}

void set_endianness(T& t, J v) {
  const std::string& word = v.as_string();
  t.pooling->endianness = word == "big" ? "big" : word == "little" ? "little" : "native";
}

void set_preserved_tokens(T& t, J v) {
  for (const Json& token : v.as_array()) {
    if (token.is_string()) t.common.output.preserved_tokens.push_back(token.as_string());
  }
}

constexpr Field kRows[] = {
    // 3.3 length, stop, output
    {.name = "model", .routes = kAll, .type = Type::kString, .high = 256, .default_text = "the served model"},
    whole("n_predict", "num_predict", -1, kMax32, set_max_tokens),
    on(kOpenAi, or_rest(whole("max_completion_tokens", "max_tokens max_new_tokens max_output_tokens", 0, kMax64,
                              set_max_tokens))),
    on(kNative, whole("max_completion_tokens", "max_tokens max_new_tokens max_output_tokens", -1, kMax64,
                      set_max_tokens)),
    whole("min_tokens", "min_new_tokens", 0, kMax32,
          [](T& t, J v) {
            t.common.sampling.min_tokens = static_cast<uint32_t>(v.as_int());
            t.common.min_tokens_name = t.sent_name;
          }),
    counted("n", "n_cmpl", 1, LimitId::kN, [](T& t, J v) { t.common.n = static_cast<uint32_t>(v.as_int()); }),
    counted("best_of", "", 1, LimitId::kN, [](T& t, J v) { t.best_of = v.as_int(); }),
    {.name = "stop", .aliases = "stop_sequences stop_words", .type = Type::kStop, .limit = LimitId::kStopStrings,
     .set = set_stop},
    {.name = "stop_token_ids", .type = Type::kTokenIds, .limit = LimitId::kStopTokenIds,
     .set = [](T& t, J v) { t.common.sampling.stop_token_ids = id_list(v); }},
    flag("ignore_eos", "", "false", [](T& t, J v) { t.common.sampling.ignore_eos = v.as_bool(); }),
    flag("include_stop_str_in_output", "no_stop_trim", "false",
         [](T& t, J v) { t.common.output.include_stop_str_in_output = v.as_bool(); }),
    flag("skip_special_tokens", "", "true", [](T& t, J v) { t.common.output.skip_special_tokens = v.as_bool(); }),
    flag("spaces_between_special_tokens", "", "true",
         [](T& t, J v) { t.common.output.spaces_between_special_tokens = v.as_bool(); }),
    on(kAll, whole("truncate_prompt_tokens", "truncate", -1, kMax64,
                   [](T& t, J v) { t.common.prompt.truncate_prompt_tokens = v.as_int(); })),
    {.name = "truncation_side", .routes = kAll, .type = Type::kChoice, .words = "left|right", .default_text = "left",
     .set = [](T& t, J v) {
       t.common.prompt.truncation_side = v.as_string() == "right" ? TruncationSide::kRight : TruncationSide::kLeft;
     }},
    flag("stream", "", "false", [](T& t, J v) { t.common.stream.stream = v.as_bool(); }),
    {.name = "stream_options", .type = Type::kObject, .set = [](T& t, J) { t.stream_options_set = true; }},
    {.name = "stream_interval", .type = Type::kInt, .low = 1, .default_text = "1",
     .set = [](T& t, J v) { t.common.stream.interval = v.as_int(); }},
    whole("sse_ping_interval", "", -1, 86400, [](T& t, J v) { t.common.stream.keep_alive_s = v.as_int(); }),
    or_all(counted("top_logprobs", "", 0, LimitId::kTopLogprobs, set_chat_top, kChat)),
    flag("logprobs", "", "false", set_chat_logprobs, kChat),
    or_all(counted("n_probs", "", 0, LimitId::kTopLogprobs, set_chat_probs, kChat | kRouteNative)),
    or_all(counted("logprobs", "n_probs", 0, LimitId::kTopLogprobs,
                   [](T& t, J v) { t.common.sampling.n_logprobs = logprob_count(t, v); }, kText)),
    or_all(counted("prompt_logprobs", "", 0, LimitId::kTopLogprobs,
                   [](T& t, J v) { t.common.sampling.n_prompt_logprobs = logprob_count(t, v); })),
    {.name = "logprob_token_ids", .aliases = "token_ids_logprob", .type = Type::kTokenIds, .high = 1024,
     .set = [](T& t, J v) {
       t.common.sampling.logprob_token_ids = id_list(v);
       t.logprob_token_ids_name = t.sent_name;
     }},
    flag("post_sampling_probs", "", "false",
         [](T& t, J v) { t.common.sampling.post_sampling_probs = v.as_bool(); }),
    flag("return_tokens_as_token_ids", "", "false",
         [](T& t, J v) { t.common.output.return_tokens_as_token_ids = v.as_bool(); }),
    flag("return_token_ids", "return_tokens", "false",
         [](T& t, J v) { t.common.output.return_token_ids = v.as_bool(); }),
    flag("return_prompt_text", "", "false", [](T& t, J v) { t.common.output.return_prompt_text = v.as_bool(); }),
    flag("echo", "", "false", [](T& t, J v) { t.common.output.echo = v.as_bool(); }),
    whole("seed", "sampling_seed random_seed", INT64_MIN, kMax64, [](T& t, J v) { t.common.seed = v.as_int(); }),
    on(kAll, whole("priority", "", INT64_MIN, kMax64, [](T& t, J v) { t.common.caller.priority = v.as_int(); })),
    on(kAll, text("request_id", "rid", Type::kVisible, 128,
                  [](T& t, J v) { t.common.caller.request_id = v.as_string(); })),
    text("session_id", "", Type::kVisible, 128, [](T& t, J v) { t.common.caller.session_id = v.as_string(); }),
    on(kAll, text("user", "", Type::kVisible, 128, [](T& t, J v) { t.common.caller.user = v.as_string(); })),
    text("prompt_cache_key", "", Type::kVisible, 128,
         [](T& t, J v) { t.common.caller.prompt_cache_key = v.as_string(); }),
    on(kAll, text("cache_salt", "", Type::kSalt, 128, [](T& t, J v) { t.common.prompt.cache_salt = v.as_string(); })),
    flag("cache_prompt", "", "true", [](T& t, J v) { t.common.prompt.cache_prompt = v.as_bool(); }, kAll),
    on(kAll, open(real("timeout", "", 0, 86400, "none", [](T& t, J v) { t.common.caller.timeout_s = v.as_double(); }))),
    // 3.4 samplers
    on(kOpenAi, real("temperature", "", 0, 2, "1.0", [](T& t, J v) { t.common.sampling.temperature = as_float(v); })),
    on(kNative, real("temperature", "", 0, 100, "0.8", [](T& t, J v) { t.common.sampling.temperature = as_float(v); })),
    whole("top_k", "", -1, kMax64,
          [](T& t, J v) { t.common.sampling.top_k = static_cast<int32_t>(std::min(v.as_int(), kMax32)); }),
    on(kOpenAi, open(real("top_p", "", 0, 1, "1.0", [](T& t, J v) { t.common.sampling.top_p = as_float(v); }))),
    on(kNative, real("top_p", "", 0, 1, "0.95",
                     [](T& t, J v) { t.common.sampling.top_p = std::max(as_float(v), 1e-9f); })),
    real("min_p", "", 0, 1, "0", [](T& t, J v) { t.common.sampling.min_p = as_float(v); }),
    open(real("typical_p", "", 0, 1, "1.0", [](T& t, J v) { t.common.sampling.typical_p = as_float(v); })),
    open(real("repetition_penalty", "repeat_penalty", 0, 1e6, "1.0",
              [](T& t, J v) { t.common.sampling.repetition_penalty = std::max(as_float(v), kLeastPenalty); })),
    on(kOpenAi, real("presence_penalty", "", -2, 2, "0", set_presence)),
    on(kNative, real("presence_penalty", "", -kNativeNumber, kNativeNumber, "0", set_presence)),
    on(kOpenAi, real("frequency_penalty", "", -2, 2, "0", set_frequency)),
    on(kNative, real("frequency_penalty", "", -kNativeNumber, kNativeNumber, "0", set_frequency)),
    on(kNative, whole("repeat_last_n", "", -1, kMax32, [](T& t, J v) { t.repeat_last_n = v.as_int(); })),
    on(kOpenAi, whole("repeat_last_n", "", -1, kMax32,  // -1: all, as without it
                      [](T& t, J v) {
                        if (v.as_int() >= 0) t.repeat_last_n = v.as_int();
                      })),
    real("top_n_sigma", "", -kNativeNumber, kNativeNumber, "-1",
         [](T& t, J v) { t.common.sampling.top_n_sigma = as_float(v); }),
    real("xtc_probability", "", 0, 1, "0", [](T& t, J v) { t.common.sampling.xtc_probability = as_float(v); }),
    real("xtc_threshold", "", 0, 1, "0.1", [](T& t, J v) { t.common.sampling.xtc_threshold = as_float(v); }),
    real("dynatemp_range", "", 0, 100, "0", [](T& t, J v) { t.common.sampling.dynatemp_range = as_float(v); }),
    open(real("dynatemp_exponent", "", 0, 1000, "1",
              [](T& t, J v) { t.common.sampling.dynatemp_exponent = as_float(v); })),
    whole("min_keep", "", 0, kMax32, [](T& t, J v) { t.common.sampling.min_keep = static_cast<uint32_t>(v.as_int()); }),
    whole("mirostat", "", 0, 2, [](T& t, J v) { t.common.sampling.mirostat = as_int32(v); }),
    open(real("mirostat_tau", "", 0, 1000, "5", [](T& t, J v) { t.common.sampling.mirostat_tau = as_float(v); })),
    open(real("mirostat_eta", "", 0, 1000, "0.1", [](T& t, J v) { t.common.sampling.mirostat_eta = as_float(v); })),
    real("dry_multiplier", "", 0, 1000, "0", [](T& t, J v) { t.common.sampling.dry.multiplier = as_float(v); }),
    real("dry_base", "", 1, 1000, "1.75", [](T& t, J v) { t.common.sampling.dry.base = as_float(v); }),
    whole("dry_allowed_length", "", 0, kMax32,
          [](T& t, J v) { t.common.sampling.dry.allowed_length = as_int32(v); }),
    whole("dry_penalty_last_n", "", -1, kMax32, [](T& t, J v) { t.common.sampling.dry.last_n = as_int32(v); }),
    {.name = "dry_sequence_breakers", .type = Type::kStop, .limit = LimitId::kStopStrings,
     .set = [](T& t, J v) { t.common.dry_breakers = string_list(v); }},
    {.name = "bad_words", .type = Type::kStop, .high = 128,
     .set = [](T& t, J v) { t.common.bad_words = string_list(v); }},
    {.name = "bad_token_ids", .type = Type::kTokenIds, .limit = LimitId::kStopTokenIds,
     .set = [](T& t, J v) {
       for (TokenId id : id_list(v)) t.common.sampling.bad_words.push_back({id});
     }},
    whole("no_repeat_ngram_size", "", 0, kMax32,
          [](T& t, J v) { t.common.sampling.no_repeat_ngram_size = static_cast<uint32_t>(v.as_int()); }),
    {.name = "samplers"},  // read by api/samplers.h
    {.name = "logit_bias", .routes = kOpenAi, .type = Type::kLogitBias, .low_number = -100, .high_number = 100,
     .limit = LimitId::kLogitBias},
    {.name = "logit_bias", .routes = kNative, .type = Type::kTextLogitBias, .low_number = -kNativeNumber,
     .high_number = kNativeNumber, .limit = LimitId::kLogitBias},
    {.name = "allowed_token_ids", .type = Type::kTokenIds,
     .set = [](T& t, J v) { t.common.sampling.allowed_token_ids = id_list(v); }},
    // 3.5 chat only
    {.name = "messages", .routes = kChat, .type = Type::kArray, .limit = LimitId::kMessages},
    flag("add_generation_prompt", "", "true",
         [](T& t, J v) {
           t.generation_prompt_sent = v.as_bool();
           t.add_generation_sent = true;
           t.chat->add_generation_prompt = v.as_bool();
         },
         kChat),
    flag("continue_final_message", "", "false", [](T& t, J v) { t.chat->continue_final_message = v.as_bool(); }, kChat),
    flag("add_special_tokens", "", "chat false, completions true",
         [](T& t, J v) { t.common.prompt.add_special_tokens = v.as_bool(); }, kAll),
    {.name = "documents", .routes = kChat, .type = Type::kArray, .set = [](T& t, J v) { t.chat->documents = v; }},
    {.name = "chat_template_kwargs", .routes = kChat, .type = Type::kObject, .limit = LimitId::kTemplateKwargs,
     .set = [](T& t, J v) { t.chat->chat_template_kwargs = v; }},
    {.name = "chat_template", .routes = kChat, .type = Type::kString, .high = 1 << 20,
     .set = [](T& t, J v) { t.chat->chat_template = v.as_string(); }},
    {.name = "reasoning_effort", .routes = kChat, .type = Type::kChoice,
     .words = "none|minimal|low|medium|high|xhigh|max",
     .set = [](T& t, J v) { t.chat->chat_template_kwargs.set("reasoning_effort", v); }},
    // 3.6 completions only
    {.name = "prompt", .routes = kText | kRouteNative},
    {.name = "input_prefix", .routes = kRouteNative, .type = Type::kString, .high = 1 << 22},
    {.name = "input_suffix", .routes = kRouteNative, .type = Type::kString, .high = 1 << 22},
    {.name = "input_extra", .routes = kRouteNative, .type = Type::kArray, .limit = LimitId::kMessages},
    // 3.6 embeddings and scores; texts are read by the parsers of pooling.h
    {.name = "input", .aliases = "content", .routes = kPooled},
    {.name = "query", .aliases = "queries text_1 data_1", .routes = kPooled},
    {.name = "documents", .aliases = "texts items text_2 data_2", .routes = kPooled},
    {.name = "messages", .routes = kPooled, .type = Type::kArray, .limit = LimitId::kMessages},
    {.name = "encoding_format", .routes = kPooled, .type = Type::kChoice, .words = "float|base64|bytes|bytes_only",
     .default_text = "float", .set = set_vector_form},
    on(kPooled, whole("dimensions", "", 1, kMax32, [](T& t, J v) { t.pooling->dimensions = v.as_int(); })),
    flag("use_activation", "normalize", "true", [](T& t, J v) { t.pooling->activation = v.as_bool(); }, kPooled),
    flag("raw_scores", "", "false", [](T& t, J v) { t.pooling->activation = !v.as_bool(); }, kPooled),
    on(kPooled, whole("embd_normalize", "", -1, 64, [](T& t, J v) { t.pooling->norm = v.as_int(); })),
    {.name = "task", .routes = kPooled, .type = Type::kChoice, .words = "embed|token_embed", .default_text = "embed",
     .set = [](T& t, J v) { t.pooling->every_token = v.as_string() == "token_embed"; }},
    on(kPooled, whole("top_n", "", 0, kMax32, [](T& t, J v) { t.pooling->top_n = v.as_int(); })),
    flag("return_documents", "return_text", "true", [](T& t, J v) { t.pooling->return_documents = v.as_bool(); },
         kPooled),
    {.name = "embed_dtype", .routes = kPooled, .type = Type::kChoice, .words = "float32|float16|bfloat16",
     .default_text = "float32", .set = set_vector_type},
    {.name = "endianness", .routes = kPooled, .type = Type::kChoice, .words = "native|little|big",
     .default_text = "native", .set = set_endianness},
    // 3.7 structured output (read by api/constraints.h) and 3.8 tools: what is not built fails closed
    {.name = "structured_outputs"},
    {.name = "response_format"},
    {.name = "guided_json"},
    {.name = "guided_regex"},
    {.name = "guided_choice"},
    {.name = "guided_grammar"},
    text("guided_whitespace_pattern", "", Type::kString, 4096,
         [](T& t, J v) {
           t.common.constraint.whitespace = v.as_string();
           if (!v.as_string().empty()) t.common.constraint.any_whitespace = true;
         }),
    whole("id_slot", "", -1, kMax32, [](T& t, J v) { t.common.output.id_slot = as_int32(v); }),
    without_effect("guided_decoding_backend"),
    {.name = "grammar"},
    flag("grammar_lazy", "", "false", [](T& t, J v) { t.grammar_lazy = v.as_bool(); }),
    {.name = "grammar_triggers", .type = Type::kArray, .high = 64},  // read by api/constraints.h
    {.name = "preserved_tokens", .type = Type::kArray, .high = 256, .set = set_preserved_tokens},
    {.name = "json_schema"},
    {.name = "regex"},
    {.name = "ebnf"},
    {.name = "structural_tag"},
    // 3.8 tools: read by api/tools.h
    {.name = "tools", .routes = kChat},
    {.name = "tool_choice", .routes = kChat},
    {.name = "parallel_tool_calls", .routes = kChat, .type = Type::kBool, .default_text = "true"},
    {.name = "parse_tool_calls", .routes = kChat, .type = Type::kBool, .default_text = "true"},
    {.name = "functions", .routes = kChat},
    {.name = "function_call", .routes = kChat},
    refused("tools", "[]", "", kText | kRouteNative),
    refused("tool_choice", R"("none")", "", kText | kRouteNative),
    on(kText | kRouteNative, without_effect("parallel_tool_calls", Type::kBool)),
    refused("parse_tool_calls", "false", "", kText | kRouteNative),
    refused("functions", "", "", kText | kRouteNative),
    refused("function_call", R"("none")", "", kText | kRouteNative),
    // known fields whose other values are not supported
    refused("stop_regex", R"(""|[])"),
    refused("kv_transfer_params", "{}"),
    refused("ec_transfer_params", "{}"),
    refused("cache_hit_threshold", "0"),
    refused("repetition_detection", ""),
    on(kChat, whole("thinking_token_budget", "reasoning_budget_tokens reasoning_budget", -1, kMax32,
                    [](T& t, J v) { t.chat->reasoning.budget = v.as_int(); })),
    refused("thinking_token_budget", "-1", "reasoning_budget_tokens reasoning_budget", kText | kRouteNative),
    flag("include_reasoning", "", "true", [](T& t, J v) { t.chat->reasoning.include = v.as_bool(); }, kChat),
    refused("include_reasoning", "true", "", kText | kRouteNative),
    {.name = "reasoning_format", .routes = kChat, .type = Type::kChoice, .words = "none|auto|deepseek|deepseek-legacy",
     .default_text = "auto", .set = [](T& t, J v) { t.chat->reasoning.as_text = v.as_string() == "none"; }},
    refused("lora", "[]"),
    refused("adapter_id", R"("")"),
    refused("lora_path", R"("")"),
    flag("timings_per_token", "", "false", [](T& t, J v) { t.common.output.timings_per_token = v.as_bool(); }),
    flag("return_progress", "", "false", [](T& t, J v) { t.common.output.return_progress = v.as_bool(); }),
    on(kOpenAi | kRouteNativeChat, without_effect("response_fields", Type::kArray)),  // of llama-server's own replies
    {.name = "response_fields", .routes = kRouteNative, .type = Type::kArray, .high = 64, .set = set_response_fields},
    whole("t_max_predict_ms", "", -1, kMax32, [](T& t, J v) { t.common.output.t_max_predict_ms = v.as_int(); }),
    whole("n_indent", "", 0, 4096, [](T& t, J v) { t.common.output.n_indent = static_cast<uint32_t>(v.as_int()); }),
    flag("verbose", "", "false", [](T& t, J v) { t.common.output.verbose = v.as_bool(); }),
    refused("return_routed_experts", "false"),
    refused("watermarking", "false", "watermark"),
    refused("output_logits", "false"),
    refused("output_last_hidden_state", "false"),
    refused("return_ppl", "false"),
    refused("embedding_bias", "{}|[]"),
    refused("num_assistant_tokens", "0"),
    refused("pruning_ratio", "0"),
    {.name = "millrace", .type = Type::kObject},
    refused("prompt_ignore_length", "0"),
    refused("repetition_ngram_size", "0"),
    refused("adaptive_target", "-1"),
    refused("top_p_decay", "1"),
    flag("use_beam_search", "", "false", [](T& t, J v) { t.common.beam.wanted = v.as_bool(); }),
    whole("beam_width", "num_beams", 0, flow::kMaxBeams,
          [](T& t, J v) { t.common.beam.width = static_cast<uint32_t>(v.as_int()); }),
    real("length_penalty", "", -10, 10, "1.0", [](T& t, J v) { t.common.beam.length_penalty = as_float(v); }),
    flag("early_stopping", "", "false", [](T& t, J v) { t.common.beam.early_stopping = v.as_bool(); }),
    refused("num_beam_groups", "0|1"),
    refused("diversity_penalty", "0", "beam_search_diversity_rate"),
    refused("media_io_kwargs", "{}", "", kChat),
    refused("mm_processor_kwargs", "{}", "", kChat),
    refused("modalities", R"(["text"]|[])"),
    refused("audio", ""),
    refused("background", "false"),
    refused("input_embeds", ""),
    refused("prompt_embeds", "", "", kText | kRouteNative),
    {.name = "suffix", .routes = kText, .type = Type::kString, .high = 1 << 22},  // read by parse_completion()
    refused("suffix", R"("")", "", kRouteNative),
    shifting("n_keep", -1, "0|-1"),
    shifting("n_discard", 0, "0"),
    // accepted without effect
    without_effect("adaptive_decay", Type::kNumber),
    without_effect("backend_sampling"),
    without_effect("n_cache_reuse", Type::kInt),
    on(kText | kRouteNative, without_effect("reasoning_format")),
    without_effect("t_max_prompt_ms", Type::kInt),  // llama-server reads it and does nothing, too
    without_effect("store"),
    without_effect("metadata"),
    without_effect("service_tier"),
    without_effect("prediction"),
    without_effect("safety_identifier"),
    without_effect("verbosity"),
    without_effect("web_search_options"),
    without_effect("cache_control"),
    without_effect("num_keep"),
    without_effect("shift"),
    without_effect("vllm_xargs"),
    without_effect("custom_params"),
    without_effect("extra_args"),
    without_effect("logits_processors"),
};

}  // namespace

std::span<const Field> request_fields() { return kRows; }

}  // namespace millrace::api
