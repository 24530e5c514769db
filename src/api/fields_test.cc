// Every row of request_fields(): accepted values, both borders, one past each, and wrong types give the code and param
// that the table promises. Also the checks across fields of API.md 3.10.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "api/chat.h"
#include "api/completions.h"
#include "api/errors.h"
#include "api/fields.h"
#include "api/llama.h"
#include "api/pooling.h"

namespace millrace::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

const Limits kLimits;
const std::vector<std::string> kNames = {"tiny", "org/tiny"};
const ParseContext kContext{.limits = kLimits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 128}};

Json json(std::string_view text) { return parse_json(text).value(); }

struct Case {
  Json value;
  bool ok = true;
  ErrorCode code = ErrorCode::kInvalidValue;
};

void add_numbers(const Field& field, std::vector<Case>& cases) {
  cases.push_back({Json(field.high_number), true});
  cases.push_back({Json(field.low_number), !field.low_open});
  if (field.high_number < 1e300) {
    cases.push_back({Json(std::nextafter(field.high_number, 1e300)), false});
    cases.push_back({Json(std::nextafter(field.low_number, -1e300)), false});
    cases.push_back({Json(1e38), false});
  }
  cases.push_back({Json("1"), false});
  cases.push_back({Json(true), false});
}

void add_ints(const Field& field, std::vector<Case>& cases) {
  int64_t high = field_high(field, kLimits);
  cases.push_back({Json(field.low), true});
  cases.push_back({Json(high), true});
  if (high < INT64_MAX) cases.push_back({Json(high + 1), false});
  if (field.low > INT64_MIN) cases.push_back({Json(field.low - 1), false});
  for (const char* bad : {"1.5", "1.0", "\"3\"", "true", "[]", "{}", "9223372036854775808"})
    cases.push_back({json(bad), false});
}

void add_strings(const Field& field, std::vector<Case>& cases) {
  auto high = static_cast<size_t>(field_high(field, kLimits));
  cases.push_back({Json(std::string(high, 'a')), true});
  cases.push_back({Json(std::string(high + 1, 'a')), false});
  cases.push_back({Json(1), false});
  if (field.type == FieldType::kVisible) cases.push_back({Json("a b"), false});
  if (field.type == FieldType::kSalt) {
    for (std::string bad :
         {std::string(), std::string("a@b"), std::string("a/b"), std::string("a\\b"), std::string("a\0b", 3)}) {
      cases.push_back({Json(bad), false});
    }
  }
}

void add_lists(const Field& field, std::vector<Case>& cases) {
  auto high = static_cast<size_t>(field_high(field, kLimits));
  switch (field.type) {
    case FieldType::kStop: {
      JsonArray full(high, Json("s"));
      cases.push_back({Json(full), true});
      cases.push_back({Json("one"), true});
      full.push_back("s");
      cases.push_back({Json(full), false});
      cases.push_back({Json(std::string(256, 's')), true});
      for (const Json& bad :
           {Json(std::string(257, 's')), Json(""), Json(3), json("[\"a\",3]"), json("[[\"a\"]]"), json("{}")}) {
        cases.push_back({bad, false});
      }
      break;
    }
    case FieldType::kTokenIds: {
      cases.push_back({json("[0,999]"), true});
      cases.push_back({json("[1000]"), false, ErrorCode::kTokenOutOfRange});
      cases.push_back({json("[-1]"), false, ErrorCode::kTokenOutOfRange});
      for (const char* bad : {"[1.5]", "[\"1\"]", "[[1]]", "7", "{}"}) cases.push_back({json(bad), false});
      high = static_cast<size_t>(token_ids_high(field, kLimits, kContext.model.n_vocab));
      cases.push_back({Json(JsonArray(high, Json(1))), true});
      cases.push_back({Json(JsonArray(high + 1, Json(1))), false});
      break;
    }
    case FieldType::kTextLogitBias: {
      for (const char* good : {"{}", "{\"0\":1000000}", "{\"999\":-100.5}", "[[5,1.5]]", "[[5,false]]"})
        cases.push_back({json(good), true});
      // texts need a tokenizer, which this context has not
      for (const char* bad : {"{\"abc\":1}", "[[\"abc\",1]]", "{\"5\":1e7}", "[[5]]", "[5]", "[[5,true]]", "1"})
        cases.push_back({json(bad), false});
      cases.push_back({json("{\"1000\":false}"), false, ErrorCode::kTokenOutOfRange});
      break;
    }
    case FieldType::kLogitBias: {
      for (const char* good : {"{}", "{\"0\":100}", "{\"999\":-100.0}", "[[5,1.5]]"})
        cases.push_back({json(good), true});
      for (const char* bad :
           {"{\"abc\":1}", "{\"5\":100.5}", "{\"5\":\"x\"}", "{\"05\":1}", "[[5]]", "[5]", "[[5,false]]", "1"}) {
        cases.push_back({json(bad), false});
      }
      for (const char* bad : {"{\"1000\":1}", "{\"-1\":1}", "{\"1099511627776\":1}"})
        cases.push_back({json(bad), false, ErrorCode::kTokenOutOfRange});
      break;
    }
    default:
      break;
  }
}

std::vector<Case> cases_of(const Field& field) {
  std::vector<Case> cases;
  switch (field.type) {
    case FieldType::kBool:
      cases = {{Json(true)}, {Json(false)}, {Json(1), false}, {Json("yes"), false}, {Json::object(), false}};
      break;
    case FieldType::kInt:
      add_ints(field, cases);
      break;
    case FieldType::kNumber:
      add_numbers(field, cases);
      break;
    case FieldType::kString:
    case FieldType::kVisible:
    case FieldType::kSalt:
      add_strings(field, cases);
      break;
    case FieldType::kStop:
    case FieldType::kTokenIds:
    case FieldType::kLogitBias:
    case FieldType::kTextLogitBias:
      add_lists(field, cases);
      break;
    case FieldType::kObject:
      cases = {{Json::object()}, {Json::array(), false}, {Json("x"), false}};
      break;
    case FieldType::kArray:
      cases = {{Json::array()}, {Json::object(), false}, {Json("x"), false}};
      break;
    case FieldType::kChoice:
      cases = {{Json(field.words.substr(0, field.words.find('|')))}, {Json("nothing"), false}, {Json(1), false}};
      break;
    case FieldType::kAny:
      break;
  }
  return cases;
}

std::vector<Case> neutral_cases(const Field& field) {
  std::vector<Case> cases;
  std::string_view rest = field.words;
  while (!rest.empty()) {
    size_t cut = std::min(rest.find('|'), rest.size());
    cases.push_back({json(rest.substr(0, cut)), true});
    rest.remove_prefix(std::min(cut + 1, rest.size()));
  }
  Json odd = field.type == FieldType::kInt ? Json(77) : json(R"({"odd":[1]})");
  cases.push_back({odd, false, ErrorCode::kUnsupportedParameter});
  return cases;
}

Error parse_error(const Field& field, const Json& value) {
  Json body = Json::object();
  if (field.routes & kRouteChat) {
    body.set("messages", json(R"([{"role":"user","content":"x"}])"));
    body.set(field.name, value);
    auto result = parse_chat(body, kContext);
    return result.ok() ? Error{} : result.error();
  }
  if (field.routes == kRoutePooling) {
    body.set("input", "x");
    body.set(field.name, value);
    auto pooled = parse_pooling(body, kContext, {});
    return pooled.ok() ? Error{} : pooled.error();
  }
  body.set("prompt", "x");
  body.set(field.name, value);
  if ((field.routes & kRouteCompletions) == 0) {
    auto native = parse_llama_completion(body, kContext, {});
    return native.ok() ? Error{} : native.error();
  }
  auto result = parse_completion(body, kContext);
  return result.ok() ? Error{} : result.error();
}

TEST(FieldsTest, EveryRowKeepsItsRange) {
  for (const Field& field : request_fields()) {
    std::vector<Case> cases = field.support == Support::kUnlessNeutral ? neutral_cases(field) : cases_of(field);
    for (const Case& c : cases) {
      auto result = check_field(field, c.value, kContext);
      std::string shown = std::string(field.name) + " = " + c.value.dump().substr(0, 60);
      EXPECT_EQ(result.ok(), c.ok) << shown;
      if (c.ok || result.ok()) continue;
      EXPECT_EQ(result.error().code, c.code) << shown;
      EXPECT_THAT(result.error().message, HasSubstr(std::string(field.name))) << shown;
      Error error = parse_error(field, c.value);
      EXPECT_EQ(error.code, c.code) << shown << ": " << error.message;
      EXPECT_EQ(error.param.substr(0, field.name.size()), field.name) << shown;
    }
    bool pooling = field.routes == kRoutePooling;
    bool required = field.name == (pooling ? "input" : "prompt") || (field.name == "messages" && !pooling);
    EXPECT_EQ(parse_error(field, Json()).code, required ? ErrorCode::kMissingField : ErrorCode::kInternal)
        << field.name << ": null must be absent";
  }
}

TEST(FieldsTest, MinusOneIsAllTokensWhereTheLimitHoldsThemAll) {
  Limits limits;
  ASSERT_TRUE(limits.set(LimitId::kTopLogprobs, 1000).ok());
  auto asked = [](const Limits& with) {
    const ParseContext own{.limits = with, .served_names = kNames, .model = kContext.model};
    return parse_completion(json(R"({"prompt":"x","logprobs":-1,"prompt_logprobs":-1})"), own);
  };
  auto all = asked(limits);
  ASSERT_TRUE(all.ok()) << all.error().message;
  EXPECT_EQ(all->common.sampling.n_logprobs, 1000);
  EXPECT_EQ(all->common.sampling.n_prompt_logprobs, 1000);
  ASSERT_TRUE(limits.set(LimitId::kTopLogprobs, 999).ok());
  auto refused = asked(limits);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("must be an integer in 0..999, or -1 where --max-logprobs is -1"));
}

// Whether values of this JSON kind can be right for the field.
bool takes(const Field& field, const Json& value) {
  switch (field.type) {
    case FieldType::kBool:
      return value.is_bool();
    case FieldType::kInt:
      return value.is_int();
    case FieldType::kNumber:
      return value.is_number();
    case FieldType::kString:
    case FieldType::kVisible:
    case FieldType::kSalt:
    case FieldType::kChoice:
      return value.is_string();
    case FieldType::kStop:
      return value.is_string() || value.is_array();
    case FieldType::kTokenIds:
    case FieldType::kArray:
      return value.is_array();
    case FieldType::kLogitBias:
    case FieldType::kTextLogitBias:
      return value.is_object() || value.is_array();
    case FieldType::kObject:
      return value.is_object();
    case FieldType::kAny:
      break;
  }
  return field.support != Support::kUnlessNeutral;
}

std::vector<std::string> names_of(const Field& field) {
  std::vector<std::string> out = {std::string(field.name)};
  std::string_view rest = field.aliases;
  while (!rest.empty()) {
    size_t cut = std::min(rest.find(' '), rest.size());
    out.emplace_back(rest.substr(0, cut));
    rest.remove_prefix(std::min(cut + 1, rest.size()));
  }
  return out;
}

TEST(FieldsTest, EveryFieldRefusesEveryWrongTypeUnderTheNameSent) {
  const std::vector<Json> values = {Json(true), Json(1),        Json(1.5),      Json("text"),
                                    json("[]"), json("[[{}]]"), Json::object(), json(R"({"a":[1]})")};
  size_t n_refused = 0;
  for (const Field& field : request_fields()) {
    for (const std::string& name : names_of(field)) {
      for (const Json& value : values) {
        if (takes(field, value)) continue;
        bool neutral = field.support == Support::kUnlessNeutral && check_field(field, value, kContext).ok();
        if (neutral) continue;
        Field sent = field;
        sent.name = name;
        Error error = parse_error(sent, value);
        std::string shown = name + " = " + value.dump();
        EXPECT_EQ(error_row(error.code).status, 400) << shown;
        EXPECT_EQ(error.param, name) << shown;
        EXPECT_THAT(error.message, HasSubstr(name)) << shown;
        ++n_refused;
      }
    }
  }
  EXPECT_GT(n_refused, 800u);
}

TEST(FieldsTest, NamesAreUniquePerRoute) {
  for (uint8_t route : {kRouteChat, kRouteCompletions, kRouteNative, kRouteNativeChat}) {
    std::set<std::string> seen;
    for (const Field& field : request_fields()) {
      if ((field.routes & route) == 0) continue;
      std::string names = std::string(field.name) + " " + std::string(field.aliases);
      size_t begin = 0;
      while (begin < names.size()) {
        size_t end = std::min(names.find(' ', begin), names.size());
        bool added = end == begin || seen.insert(names.substr(begin, end - begin)).second;
        EXPECT_TRUE(added) << names;
        begin = end + 1;
      }
    }
  }
}

TEST(FieldsTest, RangeTexts) {
  auto text = [](std::string_view name, std::string_view value) {
    for (const Field& field : request_fields()) {
      if (field.name == name) return check_field(field, json(value), kContext).error().message;
    }
    return std::string("no such field");
  };
  EXPECT_EQ(text("n", "129"), "n must be an integer in 1..128");
  EXPECT_EQ(text("temperature", "2.1"), "temperature must be a number in 0..2");
  EXPECT_EQ(text("top_logprobs", "21"), "top_logprobs must be an integer in 0..20, or -1 where --max-logprobs is -1");
  EXPECT_EQ(text("stop", "\"\""), "stop: at most 16 strings of 1..256 bytes");
  EXPECT_EQ(text("timeout", "0"), "timeout must be a number > 0 and <= 86400");
  EXPECT_EQ(text("logit_bias", "{\"1000\":1}"), "logit_bias: token 1000 outside vocabulary 0..999");
  EXPECT_EQ(text("seed", "1.5"), "seed must be a 64-bit integer");
  EXPECT_EQ(text("messages", "3"), "messages must be an array");
  EXPECT_THAT(text("n_keep", "5"), HasSubstr("context shifting rewrites cached positions"));
}

CommonParams common_of(std::string_view members, const ParseContext& context = kContext) {
  std::string body =
      R"({"messages":[{"role":"user","content":"x"}])" + (members.empty() ? "" : "," + std::string(members)) + "}";
  auto result = parse_chat(json(body), context);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? result->common : CommonParams{};
}

TEST(FieldsTest, ABeamSearchTakesWhatIsLikeliest) {
  for (const char* members : {R"("use_beam_search":true)", R"("use_beam_search":true,"n":1,"temperature":1.5)",
                              R"("beam_width":1,"use_beam_search":true)", R"("use_beam_search":true,"best_of":3)"}) {
    EXPECT_EQ(common_of(members).sampling.temperature, 0.0f) << members;
  }
  EXPECT_EQ(common_of(R"("use_beam_search":false,"temperature":1.5)").sampling.temperature, 1.5f);
}

std::string chat_error(std::string_view members, const ParseContext& context = kContext) {
  auto result =
      parse_chat(json(R"({"messages":[{"role":"user","content":"x"}],)" + std::string(members) + "}"), context);
  return result.ok() ? "accepted" : std::string(error_slug(result.error().code)) + "|" + result.error().param;
}

TEST(FieldsTest, ValuesArriveWhereTheyBelong) {
  CommonParams p = common_of(R"("max_tokens":5,"max_completion_tokens":7,"n":3,"stop":["a","b"],"stream":true,
    "stream_options":{"include_usage":true,"continuous_usage_stats":true},"logprobs":true,"top_logprobs":4,"seed":-9,
    "priority":-5,"user":"u","cache_salt":"s","cache_prompt":false,
    "timeout":1.5,"temperature":0.5,"top_k":1000000000000,
    "top_p":0.5,"min_p":0.25,"repeat_penalty":1.5,"presence_penalty":1,"frequency_penalty":-1,"min_tokens":2,
    "logit_bias":{"7":1.0,"3":-1},"ignore_eos":true,"stop_token_ids":[4],"skip_special_tokens":false,
    "truncation_side":"right")");
  EXPECT_EQ(p.max_tokens, 7);
  EXPECT_EQ(p.n, 3u);
  EXPECT_THAT(p.output.stop, ElementsAre("a", "b"));
  EXPECT_TRUE(p.stream.stream && p.stream.include_usage && p.stream.continuous_usage_stats);
  EXPECT_EQ(p.sampling.n_logprobs, 4);
  EXPECT_EQ(p.seed, -9);
  EXPECT_EQ(p.caller.priority, -5);
  EXPECT_EQ(p.caller.timeout_s, 1.5);
  EXPECT_EQ(p.sampling.top_k, INT32_MAX);
  EXPECT_FLOAT_EQ(p.sampling.repetition_penalty, 1.5f);
  EXPECT_THAT(p.sampling.logit_bias, ElementsAre(Pair(3, -1.0f), Pair(7, 1.0f)));
  EXPECT_FALSE(p.prompt.cache_prompt);
  EXPECT_FALSE(p.output.skip_special_tokens);
  EXPECT_FALSE(p.prompt.add_special_tokens);
  EXPECT_EQ(p.prompt.truncation_side, TruncationSide::kRight);
  EXPECT_EQ(p.model, "tiny");
  EXPECT_EQ(common_of(R"("model":"org/tiny")").model, "org/tiny");
  EXPECT_EQ(common_of(R"("logprobs":true)").sampling.n_logprobs, 0);
  EXPECT_EQ(common_of(R"("logprobs":false)").sampling.n_logprobs, -1);
  EXPECT_EQ(common_of(R"("n_predict":-1)").max_tokens, -1);
  EXPECT_THAT(common_of(R"("logprobs":true,"logprob_token_ids":[9,4])").sampling.logprob_token_ids, ElementsAre(9, 4));
  EXPECT_EQ(common_of(R"("no_repeat_ngram_size":3)").sampling.no_repeat_ngram_size, 3u);
  EXPECT_TRUE(common_of(R"("post_sampling_probs":true)").sampling.post_sampling_probs);
  EXPECT_EQ(common_of(R"("t_max_predict_ms":50,"n_indent":4)").output.t_max_predict_ms, 50);
  EXPECT_EQ(common_of(R"("t_max_predict_ms":50,"n_indent":4)").output.n_indent, 4u);
  EXPECT_EQ(common_of("").max_tokens, std::nullopt);
}

TEST(FieldsTest, DefaultsComeFromTheGenerationConfig) {
  ParseContext context{.limits = kLimits,
                       .served_names = kNames,
                       .model = {.n_vocab = 1000, .max_len = 128},
                       .defaults = {.temperature = 0.6f, .top_k = 20}};
  EXPECT_FLOAT_EQ(common_of("", context).sampling.temperature, 0.6f);
  EXPECT_EQ(common_of("", context).sampling.top_k, 20);
  EXPECT_FLOAT_EQ(common_of(R"("temperature":0)", context).sampling.temperature, 0.0f);
  EXPECT_FLOAT_EQ(common_of("").sampling.temperature, 1.0f);
}

TEST(FieldsTest, UnknownFieldsAreCountedOrRefused) {
  std::string members = R"("stream":true,"stream_options":{"x":1})";
  for (int i = 0; i < 20; ++i) members += ",\"odd" + std::to_string(i) + "\":null";
  CommonParams p = common_of(members);
  EXPECT_EQ(p.ignored.count, 21u);
  EXPECT_EQ(p.ignored.names.size(), kMaxIgnoredNames);
  ParseContext strict{
      .limits = kLimits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 128}, .strict_fields = true};
  EXPECT_EQ(chat_error(R"("odd":1)", strict), "unknown_field|odd");
  EXPECT_EQ(chat_error(R"("stream":true,"stream_options":{"x":1})", strict), "unknown_field|stream_options.x");
}

TEST(FieldsTest, ChecksAcrossFields) {
  EXPECT_EQ(chat_error(R"("tools":[])"), "invalid_value|tools");
  EXPECT_EQ(chat_error(R"("tools":[{"type":"function"}])"), "invalid_value|tools[0].function");
  EXPECT_EQ(chat_error(R"("tool_choice":"auto")"), "invalid_value|tool_choice");
  EXPECT_EQ(chat_error(R"("tool_choice":"none")"), "accepted");
  auto allowed = [](std::string_view value) {
    return chat_error(
        R"("tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}],)"
        R"("tool_choice":{"type":"allowed_tools","allowed_tools":)" +
        std::string(value) + "}");
  };
  EXPECT_EQ(allowed(R"({"mode":"auto","tools":[{"type":"function","function":{"name":"b"}}]})"), "accepted");
  EXPECT_EQ(allowed(R"({"mode":"x","tools":[]})"), "invalid_value|tool_choice.allowed_tools.mode");
  EXPECT_EQ(allowed(R"({"mode":"auto","tools":[]})"), "invalid_value|tool_choice.allowed_tools.tools");
  EXPECT_EQ(allowed(R"({"mode":"auto","tools":[{"name":"b"}]})"), "invalid_value|tool_choice.allowed_tools.tools[0]");
  EXPECT_EQ(allowed(R"({"mode":"auto","tools":[{"function":{"name":"c"}}]})"),
            "invalid_value|tool_choice.allowed_tools.tools[0]");
  EXPECT_EQ(chat_error(R"("stream_options":{})"), "invalid_value|stream_options");
  EXPECT_EQ(chat_error(R"("stream":true,"stream_options":{"include_usage":1})"),
            "invalid_value|stream_options.include_usage");
  EXPECT_EQ(chat_error(R"("top_logprobs":2)"), "invalid_value|top_logprobs");
  EXPECT_EQ(chat_error(R"("top_logprobs":0)"), "accepted");
  EXPECT_EQ(chat_error(R"("prompt_logprobs":1,"stream":true)"), "invalid_value|prompt_logprobs");
  EXPECT_EQ(chat_error(R"("add_generation_prompt":true,"continue_final_message":true)"),
            "invalid_value|continue_final_message");
  EXPECT_EQ(chat_error(R"("continue_final_message":true)"), "accepted");
  EXPECT_EQ(chat_error(R"("min_tokens":9,"max_tokens":8)"), "invalid_value|min_tokens");
  EXPECT_EQ(chat_error(R"("min_new_tokens":9,"max_completion_tokens":8)"), "invalid_value|min_new_tokens");
  EXPECT_EQ(chat_error(R"("max_tokens":-1)"), "invalid_value|max_tokens");
  EXPECT_EQ(chat_error(R"("max_completion_tokens":"8")"), "invalid_value|max_completion_tokens");
  EXPECT_EQ(chat_error(R"("n_predict":-2)"), "invalid_value|n_predict");
  EXPECT_EQ(chat_error(R"("best_of":2,"n":2)"), "accepted");
  EXPECT_EQ(chat_error(R"("best_of":3,"n":2)"), "accepted");
  EXPECT_EQ(chat_error(R"("best_of":3,"n":2,"stream":true)"), "invalid_value|best_of");
  EXPECT_EQ(chat_error(R"("best_of":2,"n":2,"stream":true)"), "accepted");
  EXPECT_EQ(chat_error(R"("use_beam_search":true,"best_of":4,"n":2)"), "accepted");
  EXPECT_EQ(chat_error(R"("beam_width":4,"n":2,"early_stopping":true,"length_penalty":0.5)"), "accepted");
  EXPECT_EQ(chat_error(R"("beam_width":2,"n":3)"), "invalid_value|beam_width");
  EXPECT_EQ(chat_error(R"("beam_width":2,"stream":true)"), "invalid_value|stream");
  EXPECT_EQ(chat_error(R"("num_beams":2,"logprobs":true)"), "unsupported_parameter|logprobs");
  for (std::string ignored :
       {R"("logit_bias":{"5":1})", R"("allowed_token_ids":[5])", R"("bad_words":["x"])", R"("bad_token_ids":[5])",
        R"("dry_multiplier":1)", R"("min_tokens":2)", R"("no_repeat_ngram_size":3)"}) {
    std::string name = ignored.substr(1, ignored.find(':') - 2);
    EXPECT_EQ(chat_error(R"("use_beam_search":true,"n":2,)" + ignored), "unsupported_parameter|" + name);
  }
  EXPECT_EQ(chat_error(R"("beam_width":2,"presence_penalty":1)"), "unsupported_parameter|penalties");
  EXPECT_EQ(chat_error(R"("logprob_token_ids":[5])"), "invalid_value|logprob_token_ids");
  EXPECT_EQ(chat_error(R"("token_ids_logprob":[5],"logprobs":false)"), "invalid_value|token_ids_logprob");
  EXPECT_EQ(chat_error(R"("logprob_token_ids":[5],"logprobs":true)"), "accepted");
  EXPECT_EQ(chat_error(R"("logprob_token_ids":[])"), "accepted");
  EXPECT_EQ(chat_error(R"("post_sampling_probs":true,"best_of":2)"), "invalid_value|post_sampling_probs");
  EXPECT_EQ(chat_error(R"("post_sampling_probs":true,"logprobs":true)"), "accepted");
  EXPECT_EQ(chat_error(R"("allowed_token_ids":[])"), "no_token_allowed|allowed_token_ids");
  EXPECT_EQ(chat_error(R"("chat_template":"x")"), "chat_template_disabled|chat_template");
  EXPECT_EQ(chat_error(R"("model":"gpt")"), "model_not_found|model");
  EXPECT_EQ(chat_error(R"("model":"")"), "model_not_found|model");
  EXPECT_EQ(chat_error(R"("response_format":{"type":"text"})"), "accepted");
  EXPECT_EQ(chat_error(R"("response_format":{"type":"json_object"})"), "accepted");
}

TEST(FieldsTest, BodyMustBeAnObjectWithinTheLimits) {
  EXPECT_EQ(parse_body("[]", kLimits).error().message, "body must be an object");
  EXPECT_EQ(parse_body("{", kLimits).error().code, ErrorCode::kInvalidJson);
  EXPECT_EQ(parse_body(R"({"a":1,"a":2})", kLimits).error().code, ErrorCode::kDuplicateKey);
  std::string deep(193, '[');
  EXPECT_THAT(parse_body("{\"a\":" + deep, kLimits).error().message, HasSubstr("at byte 197: nesting deeper than 192"));
  EXPECT_TRUE(parse_body("{}", kLimits).ok());
}

}  // namespace
}  // namespace millrace::api
