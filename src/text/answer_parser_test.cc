// Content, reasoning and calls out of answers, whole and in every split; what is no call is text.
#include "text/answer_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace millrace::text {
namespace {

const ToolFormat* format(std::string_view name) {
  for (const ToolFormat& one : tool_formats()) {
    if (one.name == name) return &one;
  }
  return nullptr;
}

// Parts as one line: content as it is, reasoning in (( )), calls as [name arguments].
std::string shown(const std::vector<AnswerPart>& parts) {
  std::string out;
  AnswerPart::Kind last = AnswerPart::Kind::kContent;
  for (const AnswerPart& part : parts) {
    bool again = part.kind == last && !out.empty();
    if (last == AnswerPart::Kind::kReasoning && !again) out += "))";
    if (part.kind == AnswerPart::Kind::kReasoning && !again) out += "((";
    out += part.kind == AnswerPart::Kind::kCall ? "[" + part.name + " " + part.arguments + "]" : part.text;
    last = part.kind;
  }
  return last == AnswerPart::Kind::kReasoning && !out.empty() ? out + "))" : out;
}

std::string parse(const AnswerOptions& options, std::string_view text, size_t piece) {
  AnswerParser parser(options);
  std::vector<AnswerPart> parts;
  for (size_t at = 0; at < text.size(); at += piece) parser.push(text.substr(at, piece), parts);
  parser.finish(parts);
  return shown(parts);
}

void expect_parts(const AnswerOptions& options, std::string_view text, std::string_view want) {
  for (size_t piece : {text.size(), size_t{1}, size_t{2}, size_t{3}, size_t{7}}) {
    EXPECT_EQ(parse(options, text, std::max<size_t>(piece, 1)), want) << text << " in pieces of " << piece;
  }
}

TEST(AnswerParser, HermesCalls) {
  AnswerOptions options{.tools = format("hermes")};
  expect_parts(options, R"(<tool_call>
{"name": "f", "arguments": {"a": 1}}
</tool_call>)",
               R"([f {"a":1}])");
  expect_parts(options,
               "Let me "
               "see.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</"
               "tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":{\"x\":\"}</tool_call>\"}}</tool_call>",
               "Let me see.\n[f {}][g {\"x\":\"}</tool_call>\"}]");
  expect_parts(options, "a <b> c <tool", "a <b> c <tool");
}

TEST(AnswerParser, WhatIsNoCallIsText) {
  AnswerOptions options{.tools = format("hermes")};
  for (const char* text : {"<tool_call>{\"name\": \"f\", \"argum", "<tool_call>nothing</tool_call>",
                           "<tool_call>{\"name\":1,\"arguments\":{}}</tool_call>", "<tool_call>{]}</tool_call>",
                           "<tool_call>{\"arguments\":{}}</tool_call> and more", "</tool_call>",
                           "{\"name\":\"f\",\"arguments\":{}}", "<tool_call><tool_call>"}) {
    expect_parts(options, text, text);
  }
}

TEST(AnswerParser, OtherFormats) {
  expect_parts({.tools = format("mistral")},
               R"([TOOL_CALLS][{"name":"f","arguments":{"a":[1,2]}},{"name":"g","arguments":{}}])",
               R"([f {"a":[1,2]}][g {}])");
  expect_parts({.tools = format("llama3_json")}, R"({"name": "f", "parameters": {"q": "x"}})", R"([f {"q":"x"}])");
  expect_parts({.tools = format("llama3_json")}, R"(<|python_tag|>{"name": "f", "parameters": {}})", R"([f {}])");
  expect_parts({.tools = format("generic")}, " \n{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}\n", R"([f {"a":1}])");
  expect_parts({.tools = format("generic")}, "{\"answer\": 42}", "{\"answer\": 42}");
  expect_parts({.tools = format("generic")}, "Text {\"name\":\"f\",\"arguments\":{}}",
               "Text {\"name\":\"f\",\"arguments\":{}}");
}

TEST(AnswerParser, Reasoning) {
  AnswerOptions options{.tools = format("hermes"), .reasoning = {"<think>", "</think>"}};
  expect_parts(options, "<think>so <b></think>yes", "((so <b>))yes");
  expect_parts(options, "<think>never closed", "((never closed))");
  expect_parts(options, "plain", "plain");
  expect_parts(options, "said <think> in passing", "said <think> in passing");
  options.in_reasoning = true;
  expect_parts(options, "so</thi</think><tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", "((so</thi))[f {}]");
}

TEST(AnswerParser, LinearOnHostileText) {
  AnswerOptions options{.tools = format("hermes")};
  std::string brackets = "<tool_call>" + std::string(1 << 20, '[');
  EXPECT_EQ(parse(options, brackets, 4096), brackets);
  std::string tags;
  for (int i = 0; i < 20'000; ++i) tags += "<tool_call>";
  EXPECT_EQ(parse(options, tags, 11), tags);
}

TEST(AnswerParser, FormatsByTemplate) {
  EXPECT_EQ(tool_format_of("{{ messages }}"), nullptr);
  EXPECT_EQ(tool_format_of("{% if tools %}<tool_call>")->name, "hermes");
  EXPECT_EQ(tool_format_of("{% if tools %}[TOOL_CALLS]")->name, "mistral");
  EXPECT_EQ(tool_format_of("{% if tools %}")->name, "generic");
  EXPECT_EQ(reasoning_tags_of("x</think>y").open, "<think>");
  EXPECT_TRUE(reasoning_tags_of("x").close.empty());
}

}  // namespace
}  // namespace millrace::text
