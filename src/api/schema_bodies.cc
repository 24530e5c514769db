// Schemas of request bodies: which rows of the field table a dialect takes, where they stand in its body, and the
// members that its parser reads by itself (`own`).
#include <algorithm>

#include "api/json_object.h"
#include "api/schema.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

struct BodyRow {
  std::string_view name;
  uint8_t fields = 0;              // routes of the field table; 0: none of them
  std::string_view under = {};     // the member that holds them; empty: the body itself
  std::string_view only = {};      // of the fields, by name, separated by spaces; empty: all
  std::string_view without = {};   // fields that are not taken from the table
  std::string_view required = {};  // members of the body
  std::string_view own = {};       // JSON: further properties
  std::string_view more = {};      // and some more
};

constexpr std::string_view kConversation =
    "model messages add_generation_prompt continue_final_message chat_template chat_template_kwargs";

constexpr std::string_view kOllamaOwn = R"("stream":{"type":["boolean","null"]},"keep_alive":{},
  "format":{"anyOf":[{"enum":["json","",null]},{"type":"object"}]},
       "options":{"$ref":"#/components/schemas/OllamaOptions"},
  "logprobs":{"type":["boolean","null"]},"think":{"anyOf":[{"type":["boolean","null"]},
  {"enum":["none","minimal","low","medium","high","xhigh","max"]}]})";

constexpr std::string_view kAnthropicOwn = R"("messages":{"type":"array","minItems":1,"items":{"type":"object",
  "required":["role","content"],"properties":{"role":{"enum":["user","assistant","system"]},
  "content":{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"object","required":["type"]}}]}}}},
  "system":{"anyOf":[{"type":["string","null"]},{"type":"array","items":{"type":"object","required":["type","text"],
  "properties":{"type":{"const":"text"},"text":{"type":"string"}}}}]},
  "temperature":{"type":["number","null"],"minimum":0,"maximum":1},"max_tokens":{"type":"integer","minimum":0},
  "thinking":{"type":["object","null"],"required":["type"],"properties":{"type":{"enum":["enabled","disabled",
       "adaptive"]},
  "budget_tokens":{"type":["integer","null"],"minimum":1}}},
  "output_config":{"type":["object","null"],"properties":{"format":{"type":["object","null"],"required":["type",
       "schema"],
  "properties":{"type":{"const":"json_schema"},"schema":{"type":"object"}}}}})";
constexpr std::string_view kAnthropicSame =
    "model max_tokens stream top_k top_p metadata stop_sequences seed min_p ignore_eos cache_salt service_tier "
    "chat_template_kwargs";

constexpr BodyRow kBodies[] = {
    {.name = "ChatCompletionRequest", .fields = kRouteChat, .required = "messages"},
    {.name = "CompletionRequest",
     .fields = kRouteCompletions,
     .required = "prompt",
     .own = R"("prompt":{"$ref":"#/components/schemas/Prompt"})"},
    {.name = "EmbeddingsRequest",
     .fields = kRoutePooling,
     .without = "input content messages query queries text_1 data_1 documents texts items text_2 data_2 top_n "
                "return_documents return_text raw_scores",
     .required = "input",
     .own = R"("input":{"$ref":"#/components/schemas/Inputs"})"},
    {.name = "ClassifyRequest",
     .fields = kRoutePooling,
     .only = "model truncate_prompt_tokens truncation_side use_activation add_special_tokens priority request_id user "
             "timeout",
     .required = "input",
     .own = R"("input":{"$ref":"#/components/schemas/Inputs"})"},
    {.name = "ScoreRequest",
     .fields = kRoutePooling,
     .only = "model truncate_prompt_tokens truncation_side use_activation priority request_id user timeout",
     .required = "text_1 text_2",
     .own = R"("text_1":{"$ref":"#/components/schemas/Texts"},"text_2":{"$ref":"#/components/schemas/Texts"})"},
    {.name = "RerankRequest",
     .fields = kRoutePooling,
     .only = "model top_n return_documents truncate_prompt_tokens truncation_side use_activation raw_scores priority "
             "request_id user timeout",
     .required = "query documents",
     .own = R"("query":{"type":"string"},"documents":{"type":"array","minItems":1,"items":{"type":"string"}})"},
    {.name = "CohereEmbedRequest",
     .fields = kRoutePooling,
     .only = "model priority request_id user",
     .required = "texts",
     .own = R"("texts":{"type":"array","minItems":1,"items":{"type":"string"}},"input_type":{},
       "embedding_types":{"enum":[["float"],["base64"],null]},"truncate":{"enum":["NONE","START","END",null]},
       "output_dimension":{"type":["integer","null"],"minimum":1})"},
    {.name = "OllamaEmbedRequest",
     .fields = kRoutePooling,
     .only = "model dimensions",
     .own = R"("input":{"$ref":"#/components/schemas/Texts"},"truncate":{"type":["boolean","null"]},"keep_alive":{},
       "options":{})"},
    {.name = "OllamaEmbeddingRequest",
     .fields = kRoutePooling,
     .only = "model",
     .own = R"("prompt":{"type":["string","null"]},"keep_alive":{},"options":{})"},
    {.name = "SglangEncodeRequest",
     .fields = kRoutePooling,
     .only = "model priority dimensions",
     .own = R"("text":{"$ref":"#/components/schemas/Texts"},"input_ids":{},"rid":{})"},
    {.name = "LlamaCompletionRequest",
     .fields = kRouteNative,
     .required = "prompt",
     .own = R"("prompt":{"$ref":"#/components/schemas/NativePrompt"})"},
    {.name = "InfillRequest",
     .fields = kRouteNative,
     .required = "input_prefix input_suffix",
     .own = R"("prompt":{"type":["string","null"]})"},
    {.name = "ConversationRequest", .fields = kRouteChat, .only = kConversation, .required = "messages"},
    {.name = "ResponsesRequest",
     .fields = kRouteChat,
     .without = "messages tools tool_choice top_logprobs store n background",
     .required = "input",
     .own = R"("input":{"anyOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"object"}}]},
       "instructions":{"type":["string","null"]},"previous_response_id":{"type":"null"},"n":{"enum":[1,null]},
       "background":{"enum":[false,null]},"store":{},"include":{},"truncation":{"not":{"const":"auto"}},
       "text":{},"reasoning":{},"top_logprobs":{})"},
    {.name = "AnthropicRequest",
     .fields = kRouteNativeChat,
     .only = kAnthropicSame,
     .required = "messages max_tokens",
     .own = kAnthropicOwn},
    {.name = "AnthropicCountRequest",
     .fields = kRouteNativeChat,
     .only = kAnthropicSame,
     .required = "messages",
     .own = kAnthropicOwn},
    {.name = "OllamaOptions", .fields = kRouteNative, .without = "model stream prompt"},
    {.name = "OllamaGenerateRequest",
     .fields = kRouteNative,
     .only = "model",
     .own = kOllamaOwn,
     .more = R"("prompt":{"type":["string","null"]},"suffix":{"type":["string","null"]},
       "context":{"anyOf":[{"$ref":"#/components/schemas/TokenIds"},{"type":"null"}]})"},
    {.name = "OllamaChatRequest", .fields = kRouteNative, .only = "model", .own = kOllamaOwn},
    {.name = "ModelRequest", .fields = kRouteNative, .only = "model"},
    {.name = "TgiRequest",
     .fields = kRouteNative,
     .under = "parameters",
     .without = "model prompt stream details do_sample decoder_input_details return_token_ids grammar",
     .required = "inputs",
     .own = R"("inputs":{"type":"string","minLength":1})"},
    {.name = "SglangRequest",
     .fields = kRouteNative,
     .under = "sampling_params",
     .without = "model prompt stream request_id priority cache_salt lora_path",
     .own = R"("text":{"anyOf":[{"type":["string","null"]},{"type":"array","items":{"type":"string"}}]},
       "input_ids":{"type":["array","null"]},"return_logprob":{"type":["boolean","null"]},
       "rid":{"anyOf":[{"$ref":"#/components/schemas/RequestId"},{"type":"null"},
         {"type":"array","items":{"$ref":"#/components/schemas/RequestId"}}]},
       "logprob_start_len":{"type":["integer","null"],"minimum":-1},
       "token_ids_logprob":{"anyOf":[{"$ref":"#/components/schemas/TokenIds"},{"type":"null"}]},
       "input_embeds":{"type":"null"})"},
    {.name = "KserveGenerateRequest",
     .fields = kRouteNative,
     .under = "parameters",
     .without = "model prompt stream",
     .required = "text_input",
     .own = R"("text_input":{"type":"string","minLength":1},"id":{})"},
    {.name = "KserveInferRequest",
     .required = "inputs",
     .own = R"("inputs":{"type":"array","minItems":1,"items":{"type":"object",
       "required":["name","shape","datatype"],"properties":{"name":{"type":"string","minLength":1},
       "shape":{"type":"array","items":{"type":"integer","minimum":0}},"datatype":{"type":"string"},
       "data":{"type":"array"},"parameters":{"type":["object","null"]}}}},"id":{"type":["string","null"]},
       "outputs":{"type":["array","null"],"items":{"type":"object","required":["name"],
       "properties":{"name":{"const":"text_output"}}}},"parameters":{"type":["object","null"]})"},
    {.name = "VllmTokenizeRequest",
     .fields = kRouteChat,
     .only = "model add_special_tokens",
     .required = "prompt",
     .own = R"("prompt":{"type":"string"},"return_token_strs":{"type":["boolean","null"]})"},
    {.name = "ChatTokenizeRequest",
     .fields = kRouteChat,
     .only = kConversation,
     .required = "messages",
     .own = R"("add_special_tokens":{"type":["boolean","null"]},"return_token_strs":{"type":["boolean","null"]},
       "prompt":{"type":"null"})"},
    {.name = "LlamaTokenizeRequest",
     .fields = kRouteNative,
     .only = "model",
     .required = "content",
     .own = R"("content":{"type":"string"},"prompt":{"type":"null"},"messages":{"type":"null"},
       "add_special":{"type":["boolean","null"]},"parse_special":{"type":["boolean","null"]},
       "with_pieces":{"type":["boolean","null"]})"},
    {.name = "DetokenizeRequest",
     .fields = kRouteNative,
     .only = "model",
     .required = "tokens",
     .own = R"("tokens":{"$ref":"#/components/schemas/TokenIds"})"},
    {.name = "SlotActionRequest", .own = R"("filename":{"type":"string"})"},
};

struct NamedJson {
  std::string_view name;
  std::string_view json;
};
constexpr NamedJson kParts[] = {
    {"ChatMessage", R"({"anyOf":[{"$ref":"#/components/schemas/TextMessage"},
      {"$ref":"#/components/schemas/AssistantMessage"},{"$ref":"#/components/schemas/ToolMessage"}]})"},
    {"TextMessage", R"({"type":"object","required":["role","content"],"properties":{
      "role":{"enum":["system","developer","user","function"]},"content":{"$ref":"#/components/schemas/Content"},
      "name":{"type":["string","null"]},"tool_calls":{"type":"null"}}})"},
    {"AssistantMessage", R"({"type":"object","required":["role"],"properties":{"role":{"const":"assistant"},
      "content":{"anyOf":[{"type":"null"},{"$ref":"#/components/schemas/Content"}]},"name":{"type":["string","null"]},
      "reasoning":{"type":["string","null"]},"reasoning_content":{"type":["string","null"]},
      "thinking":{"type":["string","null"]},"tool_calls":{"type":["array","null"],"items":{"type":"object",
      "required":["function"],"properties":{"function":{"type":"object","required":["name"],"properties":{
      "name":{"type":"string"},"arguments":{"type":["string","object","null"]}}}}}}}})"},
    {"ToolMessage", R"({"type":"object","required":["role","content","tool_call_id"],"properties":{
      "role":{"const":"tool"},"content":{"$ref":"#/components/schemas/Content"},"tool_call_id":{"type":"string"},
      "name":{"type":["string","null"]},"tool_calls":{"type":"null"}}})"},
    {"Content", R"({"anyOf":[{"type":"string"},{"type":"array","items":{"$ref":"#/components/schemas/TextPart"}}]})"},
    {"TextPart", R"({"anyOf":[{"type":"string"},{"type":"object","required":["type","text"],"properties":{
      "type":{"enum":["text","input_text","output_text"]},"text":{"type":"string"}}},{"type":"object",
      "required":["type","refusal"],"properties":{"type":{"const":"refusal"},"refusal":{"type":"string"}}},
      {"type":"object","required":["type","thinking"],"properties":{"type":{"const":"thinking"},
      "thinking":{"type":"string"}}}]})"},
    {"TokenizeRequest", R"({"anyOf":[{"$ref":"#/components/schemas/VllmTokenizeRequest"},
      {"$ref":"#/components/schemas/ChatTokenizeRequest"},{"$ref":"#/components/schemas/LlamaTokenizeRequest"}]})"},
    {"GenerateRequest",
     R"({"anyOf":[{"$ref":"#/components/schemas/TgiRequest"},{"$ref":"#/components/schemas/SglangRequest"}]})"},
    {"Texts", R"({"anyOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"string"}}]})"},
    {"InputText", R"({"anyOf":[{"type":"string"},{"type":"object","required":["content"],"properties":{
      "content":{"type":"array","items":{"type":"object","required":["type","text"],"properties":{
      "type":{"const":"text"},"text":{"type":"string"}}}}}}]})"},
    {"Inputs", R"({"anyOf":[{"$ref":"#/components/schemas/InputText"},{"$ref":"#/components/schemas/TokenIds"},
      {"type":"array","minItems":1,"items":{"anyOf":[{"$ref":"#/components/schemas/InputText"},
      {"$ref":"#/components/schemas/TokenIds"}]}}]})"},
    {"AbortRequest", R"({"type":"object","properties":{"abort_all":{"type":["boolean","null"]},
      "rid":{"anyOf":[{"$ref":"#/components/schemas/RequestId"},{"type":"array","maxItems":1024,
      "items":{"$ref":"#/components/schemas/RequestId"}},{"type":"null"}]}},"anyOf":[
      {"required":["rid"],"properties":{"rid":{"type":["string","array"]}}},
      {"required":["abort_all"],"properties":{"abort_all":{"const":true}}}]})"},
    {"RequestId", R"({"type":"string","pattern":"^[!-~]{1,128}$"})"},
    {"AnyRequest", R"({"type":"object"})"},
};

bool listed(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    size_t cut = std::min(list.find(' '), list.size());
    if (list.substr(0, cut) == name) return true;
    list.remove_prefix(std::min(cut + 1, list.size()));
  }
  return false;
}

// Every name of the rows, aliases too: which of them a dialect takes is a matter of names.
void add_fields(Json& properties, const BodyRow& body, const SchemaFacts& facts) {
  for (const Field& field : request_fields()) {
    if ((field.routes & body.fields) == 0) continue;
    std::string names(field.name);
    if (!field.aliases.empty()) names.append(" ").append(field.aliases);
    std::string_view rest = names;
    while (!rest.empty()) {
      std::string_view name = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(name.size() + 1, rest.size()));
      bool taken = (body.only.empty() || listed(body.only, name)) && !listed(body.without, name);
      if (taken && properties.find(name) == nullptr) properties.set(name, field_schema(field, facts));
    }
  }
}

Json body_schema(const BodyRow& row, const SchemaFacts& facts) {
  Json properties = Json::object();
  if (!row.own.empty()) {
    std::string text(row.own);
    if (!row.more.empty()) text.append(",").append(row.more);
    Result<Json> own = parse_json("{" + text + "}");
    CHECK(own.ok(), "own members of {}", row.name);
    properties = std::move(*own);
  }
  if (row.under.empty()) {
    add_fields(properties, row, facts);
  } else {
    Json inner = Json::object();
    add_fields(inner, row, facts);
    properties.set(row.under, json_object({{"type", json_array({"object", "null"})}, {"properties", inner}}));
  }
  Json out = json_object({{"type", "object"}, {"properties", std::move(properties)}});
  if (row.required.empty()) return out;
  Json required = Json::array();
  std::string_view list = row.required;
  while (!list.empty()) {
    size_t cut = std::min(list.find(' '), list.size());
    required.push_back(list.substr(0, cut));
    list.remove_prefix(std::min(cut + 1, list.size()));
  }
  // required, so null is as good as absent: 400
  for (const Json& name : required.as_array()) {
    Json strict = *out.find("properties")->find(name.as_string());
    const Json* types = strict.find("type");
    if (types != nullptr && types->is_array()) strict.set("type", types->as_array().front());
    Json all = *out.find("properties");
    all.set(name.as_string(), std::move(strict));
    out.set("properties", std::move(all));
  }
  out.set("required", std::move(required));
  return out;
}

Json token_ids(const SchemaFacts& facts) {
  Json one = json_object({{"type", "integer"}, {"minimum", 0}});
  if (facts.n_vocab > 0) one.set("maximum", facts.n_vocab - 1);
  return json_object({{"type", "array"}, {"items", std::move(one)}});
}

// A text, texts, ids, or lists of ids; native dialects also take ids and texts mixed, and {"prompt_string"}.
Json prompt_schema(const SchemaFacts& facts, bool native) {
  Json text = json_object({{"type", "string"}, {"minLength", 1}});
  Json ids = token_ids(facts);
  ids.set("minItems", 1);
  int64_t most = facts.limits[LimitId::kBatchPrompts];
  auto many = [&](Json item) {
    return json_object({{"type", "array"}, {"minItems", 1}, {"maxItems", most}, {"items", std::move(item)}});
  };
  Json forms = json_array({text, ids, many(text), many(ids)});
  if (native) {
    Json mixed = json_object({{"anyOf", json_array({text, *ids.find("items")})}});
    forms.push_back(json_object({{"type", "array"}, {"minItems", 1}, {"items", std::move(mixed)}}));
    forms.push_back(json_object({{"type", "object"},
                                 {"required", json_array({"prompt_string"})},
                                 {"properties", json_object({{"prompt_string", text},
                                                             {"multimodal_data", json_object({{"type", "null"}})}})}}));
    Json object = forms.as_array().back();
    forms.push_back(many(std::move(object)));
  }
  return json_object({{"anyOf", std::move(forms)}});
}

}  // namespace

Json body_schemas(const SchemaFacts& facts) {
  Json out = json_object({{"TokenIds", token_ids(facts)},
                          {"Prompt", prompt_schema(facts, false)},
                          {"NativePrompt", prompt_schema(facts, true)}});
  for (const NamedJson& row : kParts) {
    Result<Json> schema = parse_json(row.json);
    CHECK(schema.ok(), "schema {}", row.name);
    out.set(row.name, std::move(*schema));
  }
  for (const BodyRow& row : kBodies) out.set(row.name, body_schema(row, facts));
  return out;
}

}  // namespace millrace::api
