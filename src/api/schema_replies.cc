// Schemas of replies. They are open: a reply may say more than its schema.
#include <fmt/core.h>

#include <algorithm>

#include "api/error_slugs.h"
#include "api/json_object.h"
#include "api/schema.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

struct ReplyRow {
  std::string_view name;
  std::string_view required;  // separated by spaces; empty: `json` is the whole schema
  std::string_view json;      // properties
};

constexpr ReplyRow kReplies[] = {
    {"Usage", "prompt_tokens completion_tokens total_tokens prompt_tokens_details completion_tokens_details",
     R"("prompt_tokens":{"type":"integer","minimum":0},"completion_tokens":{"type":"integer","minimum":0},
       "total_tokens":{"type":"integer","minimum":0},"prompt_tokens_details":{"type":"object",
       "required":["cached_tokens"],
       "properties":{"cached_tokens":{"type":"integer","minimum":0}}},"completion_tokens_details":{"type":"object"})"},
    {"Embedding", "", R"({"anyOf":[{"type":"string"},{"type":"array","items":{"anyOf":[{"type":"number"},
       {"type":"array","items":{"type":"number"}},{"type":"string"}]}}]})"},
    {"EmbeddingList", "id object created model data usage",
     R"("id":{"type":"string"},"object":{"const":"list"},"created":{"type":"integer"},"model":{"type":"string"},
       "data":{"type":"array","items":{"type":"object","required":["index","object"],"properties":{
       "index":{"type":"integer"},"object":{"enum":["embedding","pooling"]},
       "embedding":{"$ref":"#/components/schemas/Embedding"},"data":{"$ref":"#/components/schemas/Embedding"}}}},
       "usage":{"type":"object","required":["prompt_tokens","total_tokens"]})"},
    {"ScoreList", "id object created model data usage",
     R"("id":{"type":"string"},"object":{"const":"list"},"data":{"type":"array","items":{"type":"object",
       "required":["index","object","score"],"properties":{"index":{"type":"integer"},"score":{"type":"number"}}}})"},
    {"Classes", "id object created model data usage",
     R"("id":{"type":"string"},"object":{"const":"list"},"data":{"type":"array","items":{"type":"object",
       "required":["index","label","probs","num_classes"]}})"},
    {"Ranking", "", R"({"anyOf":[{"type":"object","required":["id","model","usage","results"],"properties":{
       "results":{"type":"array","items":{"type":"object","required":["index","relevance_score"]}}}},
       {"type":"array","items":{"type":"object","required":["index","score"]}}]})"},
    {"CohereEmbeddings", "id embeddings meta", R"("id":{"type":"string"},"embeddings":{"type":"object"},
       "meta":{"type":"object"})"},
    {"LlamaEmbeddings", "", R"({"type":"array","items":{"type":"object","required":["index","embedding"]}})"},
    {"OllamaEmbeddings", "model embeddings", R"("model":{"type":"string"},"embeddings":{"type":"array","items":{
       "$ref":"#/components/schemas/Embedding"}},"prompt_eval_count":{"type":"integer"})"},
    {"OllamaEmbedding", "embedding", R"("embedding":{"$ref":"#/components/schemas/Embedding"})"},
    {"Timings", "cache_n prompt_n prompt_ms predicted_n predicted_ms prompt_per_second predicted_per_second",
     R"("cache_n":{"type":"integer"},"prompt_n":{"type":"integer"},"prompt_ms":{"type":"number"},
       "prompt_per_token_ms":{"type":"number"},"prompt_per_second":{"type":"number"},"predicted_n":{"type":"integer"},
       "predicted_ms":{"type":"number"},"predicted_per_token_ms":{"type":"number"},
       "predicted_per_second":{"type":"number"})"},
    {"ChatLogprobs", "content", R"("content":{"type":"array","items":{"type":"object",
       "required":["token","logprob","bytes","top_logprobs"],"properties":{"token":{"type":"string"},
       "logprob":{"type":"number"},"bytes":{"type":"array","items":{"type":"integer","minimum":0,"maximum":255}},
       "top_logprobs":{"type":"array","items":{"type":"object","required":["token","logprob","bytes"]}}}}})"},
    {"ChatCompletion", "id object created model system_fingerprint choices usage",
     R"("id":{"type":"string"},"object":{"const":"chat.completion"},"created":{"type":"integer"},
       "model":{"type":"string"},"system_fingerprint":{"type":["string","null"]},"service_tier":{"type":["string",
       "null"]},
       "choices":{"type":"array","minItems":1,"items":{"type":"object",
       "required":["index","message","logprobs","finish_reason","stop_reason"],"properties":{"index":{"type":"integer"},
       "message":{"type":"object","required":["role","content"],"properties":{"role":{"const":"assistant"},
       "content":{"type":["string","null"]}}},"logprobs":{"anyOf":[{"type":"null"},
       {"$ref":"#/components/schemas/ChatLogprobs"}]},"finish_reason":{"type":"string"},
       "stop_reason":{"type":["string","integer","null"]}}}},"usage":{"$ref":"#/components/schemas/Usage"},
       "timings":{"$ref":"#/components/schemas/Timings"})"},
    {"Completion", "id object created model choices usage",
     R"("id":{"type":"string"},"object":{"const":"text_completion"},"created":{"type":"integer"},
       "model":{"type":"string"},"choices":{"type":"array","minItems":1,"items":{"type":"object",
       "required":["index","text","logprobs","finish_reason","stop_reason"],"properties":{"index":{"type":"integer"},
       "text":{"type":"string"},"logprobs":{"type":["object","null"],
       "required":["text_offset","token_logprobs","tokens"]},"finish_reason":{"type":"string"},
       "stop_reason":{"type":["string","integer","null"]}}}},"usage":{"$ref":"#/components/schemas/Usage"},
       "timings":{"$ref":"#/components/schemas/Timings"})"},
    {"Response", "id object created_at status model output usage error incomplete_details",
     R"("id":{"type":"string"},"object":{"const":"response"},"created_at":{"type":"integer"},"model":{"type":"string"},
       "status":{"enum":["completed","incomplete","failed","in_progress"]},"output":{"type":"array","items":{
       "type":"object","required":["type"]}},"usage":{"type":["object","null"]},"error":{"type":["object","null"]},
       "incomplete_details":{"type":["object","null"]})"},
    {"InputTokens", "object input_tokens",
     R"("object":{"const":"response.input_tokens"},"input_tokens":{"type":"integer","minimum":0})"},
    {"Model", "id object created owned_by root max_model_len",
     R"("id":{"type":"string"},"object":{"const":"model"},"created":{"type":"integer"},"owned_by":{"type":"string"},
       "root":{"type":"string"},"parent":{"type":["string","null"]},"max_model_len":{"type":"integer"},
       "permission":{"type":"array"},"meta":{"type":"object"},"architecture":{"type":"object"},
       "aliases":{"type":"array","items":{"type":"string"}},"tags":{"type":"array","items":{"type":"string"}},
       "status":{"type":"object","required":["value"]},"in_cache":{"type":"boolean"})"},
    {"ModelList", "object data", R"("object":{"const":"list"},"data":{"type":"array","items":{
       "$ref":"#/components/schemas/Model"}})"},
    {"Health", "status state running waiting kv_used last_step_age_ms",
     R"("status":{"enum":["ok","loading","unavailable"]},"state":{"type":"string"},"running":{"type":"integer"},
       "waiting":{"type":"integer"},"kv_used":{"type":"number"},"last_step_age_ms":{"type":"integer"})"},
    {"Version", "version", R"("version":{"type":"string"})"},
    {"Load", "server_load", R"("server_load":{"type":"integer","minimum":0})"},
    {"Success", "success", R"("success":{"type":"boolean"})"},
    {"Aborted", "success aborted", R"("success":{"type":"boolean"},"aborted":{"type":"integer","minimum":0})"},
    {"KvEventSources", "sources", R"("sources":{"type":"array"})"},
    {"TokenizerInfo", "tokenizer_class vocab_size model_max_length",
     R"("tokenizer_class":{"type":"string"},"vocab_size":{"type":"integer"},"model_max_length":{"type":"integer"},
       "bos_token":{"type":["string","null"]},"eos_token":{"type":["string","null"]},
       "pad_token":{"type":["string","null"]},"unk_token":{"type":["string","null"]})"},
    {"Tokens", "tokens", R"("count":{"type":"integer"},"max_model_len":{"type":"integer"},"tokens":{"type":"array",
       "items":{"anyOf":[{"type":"integer"},{"type":"object","required":["id","piece"]}]}},
       "token_strs":{"type":["array","null"],"items":{"type":"string"}})"},
    {"Rendered", "request_id token_ids features sampling_params model stream cache_salt priority",
     R"("request_id":{"type":"string"},"token_ids":{"type":"array","items":{"type":"integer"}},
       "sampling_params":{"type":"object"},"model":{"type":"string"},"stream":{"type":"boolean"},
       "stream_options":{"type":["object","null"]},"cache_salt":{"type":["string","null"]},
       "priority":{"type":"integer"})"},
    {"RenderedList", "", R"({"type":"array","items":{"$ref":"#/components/schemas/Rendered"}})"},
    {"Text", "", R"({"type":"object","anyOf":[{"required":["prompt"],"properties":{"prompt":{"type":"string"}}},
       {"required":["content"],"properties":{"content":{"type":"string"}}}]})"},
    {"ChatTokens", "tokenize_response templated_text",
     R"("templated_text":{"type":"string"},"tokenize_response":{"type":"array","items":{"type":"object",
       "required":["id","text","start","stop"],"properties":{"id":{"type":"integer"},"text":{"type":"string"},
       "start":{"type":"integer","minimum":0},"stop":{"type":"integer","minimum":0}}}})"},
    {"AppliedTemplate", "prompt", R"("prompt":{"type":"string"})"},
    {"SlotAction", "id_slot", R"("id_slot":{"type":"integer"})"},
    {"LlamaCompletionOne", "", R"({"type":"object","properties":{"index":{"type":"integer"},"content":{"type":"string"},
       "tokens":{"type":"array","items":{"type":"integer"}},"stop":{"type":"boolean"},
       "stop_type":{"enum":["none","eos","limit","word"]},"timings":{"$ref":"#/components/schemas/Timings"}}})"},
    {"LlamaCompletion", "", R"({"anyOf":[{"$ref":"#/components/schemas/LlamaCompletionOne"},{"type":"array",
       "items":{"$ref":"#/components/schemas/LlamaCompletionOne"}}]})"},
    {"Props", "build_info",
     R"("default_generation_settings":{"type":"object"},"total_slots":{"type":"integer"},
       "model_path":{"type":"string"},"chat_template":{"type":"string"},"build_info":{"type":"string"})"},
    {"Slots", "", R"({"type":"array","items":{"type":"object","required":["id","n_ctx","is_processing"]}})"},
    {"LoraAdapters", "", R"({"type":"array"})"},
    {"Message", "id type role content model stop_reason stop_sequence usage",
     R"("id":{"type":"string"},"type":{"const":"message"},"role":{"const":"assistant"},"content":{"type":"array",
       "items":{"type":"object","required":["type"]}},"model":{"type":"string"},"stop_reason":{"type":["string",
       "null"]},
       "stop_sequence":{"type":["string","null"]},"usage":{"type":"object","required":["input_tokens",
       "output_tokens"]})"},
    {"TokenCount", "input_tokens", R"("input_tokens":{"type":"integer","minimum":0})"},
    {"OllamaGenerate", "model created_at response done",
     R"("model":{"type":"string"},"created_at":{"type":"string"},"response":{"type":"string"},"done":{"const":true},
       "done_reason":{"enum":["stop","length","load","unload"]},"total_duration":{"type":"integer"},
       "eval_count":{"type":"integer"})"},
    {"OllamaChat", "model created_at message done",
     R"("model":{"type":"string"},"created_at":{"type":"string"},"message":{"type":"object",
       "required":["role","content"]},"done":{"const":true},"done_reason":{"enum":["stop","length","load","unload"]})"},
    {"OllamaModels", "models", R"("models":{"type":"array","items":{"type":"object",
       "required":["name","model","size","digest","details"]}})"},
    {"OllamaShow", "details model_info capabilities template",
     R"("details":{"type":"object"},"model_info":{"type":"object"},"capabilities":{"type":"array"},
       "template":{"type":"string"})"},
    {"Tgi", "generated_text", R"("generated_text":{"type":"string"},"details":{"type":"object",
       "required":["finish_reason","generated_tokens","tokens"]})"},
    {"SglangOne", "text output_ids meta_info",
     R"("text":{"type":"string"},"output_ids":{"type":"array","items":{"type":"integer"}},"meta_info":{"type":"object",
       "required":["id","finish_reason","prompt_tokens","completion_tokens","cached_tokens"]})"},
    {"Generate", "", R"({"anyOf":[{"$ref":"#/components/schemas/Tgi"},{"$ref":"#/components/schemas/SglangOne"},
       {"type":"array","items":{"$ref":"#/components/schemas/SglangOne"}}]})"},
    {"TgiInfo", "model_id max_input_tokens max_total_tokens version",
     R"("model_id":{"type":"string"},"max_input_tokens":{"type":"integer"},"max_total_tokens":{"type":"integer"},
       "version":{"type":"string"})"},
    {"SglangModel", "model_path is_generation", R"("model_path":{"type":"string"},"is_generation":{"type":"boolean"})"},
    {"KserveServer", "name version extensions", R"("name":{"type":"string"},"version":{"type":"string"},
       "extensions":{"type":"array","items":{"type":"string"}})"},
    {"KserveModel", "name versions platform inputs outputs", R"("name":{"type":"string"},"versions":{"type":"array"},
       "platform":{"type":"string"},"inputs":{"type":"array"},"outputs":{"type":"array"})"},
    {"KserveReady", "name ready", R"("name":{"type":"string"},"ready":{"type":"boolean"})"},
    {"KserveInfer", "model_name outputs", R"("id":{"type":"string"},"model_name":{"type":"string"},
       "model_version":{"type":"string"},"outputs":{"type":"array","items":{"type":"object",
       "required":["name","datatype","shape"]}})"},
    {"KserveGenerate", "text_output model_name", R"("text_output":{"type":"string"},"model_name":{"type":"string"},
       "model_version":{"type":"string"},"details":{"type":"object","required":["finish_reason","logprobs"]})"},
    {"Any", "", R"({})"},
};

Json reply_schema(const ReplyRow& row) {
  std::string text(row.json);
  if (!row.required.empty()) {
    std::string names;
    for (std::string_view rest = row.required; !rest.empty();) {
      std::string_view name = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
      names += fmt::format("{}\"{}\"", names.empty() ? "" : ",", name);
    }
    text = fmt::format(R"({{"type":"object","required":[{}],"properties":{{{}}}}})", names, row.json);
  }
  Result<Json> schema = parse_json(text);
  CHECK(schema.ok(), "schema {}", row.name);
  return std::move(*schema);
}

std::string_view style_name(ErrorStyle style) {
  switch (style) {
    case ErrorStyle::kOpenAi:
      return "OpenAi";
    case ErrorStyle::kVllm:
      return "Vllm";
    case ErrorStyle::kLlama:
      return "Llama";
    case ErrorStyle::kAnthropic:
      return "Anthropic";
    case ErrorStyle::kOllama:
      return "Ollama";
    case ErrorStyle::kTgi:
      return "Tgi";
    case ErrorStyle::kKserve:
      return "Kserve";
  }
  return "OpenAi";
}

}  // namespace

Json reply_schemas() {
  Json out = Json::object();
  for (const ReplyRow& row : kReplies) out.set(row.name, reply_schema(row));
  return out;
}

std::vector<int> error_statuses(ErrorStyle style) {
  std::vector<int> out;
  for (const ErrorRow& row : error_table()) out.push_back(error_status(row.code, style));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::string error_schema_name(ErrorStyle style, int status) {
  return fmt::format("Error{}{}", style_name(style), status);
}

Json error_schema(ErrorStyle style, int status) {
  Json text = json_object({{"type", "string"}});
  auto object = [](Json required, Json properties) {
    return json_object({{"type", "object"}, {"required", std::move(required)}, {"properties", std::move(properties)}});
  };
  if (style == ErrorStyle::kOllama || style == ErrorStyle::kKserve) {
    return object(json_array({"error"}), json_object({{"error", text}}));
  }
  if (style == ErrorStyle::kTgi) {
    return object(json_array({"error", "error_type"}), json_object({{"error", text}, {"error_type", text}}));
  }
  if (style == ErrorStyle::kAnthropic) {
    Json inner = object(json_array({"type", "message"}), json_object({{"type", text}, {"message", text}}));
    return object(json_array({"type", "error"}),
                  json_object({{"type", json_object({{"const", "error"}})}, {"error", std::move(inner)}}));
  }
  Json codes = Json::array();
  Json types = Json::array();
  for (const ErrorRow& row : error_table()) {
    if (error_status(row.code, style) != status) continue;
    codes.push_back(error_slug(row.code));
    if (row.code == ErrorCode::kModelNotFound) codes.push_back(kResponseNotFound);
    Json type(style == ErrorStyle::kOpenAi ? row.type : style == ErrorStyle::kVllm ? row.vllm_type : row.llama_type);
    const JsonArray& known = types.as_array();
    if (std::find(known.begin(), known.end(), type) == known.end()) types.push_back(std::move(type));
  }
  Json code = style == ErrorStyle::kOpenAi ? json_object({{"enum", std::move(codes)}})
                                           : json_object({{"const", static_cast<int64_t>(status)}});
  Json members = json_object({{"message", text},
                              {"type", json_object({{"enum", std::move(types)}})},
                              {"param", json_object({{"type", json_array({"string", "null"})}})},
                              {"code", std::move(code)},
                              {"n_prompt_tokens", json_object({{"type", "integer"}})},
                              {"n_ctx", json_object({{"type", "integer"}})}});
  Json inner = object(json_array({"message", "type", "param", "code"}), std::move(members));
  return object(json_array({"error"}), json_object({{"error", std::move(inner)}}));
}

}  // namespace millrace::api
