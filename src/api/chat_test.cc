#include "api/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/completions.h"
#include "api/tokenize.h"
#include "tests/support/tiny_context.h"

namespace millrace::api {
namespace {

using support::json;
using support::kLimits;
using support::kNames;
const ParseContext kContext{.limits = kLimits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 128}};

std::string messages_error(std::string_view messages) {
  auto result = parse_chat(json(R"({"messages":)" + std::string(messages) + "}"), kContext);
  if (result.ok()) return "accepted";
  return std::string(error_slug(result.error().code)) + "|" + result.error().param;
}

std::string messages_text(std::string_view messages) {
  auto result = parse_chat(json(R"({"messages":)" + std::string(messages) + "}"), kContext);
  return result.ok() ? result->messages.dump() : result.error().message;
}

TEST(ChatTest, RolesAndContentAreChecked) {
  EXPECT_EQ(messages_error("[]"), "empty_prompt|messages");
  EXPECT_EQ(messages_error("null"), "missing_field|messages");
  EXPECT_EQ(messages_error("{}"), "invalid_value|messages");
  EXPECT_EQ(messages_error("[3]"), "invalid_value|messages[0]");
  EXPECT_EQ(messages_error(R"([{"content":"x"}])"), "invalid_value|messages[0].role");
  EXPECT_EQ(messages_error(R"([{"role":"user","content":"x"},{"role":"god","content":"x"}])"),
            "invalid_value|messages[1].role");
  EXPECT_EQ(messages_error(R"([{"role":{},"content":"x"}])"), "invalid_value|messages[0].role");
  EXPECT_EQ(messages_error(R"([{"role":"user"}])"), "invalid_value|messages[0].content");
  EXPECT_EQ(messages_error(R"([{"role":"user","content":null}])"), "invalid_value|messages[0].content");
  EXPECT_EQ(messages_error(R"([{"role":"user","content":3}])"), "invalid_value|messages[0].content");
  EXPECT_EQ(messages_error(R"([{"role":"assistant","content":null}])"), "accepted");
  EXPECT_EQ(messages_error(R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:"}}]}])"),
            "unsupported_parameter|messages[0].content[0]");
  EXPECT_EQ(messages_error(R"([{"role":"user","content":[{"type":"text"}]}])"),
            "invalid_value|messages[0].content[0].text");
  EXPECT_EQ(messages_error(R"([{"role":"user","content":[{"type":"what","text":"x"}]}])"),
            "invalid_value|messages[0].content[0].type");
  EXPECT_EQ(messages_error(R"([{"role":"tool","content":"x"}])"), "missing_field|messages[0].tool_call_id");
  std::string many = "[";
  for (int i = 0; i <= 4096; ++i) many += std::string(i ? "," : "") + R"({"role":"user","content":"x"})";
  EXPECT_EQ(messages_text(many + "]"), "messages: 4097 entries, limit 4096");
}

TEST(ChatTest, MessagesAreNormalised) {
  EXPECT_EQ(messages_text(R"([{"role":"user","content":["a",{"type":"text","text":"b","x":1}]}])"),
            R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
  EXPECT_EQ(messages_text(R"([{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f",)"
                          R"("arguments":"{\"a\":1}"}}]}])"),
            R"([{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f",)"
            R"("arguments":{"a":1}}}],"content":null}])");
  EXPECT_EQ(messages_text(R"([{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},)"
                          R"({"role":"function","name":"f","content":"r"}])"),
            R"([{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"},"tool_calls":)"
            R"([{"id":"function_call","type":"function","function":{"name":"f","arguments":{}}}]},)"
            R"({"role":"tool","name":"f","content":"r","tool_call_id":"function_call"}])");
  EXPECT_EQ(messages_text(R"([{"role":"assistant","content":"a","reasoning":"r"}])"),
            R"([{"role":"assistant","content":"a","reasoning":"r","reasoning_content":"r"}])");
  std::string call = R"([{"role":"user","content":"x"},{"role":"assistant","tool_calls":[{"function":{"name":"f",)"
                     R"("arguments":"{"}}]}])";
  EXPECT_EQ(messages_text(call), "messages[1].tool_calls[0].function.arguments is not valid JSON");
}

TEST(ChatTest, TemplateArgumentsAreChecked) {
  auto error = [](std::string_view kwargs) {
    auto result = parse_chat(
        json(R"({"messages":[{"role":"user","content":"x"}],"chat_template_kwargs":)" + std::string(kwargs) + "}"),
        kContext);
    return result.ok() ? "accepted" : result.error().message;
  };
  EXPECT_EQ(error(R"({"enable_thinking":false})"), "accepted");
  EXPECT_EQ(error(R"({"messages":[]})"), "\"messages\" cannot be set through chat_template_kwargs");
  EXPECT_EQ(error(R"({"a b":1})"), "chat_template_kwargs: \"a b\" is not an identifier");
  std::string many = "{";
  for (int i = 0; i < 65; ++i) many += std::string(i ? "," : "") + "\"k" + std::to_string(i) + "\":1";
  EXPECT_EQ(error(many + "}"), "chat_template_kwargs: 65 keys, limit 64");
}

TEST(ChatTest, ContinueSwitchesTheGenerationPromptOff) {
  auto request = parse_chat(
      json(R"({"messages":[{"role":"assistant","content":"So"}],"continue_final_message":true,"echo":true})"),
      kContext);
  ASSERT_TRUE(request.ok());
  EXPECT_TRUE(request->continue_final_message);
  EXPECT_FALSE(request->add_generation_prompt);
  EXPECT_EQ(request->echo_text, "So");
}

std::string prompt_error(std::string_view prompt, std::string_view more = "") {
  auto result = parse_completion(json(R"({"prompt":)" + std::string(prompt) + std::string(more) + "}"), kContext);
  if (result.ok()) return "accepted " + std::to_string(result->prompts.size());
  return std::string(error_slug(result.error().code)) + "|" + result.error().param;
}

TEST(CompletionsTest, FourShapesOfPrompt) {
  EXPECT_EQ(prompt_error(R"("x")"), "accepted 1");
  EXPECT_EQ(prompt_error(R"(["x","y"])"), "accepted 2");
  EXPECT_EQ(prompt_error("[1,2]"), "accepted 1");
  EXPECT_EQ(prompt_error("[[1,2],[3]]"), "accepted 2");
  EXPECT_EQ(prompt_error(R"("")"), "empty_prompt|prompt");
  EXPECT_EQ(prompt_error("[]"), "empty_prompt|prompt");
  EXPECT_EQ(prompt_error("[[]]"), "empty_prompt|prompt[0]");
  EXPECT_EQ(prompt_error(R"(["x",""])"), "empty_prompt|prompt[1]");
  EXPECT_EQ(prompt_error("[1,1000]"), "token_out_of_range|prompt[1]");
  EXPECT_EQ(prompt_error("[1,-1]"), "token_out_of_range|prompt[1]");
  EXPECT_EQ(prompt_error("[1,1.5]"), "invalid_value|prompt[1]");
  EXPECT_EQ(prompt_error("[[1],[2,[3]]]"), "invalid_value|prompt[1][1]");
  EXPECT_EQ(prompt_error(R"(["x",[1]])"), "invalid_value|prompt[1]");
  EXPECT_EQ(prompt_error("{}"), "invalid_value|prompt");
  EXPECT_EQ(prompt_error("null"), "missing_field|prompt");
  EXPECT_EQ(prompt_error(R"("x")", R"(,"suffix":"y")"), "unsupported_parameter|suffix");
  EXPECT_EQ(prompt_error(R"("x")", R"(,"logprobs":true)"), "invalid_value|logprobs");
  EXPECT_EQ(prompt_error(Json(JsonArray(1025, Json("x"))).dump()), "too_many_prompts|prompt");
  EXPECT_EQ(prompt_error(Json(JsonArray(129, Json("x"))).dump(), R"(,"n":128)"), "invalid_value|n");
  auto request = parse_completion(json(R"({"prompt":"x","logprobs":2,"echo":true})"), kContext).value();
  EXPECT_EQ(request.common.sampling.n_logprobs, 2);
  EXPECT_TRUE(request.common.output.echo);
  EXPECT_TRUE(request.common.prompt.add_special_tokens);
}

// Joined pieces of about max_bytes; token 5 is "a", any other the byte FF.
std::string whole_reply(const TokenizeRequest& request, std::vector<TokenId> tokens, size_t max_bytes) {
  TokenizeReply reply(request, std::move(tokens), 128, [](TokenId id) { return id == 5 ? "a" : "\xFF"; });
  std::string out;
  bool more = true;
  while (more) {
    std::string piece;
    more = reply.append(piece, max_bytes);
    out += piece;
  }
  return out;
}

TEST(TokenizeTest, RepliesAreTheSameInAnyPieces) {
  for (const char* body : {R"({"prompt":"a"})", R"({"prompt":"a","return_token_strs":true})", R"({"content":"a"})",
                           R"({"content":"a","with_pieces":true})"}) {
    auto request = parse_tokenize(json(body), kContext).value();
    for (std::vector<TokenId> tokens : {std::vector<TokenId>{}, {5}, {5, 6, 5, 5, 7}}) {
      std::string whole = whole_reply(request, tokens, 1 << 20);
      EXPECT_TRUE(parse_json(whole).ok()) << whole;
      for (size_t max_bytes : {1u, 2u, 7u, 30u}) EXPECT_EQ(whole_reply(request, tokens, max_bytes), whole);
    }
  }
}

TEST(TokenizeTest, DialectByKey) {
  auto vllm = parse_tokenize(json(R"({"prompt":"a","return_token_strs":true})"), kContext).value();
  EXPECT_TRUE(vllm.dialect == TokenizeDialect::kVllm && vllm.add_special && vllm.with_pieces);
  EXPECT_EQ(whole_reply(vllm, {5, 6}, 1),
            "{\"count\":2,\"max_model_len\":128,\"tokens\":[5,6],\"token_strs\":[\"a\",\"\xEF\xBF\xBD\"]}");
  auto chat =
      parse_tokenize(json(R"({"messages":[{"role":"user","content":"x"}],"add_generation_prompt":false})"), kContext)
          .value();
  ASSERT_TRUE(chat.chat.has_value());
  EXPECT_FALSE(chat.add_special);
  EXPECT_FALSE(chat.chat->add_generation_prompt);
  auto llama = parse_tokenize(json(R"({"content":"a","with_pieces":true})"), kContext).value();
  EXPECT_TRUE(llama.dialect == TokenizeDialect::kLlama && !llama.add_special && llama.parse_special);
  EXPECT_EQ(whole_reply(llama, {5, 6}, 1000), R"({"tokens":[{"id":5,"piece":"a"},{"id":6,"piece":[255]}]})");
  EXPECT_EQ(parse_tokenize(json(R"({"inputs":"a"})"), kContext).error().code, ErrorCode::kMissingField);
  EXPECT_EQ(parse_tokenize(json(R"({"prompt":3})"), kContext).error().param, "prompt");
  EXPECT_EQ(parse_tokenize(json(R"({"prompt":"a","add_special_tokens":1})"), kContext).error().param,
            "add_special_tokens");
  EXPECT_EQ(parse_detokenize(json(R"({"tokens":[1,999]})"), kContext).value().tokens.size(), 2u);
  EXPECT_EQ(parse_detokenize(json(R"({"tokens":[1000]})"), kContext).error().code, ErrorCode::kTokenOutOfRange);
  EXPECT_EQ(parse_detokenize(json("{}"), kContext).error().code, ErrorCode::kMissingField);
}

TEST(TokenizeTest, EveryFieldRefusesEveryWrongType) {
  struct Row {
    bool detokenize;
    const char* rest;  // the other members
    const char* name;
    Json::Kind right;
  };
  using Kind = Json::Kind;
  const Row rows[] = {
      {false, "", "prompt", Kind::kString},
      {false, "", "content", Kind::kString},
      {false, "", "messages", Kind::kArray},
      {false, R"("prompt":"a",)", "model", Kind::kString},
      {false, R"("prompt":"a",)", "add_special_tokens", Kind::kBool},
      {false, R"("prompt":"a",)", "return_token_strs", Kind::kBool},
      {false, R"("content":"a",)", "add_special", Kind::kBool},
      {false, R"("content":"a",)", "parse_special", Kind::kBool},
      {false, R"("content":"a",)", "with_pieces", Kind::kBool},
      {false, R"("messages":[{"role":"user","content":"x"}],)", "add_generation_prompt", Kind::kBool},
      {false, R"("messages":[{"role":"user","content":"x"}],)", "continue_final_message", Kind::kBool},
      {false, R"("messages":[{"role":"user","content":"x"}],)", "chat_template_kwargs", Kind::kObject},
      {true, "", "tokens", Kind::kArray},
      {true, R"("tokens":[1],)", "model", Kind::kString},
  };
  for (const Row& row : rows) {
    for (const char* value : {"true", "1", "1.5", R"("gpt")", "[[1]]", "{}"}) {
      Json body = json("{" + std::string(row.rest) + "\"" + row.name + "\":" + value + "}");
      if (body.find(row.name)->kind() == row.right) continue;
      Error error;
      if (row.detokenize) {
        auto parsed = parse_detokenize(body, kContext);
        if (!parsed.ok()) error = parsed.error();
      } else {
        auto parsed = parse_tokenize(body, kContext);
        if (!parsed.ok()) error = parsed.error();
      }
      EXPECT_EQ(error.code, ErrorCode::kInvalidValue) << body.dump();
      EXPECT_EQ(error.param, row.name) << body.dump();
    }
  }
}

}  // namespace
}  // namespace millrace::api
