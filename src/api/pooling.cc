// The embedding routes of all dialects.
#include "api/pooling.h"

#include <fmt/core.h>

#include <utility>

#include "api/bad_value.h"
#include "api/fields.h"
#include "api/pooling_format.h"
#include "api/tokenize.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

Error missing(std::string_view name) {
  return {ErrorCode::kMissingField, fmt::format("{} is required", name), std::string(name)};
}

// Embeddings of a request: what its fields say, checked against the model.
struct EmbedFields {
  CompletionRequest request;
  PoolingOptions options;
  bool every_token = false;
};

Result<EmbedFields> read_embed_fields(const Json& body, const ParseContext& context, EmbeddingReply reply) {
  EmbedFields out;
  out.request = TRY(read_pooling_fields(body, context, out.options));
  const PoolingFacts& facts = context.model.pooling;
  if (facts.n_scores > 0) {
    return Error{ErrorCode::kNotSupported, "this model scores texts and gives no embeddings: use /score or /rerank",
                 "model"};
  }
  flow::Pooling& pooling = out.request.common.sampling.pooling;
  if (out.options.every_token) pooling = flow::Pooling::kTokens;
  out.every_token = pooling == flow::Pooling::kTokens;
  bool takes_rows = reply == EmbeddingReply::kLlama || reply == EmbeddingReply::kPooling;
  if (out.every_token && !takes_rows) {
    return Error{ErrorCode::kInvalidValue,
                 "pooling none gives a vector of each token: use /pooling or /embedding, or another --pooling",
                 "model"};
  }
  const bool raw = out.options.form == VectorForm::kBytes || out.options.form == VectorForm::kBytesOnly;
  if (raw && reply != EmbeddingReply::kOpenAi && reply != EmbeddingReply::kPooling) {
    return Error{ErrorCode::kInvalidValue, "encoding_format: bytes are given by /v1/embeddings and /pooling",
                 "encoding_format"};
  }
  if (out.options.dimensions && *out.options.dimensions > facts.d_model) {
    return bad("dimensions", fmt::format("= {}: must be at most {}", *out.options.dimensions, facts.d_model));
  }
  return out;
}

DialectRequest finish(EmbedFields fields, EmbeddingReply reply, ErrorStyle style) {
  auto format = make_embedding_format(reply, fields.options, fields.every_token, style);
  return DialectRequest{.body = std::move(fields.request), .format = std::move(format)};
}

// `fields` holds the names of the field table, `input` the texts.
Result<DialectRequest> embed(const Json& fields, const Json& input, std::string_view name, const ParseContext& context,
                             EmbeddingReply reply, ErrorStyle style) {
  EmbedFields out = TRY(read_embed_fields(fields, context, reply));
  bool list = false;
  out.request.prompts = TRY(read_inputs(input, name, context, list));
  if (reply == EmbeddingReply::kSglang && list) reply = EmbeddingReply::kSglangList;
  return finish(std::move(out), reply, style);
}

// `messages` through the chat template; nothing is put before an answer, since there is none.
Result<DialectRequest> embed_chat(const Json& body, const ParseContext& context, EmbeddingReply reply,
                                  ErrorStyle style) {
  EmbedFields fields = TRY(read_embed_fields(body, context, reply));
  ChatRequest chat = TRY(parse_conversation(body, context));
  if (body.get("add_generation_prompt") == nullptr) chat.add_generation_prompt = false;
  chat.common = std::move(fields.request.common);
  if (body.get("add_special_tokens") == nullptr) chat.common.prompt.add_special_tokens = false;
  auto format = make_embedding_format(reply, fields.options, fields.every_token, style);
  return DialectRequest{.body = std::move(chat), .format = std::move(format)};
}

Result<DialectRequest> embed_body(const Json& body, const ParseContext& context, EmbeddingReply reply,
                                  ErrorStyle style) {
  const Json* input = body.get("input");
  bool content = input == nullptr && body.get("content") != nullptr;
  if (content) input = body.get("content");
  if (input == nullptr && body.get("messages") != nullptr) return embed_chat(body, context, reply, style);
  if (input == nullptr) return missing("input");
  return embed(body, *input, content ? "content" : "input", context, reply, style);
}

// The named members of a body, as another.
Json picked(const Json& body, std::initializer_list<std::string_view> names) {
  Json out = Json::object();
  for (std::string_view name : names) {
    if (const Json* value = body.get(name)) out.set(name, *value);
  }
  return out;
}

std::string empty_ollama_reply(const std::string& model) {
  std::string out = R"({"model":)";
  append_json_string(out, model);
  return out + R"(,"embeddings":[],"total_duration":0,"load_duration":0,"prompt_eval_count":0})";
}

}  // namespace

Result<CompletionRequest> read_pooling_fields(const Json& body, const ParseContext& context, PoolingOptions& options) {
  CompletionRequest request;
  CommonParams& common = request.common;
  common.prompt.truncation_side = TruncationSide::kRight;  // as encoders' tokenizers do
  FieldTarget target{.common = common, .completion = &request, .pooling = &options};
  TRY(read_fields(body, kRoutePooling, context, target));
  common.model = TRY(resolve_model(body, context));
  common.max_tokens = 0;
  common.sampling.pooling = context.model.pooling.pooling;
  return request;
}

Result<DialectRequest> parse_embeddings(const Json& body, const ParseContext& context, const FormatOptions& options) {
  return embed_body(body, context, EmbeddingReply::kOpenAi, options.error_style);
}

Result<DialectRequest> parse_pooling(const Json& body, const ParseContext& context, const FormatOptions& options) {
  return embed_body(body, context, EmbeddingReply::kPooling, options.error_style);
}

Result<DialectRequest> parse_llama_embedding(const Json& body, const ParseContext& context, const FormatOptions&) {
  return embed_body(body, context, EmbeddingReply::kLlama, ErrorStyle::kLlama);
}

Result<DialectRequest> parse_ollama_embed(const Json& body, const ParseContext& context, const FormatOptions&) {
  const Json* input = body.get("input");
  if (input == nullptr || *input == Json("") || (input->is_array() && input->size() == 0)) {
    std::string model = TRY(resolve_model(body, context));
    return DialectRequest{.body = CompletionRequest(), .instant = empty_ollama_reply(model)};
  }
  const Json* truncate = body.get("truncate");
  if (truncate != nullptr && !truncate->is_bool()) return bad("truncate", "must be a boolean");
  Json fields = picked(body, {"model", "dimensions"});
  if (truncate == nullptr || truncate->as_bool()) fields.set("truncate_prompt_tokens", -1);
  return embed(fields, *input, "input", context, EmbeddingReply::kOllama, ErrorStyle::kOllama);
}

Result<DialectRequest> parse_ollama_embeddings(const Json& body, const ParseContext& context, const FormatOptions&) {
  const Json* prompt = body.get("prompt");
  if (prompt == nullptr || *prompt == Json("")) {
    TRY(resolve_model(body, context));
    return DialectRequest{.body = CompletionRequest(), .instant = R"({"embedding":[]})"};
  }
  if (!prompt->is_string()) return bad("prompt", "must be a string");
  Json fields = picked(body, {"model"});
  fields.set("truncate_prompt_tokens", -1);
  fields.set("use_activation", false);
  return embed(fields, *prompt, "prompt", context, EmbeddingReply::kOllamaOne, ErrorStyle::kOllama);
}

Result<DialectRequest> parse_cohere_embed(const Json& body, const ParseContext& context, const FormatOptions& options) {
  const Json* texts = body.get("texts");
  if (texts == nullptr) return missing("texts");
  if (!texts->is_array()) return bad("texts", "must be an array of strings");
  for (const Json& text : texts->as_array()) {
    if (!text.is_string()) return bad("texts", "must be an array of strings");
  }
  Json fields = picked(body, {"model", "priority", "request_id", "user"});
  if (const Json* dimensions = body.get("output_dimension")) fields.set("dimensions", *dimensions);
  if (const Json* types = body.get("embedding_types")) {
    bool one = types->is_array() && types->size() == 1;
    if (!one) return bad("embedding_types", "must be [\"float\"] or [\"base64\"]");
    fields.set("encoding_format", types->as_array()[0]);
  }
  const Json* truncate = body.get("truncate");
  Json how = truncate == nullptr ? Json("END") : *truncate;
  if (!(how == Json("END") || how == Json("START") || how == Json("NONE"))) {
    return bad("truncate", "must be one of NONE|START|END");
  }
  if (!(how == Json("NONE"))) {
    fields.set("truncate_prompt_tokens", -1);
    fields.set("truncation_side", how == Json("END") ? "right" : "left");
  }
  return embed(fields, *texts, "texts", context, EmbeddingReply::kCohere, options.error_style);
}

Result<DialectRequest> parse_sglang_encode(const Json& body, const ParseContext& context,
                                           const FormatOptions& options) {
  const Json* ids = body.get("input_ids");
  const Json* text = body.get("text");
  if (ids == nullptr && text == nullptr) return missing("text");
  Json fields = picked(body, {"model", "priority", "dimensions"});
  if (const Json* rid = body.get("rid"); rid != nullptr && rid->is_string()) fields.set("request_id", *rid);
  return embed(fields, text != nullptr ? *text : *ids, text != nullptr ? "text" : "input_ids", context,
               EmbeddingReply::kSglang, options.error_style);
}

}  // namespace millrace::api
