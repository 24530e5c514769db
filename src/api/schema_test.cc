// The schemas of /openapi.json against the parser: a value that breaks a field's schema is refused, one that the row
// refuses breaks the schema, and every row and reference is there.
#include "api/schema.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "api/chat.h"
#include "api/completions.h"
#include "api/json_object.h"
#include "tests/support/schema_validator.h"

namespace millrace::api {
namespace {

const Limits kLimits;
const std::vector<std::string> kNames = {"tiny", "org/tiny"};
const ParseContext kContext{.limits = kLimits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 128}};
const SchemaFacts kFacts{.limits = kLimits, .n_vocab = 1000, .served_names = kNames};

Json json(std::string_view text) { return parse_json(text).value(); }

std::vector<Json> candidates(const Field& field) {
  std::vector<Json> out;
  for (const char* text : {"true",
                           "false",
                           "0",
                           "1",
                           "-1",
                           "-2",
                           "3",
                           "100",
                           "1000",
                           "9223372036854775807",
                           "-9223372036854775808",
                           "0.5",
                           "-0.5",
                           "1.5",
                           "2.5",
                           "100.5",
                           "1e7",
                           R"("")",
                           R"("a")",
                           R"("a b")",
                           R"("a@b")",
                           R"("a/b")",
                           R"("low")",
                           R"("left")",
                           R"("none")",
                           R"("tiny")",
                           R"("json_object")",
                           "[]",
                           R"(["a"])",
                           R"([""])",
                           "[1]",
                           "[999]",
                           "[1000]",
                           "[-1]",
                           "[[1,2]]",
                           "[[1,false]]",
                           R"([["a",1]])",
                           "[[1000,1]]",
                           "[[1,2,3]]",
                           "{}",
                           R"({"1":2})",
                           R"({"1":101})",
                           R"({"01":1})",
                           R"({"a":1})",
                           R"({"1":false})",
                           R"({"1000":1})",
                           R"({"type":"text"})",
                           R"({"type":"json_object"})",
                           R"({"type":"strange"})",
                           R"({"include_usage":true})",
                           R"({"include_usage":1})",
                           R"({"json":{}})",
                           R"({"regex":3})",
                           R"({"strange":1})",
                           R"({"retention":7})",
                           R"({"retention":8})"}) {
    out.push_back(json(text));
  }
  for (int64_t edge : {field.low, field_high(field, kLimits)}) {
    out.push_back(edge);
    if (edge > INT64_MIN) out.push_back(edge - 1);
    if (edge < INT64_MAX) out.push_back(edge + 1);
    if (edge >= 0 && edge < 5000) {
      out.push_back(std::string(static_cast<size_t>(edge), 'a'));
      out.push_back(std::string(static_cast<size_t>(edge) + 1, 'a'));
      out.push_back(JsonArray(static_cast<size_t>(edge) + 1, Json("a")));
      out.push_back(JsonArray(static_cast<size_t>(edge) + 1, Json(1)));
    }
  }
  for (double edge : {field.low_number, field.high_number}) {
    out.push_back(edge);
    out.push_back(edge - 0.25);
    out.push_back(edge + 0.25);
  }
  return out;
}

// The whole parser of a route, with what it needs beside the field.
bool refused_by_parser(const Field& field, uint8_t route, const Json& value) {
  Json body = Json::object();
  if (field.name == "stream_options") body.set("stream", true);
  if (field.name == "millrace") body.set("session_id", "s");
  bool chat = route == kRouteChat || route == kRouteNativeChat;
  if (chat) body.set("messages", json(R"([{"role":"user","content":"hi"}])"));
  if (route == kRouteCompletions) body.set("prompt", "hi");
  body.set(field.name, value);
  if (chat) return !parse_chat(body, kContext, route).ok();
  if (route == kRouteCompletions) return !parse_completion(body, kContext).ok();
  CompletionRequest request;
  return !read_native_fields(body, kContext, request).ok();
}

TEST(SchemaTest, AFieldsSchemaSaysWhatItsRowSays) {
  size_t n_checked = 0;
  for (const Field& field : request_fields()) {
    if (field.name == "input_extra" || field.name == "response_fields") continue;  // read by their dialects alone
    Json schema = field_schema(field, kFacts);
    testing::SchemaValidator validator(schema);
    EXPECT_EQ(validator.broken(Json()), "") << field.name << " may be null";
    if (field.name == "messages" || field.name == "prompt") continue;  // see the next tests
    for (const Json& value : candidates(field)) {
      // to JSON Schema 1e7 is an integer; here a number with a point or an exponent is none
      bool whole = !value.is_int() && value.is_number() && value.as_double() == std::floor(value.as_double());
      if (field.type == FieldType::kInt && whole) continue;
      // which ids and texts exist is the tokenizer's matter
      if (field.name == "logit_bias" && value.size() > 0) continue;
      bool broken = !validator.broken(value).empty();
      ++n_checked;
      if (!check_field(field, value, kContext).ok()) {
        EXPECT_TRUE(broken) << field.name << " = " << value.dump().substr(0, 80) << " keeps to the schema";
      }
      for (uint8_t route : {kRouteChat, kRouteCompletions, kRouteNative, kRouteNativeChat}) {
        if (!broken || (field.routes & route) == 0) continue;
        EXPECT_TRUE(refused_by_parser(field, route, value))
            << field.name << " = " << value.dump().substr(0, 80) << " breaks the schema and is taken";
      }
    }
  }
  EXPECT_GT(n_checked, 5000u);
}

TEST(SchemaTest, EveryFieldAndAliasOfARouteStandsInItsBody) {
  Json bodies = body_schemas(kFacts);
  const std::pair<uint8_t, const char*> routes[] = {
      {kRouteChat, "ChatCompletionRequest"}, {kRouteCompletions, "CompletionRequest"}, {kRouteNative, "InfillRequest"}};
  for (auto [route, name] : routes) {
    const Json* properties = bodies.find(name)->find("properties");
    for (const Field& field : request_fields()) {
      if ((field.routes & route) == 0) continue;
      EXPECT_NE(properties->find(field.name), nullptr) << name << " lacks " << field.name;
      std::string_view alias = field.aliases.substr(0, field.aliases.find(' '));
      if (alias.empty()) continue;
      EXPECT_NE(properties->find(alias), nullptr) << name << " lacks " << alias;
    }
  }
}

void check_references(const Json& value, const Json& all, std::set<std::string>& used) {
  if (value.is_array()) {
    for (const Json& item : value.as_array()) check_references(item, all, used);
  }
  if (!value.is_object()) return;
  for (const auto& [name, member] : value.as_object().members) {
    if (name == "$ref") {
      std::string schema = member.as_string().substr(std::string("#/components/schemas/").size());
      EXPECT_NE(all.find(schema), nullptr) << schema;
      used.insert(schema);
    }
    check_references(member, all, used);
  }
}

TEST(SchemaTest, EveryReferenceIsThere) {
  Json all = body_schemas(kFacts);
  Json replies = reply_schemas();
  for (const auto& [name, schema] : replies.as_object().members) {
    EXPECT_EQ(all.find(name), nullptr) << name << " is the name of a body and of a reply";
    all.set(name, schema);
  }
  std::set<std::string> used;
  check_references(all, all, used);
  EXPECT_GT(used.size(), 10u);
}

TEST(SchemaTest, BodiesTakeAndRefuseWhatTheParsersDo) {
  Json all = json_object({{"components", json_object({{"schemas", body_schemas(kFacts)}})}});
  struct Row {
    const char* schema;
    const char* body;
    bool ok;
  };
  const Row rows[] = {
      {"ChatCompletionRequest", R"({"messages":[{"role":"user","content":"hi"}]})", true},
      {"ChatCompletionRequest", R"({"messages":[]})", false},
      {"ChatCompletionRequest", R"({"messages":null})", false},
      {"ChatCompletionRequest", R"({})", false},
      {"ChatCompletionRequest", R"({"messages":[{"role":"king","content":"hi"}]})", false},
      {"ChatCompletionRequest", R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})", false},
      {"CompletionRequest", R"({"prompt":"hi"})", true},
      {"CompletionRequest", R"({"prompt":[1,2]})", true},
      {"CompletionRequest", R"({"prompt":["a","b"]})", true},
      {"CompletionRequest", R"({"prompt":[[1],[2]]})", true},
      {"CompletionRequest", R"({"prompt":""})", false},
      {"CompletionRequest", R"({"prompt":[]})", false},
      {"CompletionRequest", R"({"prompt":["a",1]})", false},
      {"CompletionRequest", R"({"prompt":[1000]})", false},
      {"CompletionRequest", R"({"prompt":"a","max_tokens":-1})", false},
      {"CompletionRequest", R"({"prompt":"a","model":"other"})", false},
      {"CompletionRequest", R"({"prompt":"a","model":"org/tiny"})", true},
  };
  for (const Row& row : rows) {
    Json root = all;
    root.set("$ref", std::string("#/components/schemas/") + row.schema);
    Json body = json(row.body);
    EXPECT_EQ(testing::SchemaValidator(root).broken(body).empty(), row.ok) << row.schema << " " << row.body;
    bool chat = std::string(row.schema) == "ChatCompletionRequest";
    EXPECT_EQ(chat ? parse_chat(body, kContext).ok() : parse_completion(body, kContext).ok(), row.ok) << row.body;
  }
}

TEST(SchemaTest, ErrorsAreThoseOfTheTable) {
  for (ErrorStyle style : {ErrorStyle::kOpenAi, ErrorStyle::kVllm, ErrorStyle::kLlama, ErrorStyle::kAnthropic,
                           ErrorStyle::kOllama, ErrorStyle::kTgi, ErrorStyle::kKserve}) {
    for (const ErrorRow& row : error_table()) {
      Json body = json(error_body(Error{row.code, "what", "where"}, style));
      Json schema = error_schema(style, error_status(row.code, style));
      EXPECT_EQ(testing::SchemaValidator(schema).broken(body), "") << body.dump();
      int other = error_status(row.code, style) == 404 ? 400 : 404;
      bool named = style == ErrorStyle::kOpenAi || style == ErrorStyle::kVllm || style == ErrorStyle::kLlama;
      if (!named) continue;
      Json of_response = json(error_body(Error{row.code, "what", "response_id"}, style));
      EXPECT_EQ(testing::SchemaValidator(schema).broken(of_response), "") << of_response.dump();
      Json wrong = error_schema(style, other);
      EXPECT_NE(testing::SchemaValidator(wrong).broken(body), "") << body.dump();
    }
  }
}

}  // namespace
}  // namespace millrace::api
