#include "api/native.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>

#include "api/bad_value.h"
#include "api/fields.h"
#include "api/json_object.h"
#include "api/json_text.h"
#include "api/native_format.h"
#include "api/pooling.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

Result<bool> flag_of(const Json& body, std::string_view name) {
  const Json* value = body.get(name);
  if (value == nullptr) return false;
  if (!value->is_bool()) return bad(std::string(name), "must be a boolean");
  return value->as_bool();
}

// The members of an inner object beside `stream`; absent: none.
Result<Json> inner(const Json& body, std::string_view name) {
  const Json* value = body.get(name);
  if (value == nullptr) return Json::object();
  if (!value->is_object()) return bad(std::string(name), "must be an object");
  return *value;
}

Json without(const Json& fields, std::initializer_list<std::string_view> names) {
  Json out = Json::object();
  for (const auto& member : fields.as_object().members) {
    bool left_out = false;
    for (std::string_view name : names) left_out = left_out || member.first == name;
    if (!left_out) out.as_object().members.push_back(member);  // names are distinct already
  }
  return out;
}

// n_logprobs: what the dialect asks for beside the fields.
Result<CompletionRequest> read(const Json& fields, const ParseContext& context, const SamplingDefaults& defaults,
                               int32_t n_logprobs = -1) {
  ParseContext own = context;
  own.dialect = &defaults;
  CompletionRequest request;
  request.common.sampling.n_logprobs = n_logprobs;
  TRY(read_native_fields(fields, own, request));
  return request;
}

Result<std::string> required_text(const Json& body, std::string_view name) {
  const Json* value = body.get(name);
  if (value == nullptr) return Error{ErrorCode::kMissingField, fmt::format("{} is required", name), std::string(name)};
  if (!value->is_string()) return bad(std::string(name), "must be a string");
  if (value->as_string().empty()) {
    return Error{ErrorCode::kEmptyPrompt, fmt::format("{}: must not be empty", name), std::string(name)};
  }
  return value->as_string();
}

// TGI's {"type": "json" | "json_schema" | "regex", "value"} as the fields of other dialects, which leave out what is
// empty; here it was asked for.
Result<void> add_tgi_grammar(const Json& parameters, Json& fields) {
  const Json* grammar = parameters.get("grammar");
  if (grammar == nullptr) return {};
  const Json* type = grammar->is_object() ? grammar->get("type") : nullptr;
  const Json* value = grammar->is_object() ? grammar->get("value") : nullptr;
  if (type == nullptr || value == nullptr) return bad("grammar", "must be an object with type and value");
  if (*type == Json("json_schema")) {
    value = value->is_object() ? value->get("schema") : nullptr;
    if (value == nullptr) return bad("grammar.value", "must be an object with a schema");
  } else if (*type != Json("json") && *type != Json("regex")) {
    return bad("grammar.type", "must be json, json_schema or regex");
  }
  if (*value == Json("") || value->is_array()) return bad("grammar.value", "must not be empty or a list");
  std::string_view name = *type == Json("regex") ? "regex" : "json_schema";
  if (fields.get(name) != nullptr) {
    return Error{ErrorCode::kConflictingConstraints,
                 fmt::format("grammar and {} both constrain the answer: at most one is allowed", name), "grammar"};
  }
  fields.set(name, *value);
  return {};
}

// How many of the likeliest tokens a member asks for; absent: none.
Result<int32_t> top_count(const Json& body, std::string_view name, const ParseContext& context) {
  const Json* value = body.get(name);
  if (value == nullptr) return 0;
  const int64_t most = context.limits[LimitId::kTopLogprobs];
  if (!value->is_int() || value->as_int() < 0 || value->as_int() > most) {
    return bad(std::string(name), fmt::format("must be an integer in 0..{}", most));
  }
  return static_cast<int32_t>(value->as_int());
}

struct TgiForm {
  bool stream = false;
  bool list = false;  // of a whole answer
};

Result<DialectRequest> tgi(const Json& body, const ParseContext& context, TgiForm form) {
  std::string text = TRY(required_text(body, "inputs"));
  Json parameters = TRY(inner(body, "parameters"));
  TgiOptions options{.list = form.list};
  options.details = TRY(flag_of(parameters, "details"));
  options.full_text = TRY(flag_of(parameters, "return_full_text"));
  bool sample = TRY(flag_of(parameters, "do_sample"));
  options.prefill = TRY(flag_of(parameters, "decoder_input_details"));
  if (options.prefill && form.stream) return bad("decoder_input_details", "cannot be streamed");
  options.details = options.details || options.prefill;
  options.n_top = TRY(top_count(parameters, "top_n_tokens", context));
  const Json* n_new = parameters.get("max_new_tokens");  // -1 is no length here, unlike on other native routes
  if (n_new != nullptr && n_new->is_int() && n_new->as_int() < 0) return bad("max_new_tokens", "must not be negative");
  Json fields = without(parameters, {"details", "return_full_text", "do_sample", "decoder_input_details",
                                     "top_n_tokens", "return_tokens", "grammar"});
  fields.set("stream", form.stream);
  TRY(add_tgi_grammar(parameters, fields));
  if (const Json* model = body.get("model")) fields.set("model", *model);
  CompletionRequest request = TRY(read(fields, context, kTgiDefaults));
  // Greedy unless it asks for samples, by do_sample or by a temperature.
  if (sample && parameters.get("temperature") == nullptr) request.common.sampling.temperature = 1.0f;
  request.common.output.return_prompt_text = true;
  if (form.stream || options.details) request.common.sampling.n_logprobs = options.n_top;
  if (options.prefill) request.common.sampling.n_prompt_logprobs = 0;
  options.n_characters = count_characters(text);
  options.ranked = options.details && request.common.best_of > request.common.n;
  if (options.ranked) request.common.n = std::exchange(request.common.best_of, 0);  // all are given, the format ranks
  request.prompts.emplace_back(std::move(text));
  return DialectRequest{.body = std::move(request), .format = make_tgi_format(options)};
}

Result<DialectRequest> kserve(const Json& body, const ParseContext& context, bool stream) {
  std::string text = TRY(required_text(body, "text_input"));
  Json parameters = TRY(inner(body, "parameters"));
  const Json beside = without(body, {"text_input", "parameters", "id", "model_name"});
  TRY(check_members(parameters.size() + beside.size(), "parameters"));
  for (const auto& member : beside.as_object().members) {
    if (parameters.find(member.first) == nullptr) parameters.set(member.first, member.second);  // Triton's form
  }
  bool details = TRY(flag_of(parameters, "details"));
  Json fields = without(parameters, {"details"});
  fields.set("stream", stream);
  CompletionRequest request = TRY(read(fields, context, kKserveDefaults));
  if (details) request.common.sampling.n_logprobs = 0;
  request.prompts.emplace_back(std::move(text));
  return DialectRequest{.body = std::move(request), .format = make_kserve_format(details)};
}

// `text` (one or a list) or `input_ids` as the prompt field of the one reader of prompts.
Result<Json> sglang_prompt(const Json& body) {
  const Json* text = body.get("text");
  const Json* ids = body.get("input_ids");
  if (text != nullptr && ids != nullptr) return bad("text", "and input_ids exclude each other");
  if (text != nullptr) {
    if (!text->is_string() && !text->is_array()) return bad("text", "must be a string or an array of strings");
    return *text;
  }
  if (ids != nullptr) {
    if (!ids->is_array()) return bad("input_ids", "must be an array of token ids or of such arrays");
    return *ids;
  }
  if (body.get("input_embeds") != nullptr) {
    return Error{ErrorCode::kUnsupportedParameter, "input_embeds: not supported by this server", "input_embeds"};
  }
  return Error{ErrorCode::kMissingField, "text or input_ids is required", "text"};
}

// Members that SGLang takes as lists, too, an item for each prompt. The prompts of one request have one set of
// parameters here: the items must be equal.
Result<Json> with_one_of_each(const Json& body, size_t n_prompts) {
  Json out = body;
  for (std::string_view name : {"sampling_params", "return_logprob", "logprob_start_len", "top_logprobs_num",
                                "token_ids_logprob", "priority", "lora_path"}) {
    const Json* value = body.get(name);
    const bool one = value == nullptr || !value->is_array() ||
                     (name == "token_ids_logprob" && (value->size() == 0 || !value->as_array()[0].is_array()));
    if (one) continue;
    const JsonArray& items = value->as_array();
    if (items.size() != n_prompts) {
      return bad(std::string(name), fmt::format("has {} items for {} prompts", items.size(), n_prompts));
    }
    for (const Json& item : items) {
      if (item == items.front()) continue;
      return Error{ErrorCode::kUnsupportedParameter,
                   fmt::format("{}: items that differ are not supported, send one request for each", name),
                   std::string(name)};
    }
    Json first = items.front();  // of `body`, which `out` is a copy of
    out.set(name, std::move(first));
  }
  return out;
}

// `rid`: one id, or one for each prompt.
Result<std::vector<std::string>> prompt_ids(const Json& body, size_t n_prompts) {
  std::vector<std::string> out;
  const Json* rid = body.get("rid");
  if (rid == nullptr || !rid->is_array()) return out;
  auto is_id = [](const Json& item) {
    constexpr size_t kMost = 128;
    if (!item.is_string() || item.as_string().empty() || item.as_string().size() > kMost) return false;
    return std::ranges::all_of(item.as_string(), [](char c) { return c >= 0x21 && c <= 0x7E; });
  };
  if (rid->size() != n_prompts) return bad("rid", fmt::format("has {} ids for {} prompts", rid->size(), n_prompts));
  for (const Json& item : rid->as_array()) {
    if (!is_id(item)) {
      return bad(fmt::format("rid[{}]", out.size()), "must be an id of 1..128 characters of 0x21..0x7E");
    }
    out.push_back(item.as_string());
  }
  return out;
}

// From where SGLang's body wants log probabilities of the prompt; -1: none.
Result<int64_t> logprob_start(const Json& body) {
  const Json* value = body.get("logprob_start_len");
  if (value == nullptr) return int64_t{-1};
  if (!value->is_int() || value->as_int() < -1) return bad("logprob_start_len", "must be an integer of at least -1");
  return value->as_int();
}

// Members of SGLang's body that would change the answer, and are not built.
Result<void> refuse_sglang_members(const Json& body) {
  for (std::string_view name :
       {"image_data", "audio_data", "video_data", "session_params", "return_hidden_states", "custom_logit_processor"}) {
    const Json* value = body.get(name);
    if (value == nullptr || *value == Json(false) || *value == Json("")) continue;
    bool empty = (value->is_array() || value->is_object()) && value->size() == 0;
    if (!empty) {
      return Error{ErrorCode::kUnsupportedParameter, fmt::format("{}: not supported by this server", name),
                   std::string(name)};
    }
  }
  return {};
}

}  // namespace

Result<DialectRequest> parse_tgi(const Json& body, const ParseContext& context, const FormatOptions&) {
  return tgi(body, context, {});
}

Result<DialectRequest> parse_tgi_root(const Json& body, const ParseContext& context, const FormatOptions&) {
  bool stream = TRY(flag_of(body, "stream"));
  return tgi(body, context, {.stream = stream, .list = true});
}

Result<DialectRequest> parse_invocation(const Json& body, const ParseContext& context, const FormatOptions& options) {
  if (body.get("messages") != nullptr) return parse_openai_chat(body, context, options);
  if (body.get("prompt") != nullptr) return parse_openai_completion(body, context, options);
  if (body.get("input") != nullptr) return parse_embeddings(body, context, options);
  if (body.get("inputs") != nullptr) return parse_tgi(body, context, options);
  return Error{ErrorCode::kMissingField, "messages, prompt, input or inputs is required", "messages"};
}

Result<DialectRequest> parse_tgi_stream(const Json& body, const ParseContext& context, const FormatOptions&) {
  return tgi(body, context, {.stream = true});
}

Result<DialectRequest> parse_sglang(const Json& sent, const ParseContext& context, const FormatOptions&) {
  Json prompt = TRY(sglang_prompt(sent));
  TRY(refuse_sglang_members(sent));
  bool list = false;
  std::vector<PromptInput> prompts = TRY(read_native_prompts(prompt, context, list));
  const Json body = list ? TRY(with_one_of_each(sent, prompts.size())) : sent;
  Json fields = TRY(inner(body, "sampling_params"));
  for (std::string_view name : {"stream", "rid", "priority", "cache_salt", "model", "lora_path"}) {
    if (const Json* value = body.get(name); value != nullptr && !value->is_array()) fields.set(name, *value);
  }
  bool logprobs = TRY(flag_of(body, "return_logprob"));
  const int32_t n_top = TRY(top_count(body, "top_logprobs_num", context));
  const int64_t start = TRY(logprob_start(body));
  const Json* ids = body.get("token_ids_logprob");
  if (logprobs && ids != nullptr) {
    fields.set("token_ids_logprob", *ids);
    if (n_top > 0) return bad("token_ids_logprob", "and top_logprobs_num exclude each other");
    if (start >= 0) return bad("token_ids_logprob", "is of output tokens only: not with logprob_start_len");
  }
  CompletionRequest request = TRY(read(fields, context, kSglangDefaults, logprobs ? n_top : -1));
  request.common.caller.prompt_ids = TRY(prompt_ids(body, prompts.size()));
  if (!request.common.caller.prompt_ids.empty() && request.common.best_of > request.common.n) {
    return bad("rid", "as a list and best_of exclude each other");
  }
  request.prompts = std::move(prompts);
  TRY(check_choices(request, context));
  if (logprobs && start >= 0) {
    if (request.common.stream.stream) return bad("logprob_start_len", "of 0 and more cannot be streamed");
    request.common.sampling.n_prompt_logprobs = n_top;
  }
  if (request.common.seed == -1) request.common.seed.reset();
  bool many = list || request.common.n > 1;
  return DialectRequest{.body = std::move(request), .format = make_sglang_format(many, std::max<int64_t>(start, 0))};
}

Result<DialectRequest> parse_generate(const Json& body, const ParseContext& context, const FormatOptions& options) {
  if (body.get("inputs") != nullptr) return parse_tgi(body, context, options);
  return parse_sglang(body, context, options);
}

Result<DialectRequest> parse_kserve(const Json& body, const ParseContext& context, const FormatOptions&) {
  return kserve(body, context, false);
}

Result<DialectRequest> parse_kserve_stream(const Json& body, const ParseContext& context, const FormatOptions&) {
  return kserve(body, context, true);
}

}  // namespace millrace::api
