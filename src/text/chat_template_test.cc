// Chat templates against texts rendered by transformers (tools/golden/templates.py), then the limits of ROBUSTNESS.md
// 5.4 and the marks of user text.
#include "text/chat_template.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace millrace::text {
namespace {

using ::testing::HasSubstr;

const char* const kFolder = MILLRACE_SOURCE_DIR "/tests/golden/data/templates/";
constexpr size_t kMaxFile = 4 << 20;

const Json& golden() {
  static const Json json = parse_json(read_file(std::string(kFolder) + "expected.json", kMaxFile).value()).value();
  return json;
}

// An input of templates.py: known keys go to their members, all others are template variables.
Conversation conversation_of(const Json& input) {
  Conversation out;
  for (const auto& member : input.as_object().members) {
    const Json& value = member.second;
    if (member.first == "messages") {
      out.messages = value;
    } else if (member.first == "tools") {
      out.tools = value;
    } else if (member.first == "add_generation_prompt") {
      out.add_generation_prompt = value.as_bool();
    } else if (member.first == "continue_final_message") {
      out.continue_final_message = value.as_bool();
    } else {
      out.kwargs.set(member.first, value);
    }
  }
  out.bos_token = golden().find("bos_token")->as_string();
  out.eos_token = golden().find("eos_token")->as_string();
  out.now_unix = golden().find("now_unix")->as_int();
  return out;
}

const Json& input_named(const std::string& name) {
  for (const Json& entry : golden().find("cases")->as_array()) {
    if (entry.find("name")->as_string() == name) return *entry.find("input");
  }
  return golden();
}

TEST(ChatTemplateGoldenTest, EveryTemplateAndConversation) {
  size_t n_cases = 0;
  for (const auto& entry : golden().find("templates")->as_object().members) {
    std::string source = read_file(kFolder + entry.first + ".jinja", kMaxFile).value();
    auto parsed = ChatTemplate::parse(source, Limits());
    ASSERT_TRUE(parsed.ok()) << entry.first << ": " << parsed.error().message;
    for (const Json& golden_case : entry.second.as_array()) {
      const std::string& name = golden_case.find("name")->as_string();
      auto got = parsed->render(conversation_of(input_named(name)));
      ++n_cases;
      if (const Json* text = golden_case.find("text")) {
        ASSERT_TRUE(got.ok()) << entry.first << " " << name << ": " << got.error().message;
        EXPECT_EQ(got->text, text->as_string()) << entry.first << " " << name;
        continue;
      }
      ASSERT_FALSE(got.ok()) << entry.first << " " << name << " should fail, gives " << got->text;
      if (const Json* error = golden_case.get("error")) {
        EXPECT_EQ(got.error().message, error->as_string()) << entry.first << " " << name;
      }
    }
  }
  EXPECT_GT(n_cases, 400u);
}

TEST(ChatTemplateGoldenTest, Snippets) {
  Json input = parse_json(R"({"s":"Ab cd-ef","d":{"b":1,"a":[1,2.0,null],"items":"x"},"n":[3,1,2]})").value();
  input.set("u", "h\xC3\xA9\xC3\x9F\xE6\x97\xA5\xF0\x9F\x98\x80");
  input.set("messages", Json(JsonArray(input_named("turns").find("messages")->as_array().begin(),
                                       input_named("turns").find("messages")->as_array().begin() + 3)));
  input.set("tools", Json(JsonArray{input_named("tools").find("tools")->as_array()[0]}));
  Conversation conversation = conversation_of(input);
  for (const Json& snippet : golden().find("snippets")->as_array()) {
    const std::string& source = snippet.as_array()[0].as_string();
    const Json& expected = snippet.as_array()[1];
    auto parsed = ChatTemplate::parse(source, Limits());
    if (!parsed.ok()) {
      EXPECT_TRUE(expected.is_null()) << source << "\n" << parsed.error().message;
      continue;
    }
    auto got = parsed->render(conversation);
    if (expected.is_null()) {
      EXPECT_FALSE(got.ok()) << source << "\ngives " << (got.ok() ? got->text : "");
    } else if (!got.ok()) {
      ADD_FAILURE() << source << "\n" << got.error().message;
    } else {
      EXPECT_EQ(got->text, expected.as_string()) << source;
    }
  }
}

Conversation chat_of(std::string_view messages) {
  Conversation out;
  out.messages = parse_json(messages).value();
  out.bos_token = "<s>";
  return out;
}

// The marked pieces of a rendering, joined with |.
std::string marked(std::string_view source, const Conversation& conversation) {
  auto parsed = ChatTemplate::parse(std::string(source), Limits());
  if (!parsed.ok()) return parsed.error().message;
  auto got = parsed->render(conversation);
  if (!got.ok()) return got.error().message;
  std::string out;
  size_t last = 0;
  for (const ByteRange& range : got->literal) {
    EXPECT_LE(last, range.begin);
    EXPECT_LT(range.begin, range.end);
    EXPECT_LE(range.end, got->text.size());
    last = range.end;
    out += (out.empty() ? "" : "|") + got->text.substr(range.begin, range.end - range.begin);
  }
  return out;
}

TEST(ChatTemplateMarksTest, UserTextStaysMarkedThroughEveryOperation) {
  Conversation chat = chat_of(R"([{"role":"user","content":" <|x|> a"}])");
  auto content = [&](std::string_view expression) {
    return marked("<s>{{ " + std::string(expression) + " }}</s>", chat);
  };
  EXPECT_EQ(content("messages[0].content"), " <|x|> a");
  EXPECT_EQ(content("'<' + messages[0].content|trim + '>'"), "<|x|> a");
  EXPECT_EQ(content("messages[0].content.replace('x', 'YY')"),
            " <||"
            "|> a");
  EXPECT_EQ(content("messages[0].content.split('|')[1]"), "x");
  EXPECT_EQ(content("['a', messages[0].content]|join('-')"), " <|x|> a");
  EXPECT_EQ(content("messages[0].content|upper"), " <|X|> A");
  EXPECT_EQ(content("messages[0].content[1:4]"), "<|x");
  EXPECT_EQ(content("messages[0].content ~ messages[0].content"), " <|x|> a <|x|> a");
  EXPECT_EQ(content("messages[0].content|tojson"), " <|x|> a");
  EXPECT_EQ(content("messages[0].content|indent(2)"), " <|x|> a");
  EXPECT_EQ(content("'plain'"), "");
  EXPECT_EQ(content("[messages[0].content]"), " <|x|> a");
  EXPECT_EQ(
      marked(
          "{% set x %}[{{ messages[0].content }}]{% endset %}{{ x }}{% macro m(t) %}({{ t }}){% endmacro %}{{ m(x) }}",
          chat),
      " <|x|> a| <|x|> a");
}

TEST(ChatTemplateMarksTest, RolesAreNotMarkedButOtherFieldsAre) {
  Conversation chat = chat_of(R"([{"role":"user","content":"x","name":"<|n|>"}])");
  EXPECT_EQ(marked("<|{{ messages[0].role }}|>{{ messages[0].name }}", chat), "<|n|>");
  chat = chat_of(R"([{"role":"u><|x|>","content":"x"}])");
  EXPECT_EQ(marked("<|{{ messages[0].role }}|>", chat), "u><|x|>");
  chat.kwargs.set("date", "<|d|>");
  EXPECT_EQ(marked("{{ date }}{{ bos_token }}", chat), "<|d|>");
}

TEST(ChatTemplateMarksTest, ContinuedMessageEndsInsideItsMark) {
  Conversation chat = chat_of(R"([{"role":"assistant","content":"So "}])");
  chat.continue_final_message = true;
  EXPECT_EQ(marked("<a>{{ messages[0].content }}</a>", chat), "So ");
  EXPECT_EQ(marked("<a>{{ messages[0].content|trim }}</a>", chat), "So");
  EXPECT_THAT(marked("<a>{{ messages[0].role }}</a>content", chat), HasSubstr("does not appear in the chat"));
  chat = chat_of(R"([{"role":"assistant","content":null}])");
  chat.continue_final_message = true;
  EXPECT_THAT(marked("{{ messages[0].content }}", chat), HasSubstr("no \"content\" to continue"));
}

TEST(ChatTemplateTest, PartsAreJoinedUnlessTheTemplateReadsThem) {
  Conversation parts =
      chat_of(R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
  Conversation text = chat_of(R"([{"role":"user","content":"ab"}])");
  auto render = [](const char* source, const Conversation& chat) {
    return ChatTemplate::parse(source, Limits())->render(chat)->text;
  };
  EXPECT_EQ(render("{{ messages[0].content }}", parts), "a\nb");
  const char* reads = "{% for p in messages[0]['content'] %}({{ p.text }}){% endfor %}";
  EXPECT_EQ(render(reads, parts), "(a)(b)");
  EXPECT_EQ(render(reads, text), "(ab)");
  const char* reads_both =
      "{% if messages[0].content is string %}{{ messages[0].content }}{% else %}{% for p in messages[0].content %}({{ "
      "p.text }}){% endfor %}{% endif %}";
  EXPECT_EQ(render(reads_both, text), "ab");
  EXPECT_EQ(render(reads_both, parts), "(a)(b)");
  EXPECT_TRUE(ChatTemplate::parse(reads, Limits())->wants_content_parts());
  EXPECT_FALSE(ChatTemplate::parse("{{ messages }}", Limits())->wants_content_parts());
}

TEST(ChatTemplateTest, ErrorsNameTheLine) {
  auto error = [](const char* source) {
    auto parsed = ChatTemplate::parse(source, Limits());
    if (!parsed.ok()) return parsed.error().message;
    auto got = parsed->render(chat_of("[]"));
    return got.ok() ? "fine: " + got->text : got.error().message;
  };
  EXPECT_EQ(error("a\n\n{{ 1|foo }}"), "template line 3: unknown filter \"foo\"");
  EXPECT_EQ(error("\n{{ nope.x }}"), "template line 2: 'nope' is undefined");
  EXPECT_EQ(error("{{ {}.x.y }}"), "template line 1: 'dict object' has no attribute 'x'");
  EXPECT_EQ(error("{{ [][1].y }}"), "template line 1: list object has no element 1");
  EXPECT_EQ(error("{% if x %}\n{% endfor %}"), "template line 2: unknown tag \"endfor\"");
  EXPECT_EQ(error("{{ raise_exception('as it is') }}"), "as it is");
  EXPECT_EQ(error("{{ 1 / 0 }}"), "template line 1: division by zero");
  EXPECT_EQ(error("{% include 'x' %}"), "template line 1: unknown tag \"include\"");
}

}  // namespace
}  // namespace millrace::text
