// Answers with calls in every format, each damaged at every byte: nothing that a model can write is lost or an error,
// and where the text is cut into pieces makes no difference.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/json.h"
#include "text/answer_parser.h"

namespace millrace::text {
namespace {

// What one parser says, as lines.
struct Said {
  std::string content;
  std::vector<std::string> calls;  // NAME ARGUMENTS
  bool operator==(const Said&) const = default;
};

Said parse(const ToolFormat& format, std::string_view text, size_t first, size_t piece) {
  AnswerOptions options;
  options.tools = &format;
  AnswerParser parser(options);
  std::vector<AnswerPart> parts;
  for (size_t at = 0; at < text.size();) {
    size_t n = at == 0 ? first : piece;
    parser.push(text.substr(at, n), parts);
    at += n;
  }
  parser.finish(parts);
  Said out;
  for (const AnswerPart& part : parts) {
    if (part.kind == AnswerPart::Kind::kCall) {
      out.calls.push_back(part.name + " " + part.arguments);
      EXPECT_TRUE(parse_json(part.arguments).ok()) << text;
    } else {
      out.content += part.text;
    }
  }
  return out;
}

std::string without_space(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (std::string_view(" \t\r\n").find(c) == std::string_view::npos) out += c;
  }
  return out;
}

// Quotes, braces and tags inside of texts, two bytes and four bytes of UTF-8, nesting.
constexpr std::string_view kArguments = R"({"q": "a } ] \" </tool_call> \\", "w": "gr\u00fcn gr)"
                                        "\xC3\xBC\xC3\x9F \xF0\x9F\x8C\x8A"
                                        R"(", "l": [{"x": [1.5e3, null]}, {}]})";

struct Sample {
  const char* format;
  std::string text;
  std::vector<std::string> calls;
};

std::vector<Sample> samples() {
  std::string a(kArguments);
  std::string call = R"({"name": "f", "arguments": )" + a + "}";
  std::string second = R"({"name": "g", "arguments": {}})";
  std::vector<std::string> both = {"f " + a, "g {}"};
  std::string wave = "gr\u00FCn \U0001F30A";
  std::string bar = "\uFF5C";
  std::string sep = "\u2581";
  auto tag = [&](std::string name) {
    std::replace(name.begin(), name.end(), ' ', '_');
    std::string out = "<" + bar;
    for (char c : name) out += c == '_' ? sep : std::string(1, c);
    return out + bar + ">";
  };
  std::string v31 = tag("tool call begin") + "f" + tag("tool sep") + a + tag("tool call end");
  return {
      {"hermes", "<tool_call>\n" + call + "\n</tool_call>\n<tool_call>\n" + second + "\n</tool_call>", both},
      {"llama3_json", R"({"name": "f", "parameters": )" + a + "}", {both[0]}},
      {"mistral", "[TOOL_CALLS][" + call + ", " + second + "]", both},
      {"mistral_args", "[TOOL_CALLS]f[ARGS]" + a + "[TOOL_CALLS]g[ARGS]{}", both},
      {"deepseek_v3",
       tag("tool calls begin") + tag("tool call begin") + "function" + tag("tool sep") + "f\n```json\n" + a + "\n```" +
           tag("tool call end") + tag("tool calls end"),
       {both[0]}},
      {"deepseek_v31", tag("tool calls begin") + v31 + tag("tool calls end"), {both[0]}},
      {"granite", "<|tool_call|>[" + call + ", " + second + "]", both},
      {"phi4_mini_json", "<|tool_call|>[" + call + "]<|/tool_call|>", {both[0]}},
      {"command_r", R"(<|START_ACTION|>[{"tool_name": "f", "parameters": )" + a + "}]<|END_ACTION|>", {both[0]}},
      {"functionary", "<function=f>" + a + "</function><function=g>{}</function>", both},
      {"functionary_v3_2", ">>>f\n" + a + ">>>g\n{}", both},
      {"firefunction", "functools[" + call + ", " + second + "]", both},
      {"generic", call, {both[0]}},
      {"pythonic",
       R"([f(q='a } ] " \' (', w=")" + wave + R"(", l=[{'x': [1.5e3, None]}]), g()])",
       {R"(f {"q":"a } ] \" ' (","w":")" + wave + R"(","l":[{"x":[1.5e3,null]}]})", "g {}"}},
      {"qwen3_coder",
       "<tool_call>\n<function=f>\n<parameter=q>\na } <b> \"\n</parameter>\n<parameter=n>\n[1, {}]\n</parameter>\n"
       "</function>\n</tool_call>",
       {R"(f {"q":"a } <b> \"","n":[1, {}]})"}},
      {"glm45",
       "<tool_call>f\n<arg_key>q</arg_key>\n<arg_value>a } <b> \"</arg_value>\n<arg_key>n</arg_key>\n"
       "<arg_value>[1, {}]</arg_value>\n</tool_call>",
       {R"(f {"q":"a } <b> \"","n":[1, {}]})"}},
      {"gemma4",
       R"(<|tool_call>call:f{q:<|"|>a } ] " \ <|"|>,l:[{x:[1.5e3,null]}]}<tool_call|>)",
       {R"(f {"q":"a } ] \" \\ ","l":[{"x":[1.5e3,null]}]})"}},
      {"functiongemma",
       R"(<start_function_call>call:f{q:<escape>a } ] "<escape>,n:{x:2}}<end_function_call>)",
       {R"(f {"q":"a } ] \"","n":{"x":2}})"}},
  };
}

TEST(AnswerMutations, EveryFormatHasASampleThatIsReadInEverySplit) {
  std::vector<Sample> all = samples();
  for (const ToolFormat& format : tool_formats()) {
    EXPECT_TRUE(std::ranges::any_of(all, [&](const Sample& one) { return format.name == one.format; })) << format.name;
  }
  for (const Sample& sample : all) {
    const ToolFormat& format = *find_tool_format(sample.format);
    Said want{.content = "", .calls = sample.calls};
    for (size_t cut = 1; cut <= sample.text.size(); ++cut) {
      EXPECT_EQ(parse(format, sample.text, cut, sample.text.size()), want) << format.name << " cut at " << cut;
    }
    EXPECT_EQ(parse(format, sample.text, 1, 1).calls, want.calls) << format.name;
  }
}

// A damaged text: where it has no call all of it is content, white space aside.
Said expect_nothing_lost(const ToolFormat& format, const std::string& text) {
  Said whole = parse(format, text, std::max<size_t>(text.size(), 1), 1);
  EXPECT_EQ(whole, parse(format, text, 1, 1)) << format.name << ": " << text;
  if (whole.calls.empty() && format.content_name.empty()) {
    EXPECT_EQ(without_space(whole.content), without_space(text)) << format.name;
  }
  return whole;
}

TEST(AnswerMutations, CutOffAtEveryByte) {
  for (const Sample& sample : samples()) {
    const ToolFormat& format = *find_tool_format(sample.format);
    for (size_t n = 0; n < sample.text.size(); ++n) expect_nothing_lost(format, sample.text.substr(0, n));
  }
}

TEST(AnswerMutations, WithoutEachByte) {
  for (const Sample& sample : samples()) {
    const ToolFormat& format = *find_tool_format(sample.format);
    for (size_t at = 0; at < sample.text.size(); ++at) {
      std::string text = sample.text;
      expect_nothing_lost(format, text.erase(at, 1));
    }
  }
}

// Something more at every byte: it is seen in what is said, be it in a call, in a name or in a text.
TEST(AnswerMutations, WithSomethingMoreAtEveryByte) {
  for (const Sample& sample : samples()) {
    const ToolFormat& format = *find_tool_format(sample.format);
    for (std::string_view more : {"Z", "}", "\"", "\xFF", "{\"Z\":"}) {
      for (size_t at = 0; at <= sample.text.size(); ++at) {
        std::string text = sample.text;
        text.insert(at, more);
        Said said = expect_nothing_lost(format, text);
        if (more != "Z") continue;
        bool seen = said.content.find('Z') != std::string::npos;
        for (const std::string& call : said.calls) seen = seen || call.find('Z') != std::string::npos;
        EXPECT_TRUE(seen) << format.name << ": " << text;
      }
    }
  }
}

}  // namespace
}  // namespace millrace::text
