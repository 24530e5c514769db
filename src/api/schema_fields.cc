// Schemas of single request fields, from their rows; of those that a parser of its own reads (FieldType::kAny and
// objects), the inner form stands in kInner.
#include <fmt/core.h>

#include <algorithm>

#include "api/extensions.h"
#include "api/json_object.h"
#include "api/samplers.h"
#include "api/schema.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

struct Inner {
  std::string_view name;
  std::string_view json;  // what the table's type does not say
};

constexpr Inner kInner[] = {
    {"messages", R"({"minItems":1,"items":{"$ref":"#/components/schemas/ChatMessage"}})"},
    {"stream_options", R"({"properties":{"include_usage":{"type":["boolean","null"]},
      "continuous_usage_stats":{"type":["boolean","null"]},"include_obfuscation":{"type":["boolean","null"]}}})"},
    {"chat_template_kwargs", R"({"propertyNames":{"pattern":"^[A-Za-z_][A-Za-z0-9_]*$",
      "not":{"enum":["messages","tools","add_generation_prompt","tokenize"]}}})"},
    {"response_format", R"({"type":["object","null"],"required":["type"],"properties":{
      "type":{"enum":["text","json_object","json_schema","structural_tag"]}}})"},
    {"structured_outputs", R"({"type":["object","null"],"additionalProperties":false,"minProperties":1,"properties":{
      "json":{"type":["object","boolean","string","null"]},"regex":{"type":["string","null"]},
      "choice":{"type":["array","null"],"items":{"type":"string"},"minItems":1},"grammar":{"type":["string","null"]},
      "json_object":{"type":["boolean","null"]},"structural_tag":{"type":["object","string","null"]},
      "disable_any_whitespace":{"type":["boolean","null"]},
      "disable_additional_properties":{"type":["boolean","null"]},"disable_fallback":{"type":["boolean","null"]},
      "whitespace_pattern":{"type":["string","null"]}}})"},
    {"guided_json", R"({"type":["object","boolean","string","array","null"]})"},
    {"guided_regex", R"({"type":["string","array","null"]})"},
    {"guided_choice", R"({"type":["array","string","null"]})"},
    {"guided_grammar", R"({"type":["string","array","null"]})"},
    {"grammar", R"({"type":["string","array","null"]})"},
    {"json_schema", R"({"type":["object","boolean","string","array","null"]})"},
    {"regex", R"({"type":["string","array","null"]})"},
    {"ebnf", R"({"type":["string","array","null"]})"},
    {"structural_tag", R"({"type":["object","string","array","null"]})"},
    {"input_extra", R"({"items":{"type":"object","required":["text"],"properties":{"text":{"type":"string"},
      "filename":{"type":["string","null"]}}}})"},
    {"response_fields", R"({"items":{"type":"string"}})"},
    {"allowed_token_ids", R"({"minItems":1})"},
    {"tools", R"({"minItems":1})"},
};

Json nullable(std::string_view type) { return json_object({{"type", json_array({type, "null"})}}); }

void add_words(Json& list, std::string_view words, bool as_json) {
  while (!words.empty()) {
    size_t cut = std::min(words.find('|'), words.size());
    std::string_view word = words.substr(0, cut);
    words.remove_prefix(std::min(cut + 1, words.size()));
    Result<Json> value = as_json ? parse_json(word) : Result<Json>(Json(word));
    CHECK(value.ok(), "neutral value {}", word);
    list.push_back(std::move(*value));
  }
}

void set_range(Json& out, const Field& field, const Limits& limits) {
  int64_t high = field_high(field, limits);
  if (field.low != INT64_MIN) out.set("minimum", field.low);
  if (high != INT64_MAX) out.set("maximum", high);
}

// Bounds as integers where they are whole: "2", not "2.0".
Json bound(double value) {
  auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? Json(whole) : Json(value);
}

Json number_schema(const Field& field) {
  Json out = nullable("number");
  if (field.low_number <= -1e300) return out;
  out.set(field.low_open ? "exclusiveMinimum" : "minimum", bound(field.low_number));
  out.set("maximum", bound(field.high_number));
  return out;
}

// Lengths are bytes; characters are never more.
Json text_schema(const Field& field, const Limits& limits) {
  Json out = nullable("string");
  int64_t high = field_high(field, limits);
  if (field.low > 0) out.set("minLength", field.low);
  if (high != INT64_MAX) out.set("maxLength", high);
  return out;
}

Json token_schema(int64_t n_vocab) {
  Json out = json_object({{"type", "integer"}, {"minimum", 0}});
  if (n_vocab > 0) out.set("maximum", n_vocab - 1);
  return out;
}

Json stop_schema(const Field& field, const Limits& limits) {
  Json one = json_object({{"type", "string"}, {"minLength", 1}, {"maxLength", limits[LimitId::kStopBytes]}});
  Json many = json_object({{"type", "array"}, {"items", one}, {"maxItems", field_high(field, limits)}});
  return json_object({{"anyOf", json_array({one, many, json_object({{"type", "null"}})})}});
}

Json bias_schema(const Field& field, const SchemaFacts& facts) {
  bool text = field.type == FieldType::kTextLogitBias;
  Json number =
      json_object({{"type", "number"}, {"minimum", bound(field.low_number)}, {"maximum", bound(field.high_number)}});
  Json bias = text ? json_object({{"anyOf", json_array({number, json_object({{"const", false}})})}}) : number;
  int64_t most = field_high(field, facts.limits);
  Json map = json_object({{"type", "object"}, {"maxProperties", most}, {"additionalProperties", bias}});
  if (!text) map.set("propertyNames", json_object({{"pattern", "^(0|[1-9][0-9]*)$"}}));
  Json id = token_schema(facts.n_vocab);
  if (text) id = json_object({{"anyOf", json_array({id, json_object({{"type", "string"}})})}});
  Json pair =
      json_object({{"type", "array"}, {"prefixItems", json_array({id, bias})}, {"minItems", 2}, {"maxItems", 2}});
  Json pairs = json_object({{"type", "array"}, {"maxItems", most}, {"items", std::move(pair)}});
  return json_object({{"anyOf", json_array({map, pairs, json_object({{"type", "null"}})})}});
}

Json sized(std::string_view type, std::string_view keyword, const Field& field, const Limits& limits) {
  Json out = nullable(type);
  int64_t high = field_high(field, limits);
  if (high != INT64_MAX) out.set(keyword, high);
  return out;
}

Json typed(const Field& field, const SchemaFacts& facts) {
  const Limits& limits = facts.limits;
  switch (field.type) {
    case FieldType::kAny:
      return Json::object();
    case FieldType::kBool:
      return nullable("boolean");
    case FieldType::kInt: {
      Json out = nullable("integer");
      set_range(out, field, limits);
      return out;
    }
    case FieldType::kNumber:
      return number_schema(field);
    case FieldType::kString:
      return text_schema(field, limits);
    case FieldType::kVisible: {
      Json out = text_schema(field, limits);
      out.set("pattern", "^[!-~]*$");
      return out;
    }
    case FieldType::kSalt: {
      Json out = text_schema(field, limits);
      out.set("minLength", 1);
      out.set("pattern", R"(^[^@/\\\u0000]*$)");
      return out;
    }
    case FieldType::kStop:
      return stop_schema(field, limits);
    case FieldType::kTokenIds: {
      int64_t most = token_ids_high(field, limits, facts.n_vocab);
      Json out = nullable("array");
      out.set("items", token_schema(facts.n_vocab));
      if (most > 0) out.set("maxItems", most);
      return out;
    }
    case FieldType::kLogitBias:
    case FieldType::kTextLogitBias:
      return bias_schema(field, facts);
    case FieldType::kObject:
      return sized("object", "maxProperties", field, limits);
    case FieldType::kArray:
      return sized("array", "maxItems", field, limits);
    case FieldType::kChoice: {
      Json words = json_array({Json()});
      add_words(words, field.words, false);
      return json_object({{"enum", std::move(words)}});
    }
  }
  return Json::object();
}

Json extension_schema() {
  Json properties = Json::object();
  for (const ExtensionField& row : extension_fields()) {
    Json one = nullable("integer");
    one.set("minimum", 0);
    one.set("maximum", row.high);
    properties.set(row.name, std::move(one));
  }
  Json tenant = nullable("string");
  tenant.set("maxLength", static_cast<int64_t>(kMostTenantBytes));
  properties.set("tenant", std::move(tenant));
  return json_object(
      {{"type", json_array({"object", "null"})}, {"properties", properties}, {"additionalProperties", false}});
}

Json model_schema(const Field& field, const SchemaFacts& facts) {
  if (facts.served_names.empty()) return text_schema(field, facts.limits);
  Json names = json_array({Json()});
  for (const std::string& name : facts.served_names) names.push_back(name);
  if (facts.served_names.size() == 1) names.push_back("");
  return json_object({{"enum", std::move(names)}});
}

}  // namespace

Json field_schema(const Field& field, const SchemaFacts& facts) {
  if (field.name == "model") return model_schema(field, facts);
  if (field.name == "millrace") return extension_schema();
  if (field.name == "samplers") return samplers_schema();
  Json out = typed(field, facts);
  for (const Inner& row : kInner) {
    if (row.name != field.name) continue;
    Result<Json> inner = parse_json(row.json);
    CHECK(inner.ok(), "schema of {}", row.name);
    for (const auto& [keyword, value] : inner->as_object().members) out.set(keyword, value);
  }
  if (field.support == Support::kUnlessNeutral) {
    Json neutral = json_array({Json()});
    add_words(neutral, field.words, true);
    out = json_object({{"enum", std::move(neutral)}, {"description", "no other value is supported"}});
  }
  if (field.support == Support::kNoEffect) out.set("description", "accepted, without effect");
  if (!field.default_text.empty()) out.set("description", fmt::format("default: {}", field.default_text));
  return out;
}

}  // namespace millrace::api
