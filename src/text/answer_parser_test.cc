// Content, reasoning and calls out of answers, whole and in every split; what is no call is text.
#include "text/answer_parser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace millrace::text {
namespace {

const ToolFormat* format(std::string_view name) { return find_tool_format(name); }

// Parts as one line: content as it is, reasoning in (( )), calls as [name arguments].
std::string shown(const std::vector<AnswerPart>& parts) {
  std::string out;
  AnswerPart::Kind last = AnswerPart::Kind::kContent;
  for (const AnswerPart& part : parts) {
    bool again = part.kind == last && !out.empty();
    if (last == AnswerPart::Kind::kReasoning && !again) out += "))";
    if (part.kind == AnswerPart::Kind::kReasoning && !again) out += "((";
    if (part.kind == AnswerPart::Kind::kCall) {
      out += "[" + part.name + (part.arguments.empty() ? "" : " " + part.arguments) + "]";
    } else {
      out += part.kind == AnswerPart::Kind::kArguments && !again ? "+" + part.text : part.text;
    }
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
               R"([f {"a": 1}])");
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
  expect_parts({.tools = format("mistral_args")}, R"([TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"a": 1}[TOOL_CALLS]g{})",
               R"([f {"a": 1}][g {}])");
  expect_parts({.tools = format("llama3_json")}, R"({"name": "f", "parameters": {"q": "x"}})", R"([f {"q": "x"}])");
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

TEST(AnswerParser, TagsAroundNames) {
  expect_parts({.tools = format("deepseek_v3")},
               "Hm.<\uFF5Ctool\u2581calls\u2581begin\uFF5C><\uFF5Ctool\u2581call\u2581begin\uFF5C>function<\uFF5Ctool"
               "\u2581sep\uFF5C>f\n```json\n{\"a\": 1}\n```<\uFF5Ctool\u2581call\u2581end\uFF5C>\n<\uFF5Ctool\u2581"
               "call\u2581begin\uFF5C>function<\uFF5Ctool\u2581sep\uFF5C>g\n```json\n{}\n```<\uFF5Ctool\u2581call"
               "\u2581end\uFF5C><\uFF5Ctool\u2581calls\u2581end\uFF5C>",
               "Hm.[f {\"a\": 1}][g {}]");
  expect_parts({.tools = format("functionary")}, R"(<function=f>{"a": 1}</function><function=g>{}</function>)",
               R"([f {"a": 1}][g {}])");
  expect_parts({.tools = format("functionary"), .in_call = false}, "if <function=x y>{} ok", "if <function=x y>{} ok");
  AnswerOptions recipient{.tools = format("functionary_v3_2"), .in_call = true};
  expect_parts(recipient, "all\nHello >>>f\n{\"a\": 1}", "Hello [f {\"a\": 1}]");
  expect_parts(recipient, "f\n{\"a\": 1}", "[f {\"a\": 1}]");
  expect_parts({.tools = format("command_r")},
               "<|START_ACTION|>[\n{\"tool_call_id\": \"0\", \"tool_name\": \"f\", \"parameters\": {\"q\": [1, 2]}}\n]"
               "<|END_ACTION|>",
               "[f {\"q\": [1, 2]}]");
  expect_parts({.tools = format("granite")}, R"(<|tool_call|>[{"name": "f", "arguments": {"a": {"b": "]}"}}}])",
               R"([f {"a": {"b": "]}"}}])");
  expect_parts({.tools = format("firefunction")}, R"( functools[{"name": "f", "arguments": {}}])", "[f {}]");
}

TEST(AnswerParser, WaysThatAreNotJson) {
  AnswerOptions pythonic{.tools = format("pythonic")};
  expect_parts(pythonic, R"([f(a=1, b='it\'s', c=[True, None], d={"k": 2.5}), g()])",
               R"([f {"a":1,"b":"it's","c":[true,null],"d":{"k":2.5}}][g {}])");
  expect_parts(pythonic, "[1, 2, 3]", "[1, 2, 3]");
  expect_parts(pythonic, "[f(a=1]", "[f(a=1]");
  expect_parts(pythonic, R"([{"name": "f", "parameters": {}}])", "[f {}]");
  AnswerOptions tagged{.tools = format("qwen3_coder")};
  expect_parts(tagged,
               "<tool_call>\n<function=f>\n<parameter=a>\n12\n</parameter>\n<parameter=b>\ntwo\nlines\n</parameter>\n"
               "</function>\n</tool_call>",
               R"([f {"a":12,"b":"two\nlines"}])");
  expect_parts(tagged, "<tool_call> is a tag", "<tool_call> is a tag");
  expect_parts({.tools = format("glm45")}, "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x</arg_value>\n</tool_call>",
               R"([f {"a":"x"}])");
  expect_parts({.tools = format("gemma4")}, R"(<|tool_call>call:f{a:<|"|>x, y<|"|>,b:[1,true],c:{d:2}}<tool_call|>)",
               R"([f {"a":"x, y","b":[1,true],"c":{"d":2}}])");
  expect_parts({.tools = format("gemma")}, "<start_function_call>call:f{a:<escape>x<escape>}<end_function_call>",
               R"([f {"a":"x"}])");
  expect_parts({.tools = format("gemma")}, "<start_function_call>call:f{a:}<end_function_call>",
               "<start_function_call>call:f{a:}<end_function_call>");
}

TEST(AnswerParser, OnlyToolsThatWereOffered) {
  AnswerOptions options{.tools = format("hermes"),
                        .names = std::make_shared<std::vector<std::string>>(std::vector<std::string>{"f"})};
  expect_parts(options, "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", "[f {}]");
  std::string other = "<tool_call>{\"name\":\"g\",\"arguments\":{}}</tool_call>";
  expect_parts(options, other, other);
}

TEST(AnswerParser, CallsBehindReasoning) {
  AnswerOptions options{.tools = format("hermes"), .reasoning = {"<think>", "</think>"}};
  expect_parts(options, "<think>\nso\n</think>\n\n<tool_call>\n{\"name\":\"f\",\"arguments\":{}}\n</tool_call>",
               "((so))[f {}]");
  expect_parts(options, "<think>\nso\n</think>\n\nWell.", "((so))Well.");
  options.reasoning.always = true;
  expect_parts(options, "so</think>Well.", "((so))Well.");
  expect_parts(options, "<think>so</think>Well.", "((so))Well.");
  expect_parts(options, "<thin air", "((<thin air))");
}

TEST(AnswerParser, StreamedArguments) {
  AnswerOptions options{.tools = format("hermes"), .stream_arguments = true};
  expect_parts(options,
               "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}\\\"{\"}}\n</tool_call>\n<tool_call>\n"
               "{\"name\": \"g\", \"arguments\": {}}\n</tool_call>",
               "[f]+{\"a\": \"}\\\"{\"}[g]+{}");
  expect_parts(options, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, ", "[f]+{\"a\": [1, ");
  expect_parts(options, "<tool_call>\n{\"name\": \"f", "<tool_call>\n{\"name\": \"f");
  expect_parts({.tools = format("mistral"), .stream_arguments = true},
               R"([TOOL_CALLS][{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}])",
               R"([f]+{"a": 1}[g]+{})");
  expect_parts({.tools = format("llama3_json"), .stream_arguments = true},
               R"({"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}})", R"([f]+{"a": 1}[g]+{})");
  expect_parts({.tools = format("mistral_args"), .stream_arguments = true}, R"([TOOL_CALLS]f[ARGS]{"a": 1})",
               R"([f]+{"a": 1})");
  expect_parts({.tools = format("command_r"), .stream_arguments = true},
               R"(<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "f", "parameters": {"a": 1}}]<|END_ACTION|>)",
               R"([f]+{"a": 1})");
}

// Any text in any pieces says the same, and what is not in a part is tags, white space or the frame of a call.
TEST(AnswerParser, NothingIsLostInAnySplit) {
  constexpr std::string_view kBits[] = {"<tool_call>",
                                        "</tool_call>",
                                        "<think>",
                                        "</think>",
                                        "{\"name\": \"f\", ",
                                        "\"arguments\": {\"a\": 1}}",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        "\"",
                                        "x",
                                        " ",
                                        "\n",
                                        "[TOOL_CALLS]",
                                        "<function=f>",
                                        "</function>",
                                        "call:f{a:1}",
                                        ";",
                                        "f(a=1)",
                                        "<parameter=a>",
                                        "</parameter>",
                                        "<|tool_call>",
                                        "<tool_call|>",
                                        ">>>",
                                        "all\n"};
  uint64_t seed = 7;
  auto random = [&](size_t n) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return static_cast<size_t>(seed >> 33) % n;
  };
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (size_t n = random(14); n > 0; --n) text += kBits[random(std::size(kBits))];
    const ToolFormat& tools = tool_formats()[random(tool_formats().size())];
    AnswerOptions options{.tools = &tools, .reasoning = {"<think>", "</think>"}};
    options.stream_arguments = random(4) == 0;
    AnswerParser parser(options);
    std::vector<AnswerPart> parts;
    for (size_t at = 0; at < text.size();) {
      size_t n = std::min(text.size() - at, 1 + random(9));
      parser.push(std::string_view(text).substr(at, n), parts);
      at += n;
    }
    parser.finish(parts);
    ASSERT_EQ(shown(parts), parse(options, text, std::max<size_t>(text.size(), 1))) << tools.name << ": " << text;
    if (parser.n_calls() > 0) continue;
    std::string kept;
    for (const AnswerPart& part : parts) kept += part.text;
    size_t at = 0;
    for (char c : text) at += at < kept.size() && kept[at] == c ? size_t{1} : size_t{0};
    ASSERT_EQ(at, kept.size()) << tools.name << ": " << text;  // what is kept is in its order
    auto count = [](std::string_view in, char c) { return std::ranges::count(in, c); };
    ASSERT_EQ(count(text, 'x'), count(kept, 'x')) << tools.name << ": " << text;
    ASSERT_EQ(count(text, '"'), count(kept, '"')) << tools.name << ": " << text;
  }
}

TEST(AnswerParser, LinearOnHostileText) {
  AnswerOptions options{.tools = format("hermes")};
  std::string brackets = "<tool_call>" + std::string(1 << 20, '[');
  EXPECT_EQ(parse(options, brackets, 4096), brackets);
  std::string tags;
  for (int i = 0; i < 20'000; ++i) tags += "<tool_call>";
  EXPECT_EQ(parse(options, tags, 11), tags);
  EXPECT_EQ(parse(options, tags, tags.size()), tags);
  std::string space(1 << 18, ' ');
  EXPECT_EQ(parse(options, space, 1), space);
}

TEST(AnswerParser, FormatsByTemplateAndName) {
  EXPECT_EQ(tool_format_of("{{ messages }}"), nullptr);
  EXPECT_EQ(tool_format_of("{% if tools %}<tool_call>")->name, "hermes");
  EXPECT_EQ(tool_format_of("{% if tools %}<tool_call><function=<parameter=")->name, "qwen3_coder");
  EXPECT_EQ(tool_format_of("{% if tools %}[TOOL_CALLS]")->name, "mistral");
  EXPECT_EQ(tool_format_of("{% if tools %}[TOOL_CALLS] [ARGS]")->name, "mistral_args");
  EXPECT_EQ(tool_format_of("{% if tools %}")->name, "generic");
  EXPECT_EQ(reasoning_tags_of("x</think>y").open, "<think>");
  EXPECT_TRUE(reasoning_tags_of("x").close.empty());
  for (const ToolFormat& one : tool_formats()) EXPECT_EQ(find_tool_format(one.name), &one);
  for (const char* name : {"qwen", "llama3_json", "llama4_pythonic", "deepseek", "gemma", "granite", "phi", "command_r",
                           "functionary", "granite-20b-fc", "qwen3_xml"}) {
    EXPECT_NE(find_tool_format(name), nullptr) << name;
  }
  EXPECT_EQ(find_tool_format("none such"), nullptr);
  EXPECT_EQ(find_tool_format(""), nullptr);
  EXPECT_TRUE(find_reasoning("deepseek_r1").always);
  EXPECT_TRUE(find_reasoning("none such").close.empty());
}

}  // namespace
}  // namespace millrace::text
