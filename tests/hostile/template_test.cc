// Rows J01 to J11 of the bad-input list: every template ends in an exact error or a text, within its limits, on a
// stack of 256 KiB.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "tests/hostile/small_stack.h"
#include "text/chat_template.h"

namespace millrace::text {
namespace {

using ::millrace::testing::on_small_stack;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string repeat(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

// The error, or "text:" and what was rendered.
std::string outcome(const std::string& source, const char* messages = R"([{"role":"user","content":"hi"}])") {
  std::string out;
  on_small_stack([&] {
    auto parsed = ChatTemplate::parse(source, Limits());
    if (!parsed.ok()) {
      out = parsed.error().message;
      return;
    }
    Conversation conversation;
    conversation.messages = parse_json(messages).value();
    auto got = parsed->render(conversation);
    out = got.ok() ? "text:" + got->text : got.error().message;
  });
  return out;
}

TEST(HostileTemplateTest, J01Ranges) {
  EXPECT_EQ(outcome("{% for i in range(10**9) %}x{% endfor %}"),
            "template line 1: range of 1000000000 items, limit 100000");
  EXPECT_THAT(outcome("{{ range(-9223372036854775807, 9223372036854775807) }}"), HasSubstr("limit 100000"));
  EXPECT_THAT(outcome("{{ range(0, 10**18, -1)|length }}"), StartsWith("text:0"));
  EXPECT_THAT(outcome("{{ range(100000)|length }}"), StartsWith("text:100000"));
}

TEST(HostileTemplateTest, J02Steps) {
  std::string loops = repeat("{% for i in range(999) %}", 4) + "x" + repeat("{% endfor %}", 4);
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(outcome(loops), "chat template exceeded 1000000 steps");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(2)) << "999^4 steps take hours";
}

TEST(HostileTemplateTest, J03Recursion) {
  EXPECT_THAT(outcome("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"), HasSubstr("macro nesting deeper than 64"));
  EXPECT_THAT(outcome("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}"),
              HasSubstr("macro nesting deeper than 64"));
  std::string deep = "{% macro m(n) %}" + repeat("{% if 1 %}", 30) + "{{ [m(n + (1 + (2 + (3 * 4))))|trim|upper] }}" +
                     repeat("{% endif %}", 30) + "{% endmacro %}{{ m(1) }}";
  EXPECT_THAT(outcome(deep), HasSubstr("nesting deeper than"));
  EXPECT_THAT(
      outcome("{% macro m() %}{% for i in [1] %}{% call m() %}x{% endcall %}{% endfor %}{% endmacro %}{{ m() }}"),
      HasSubstr("macro nesting deeper than 64"));
  EXPECT_THAT(outcome("{% for x in messages recursive %}{{ loop(x) }}{% endfor %}"),
              HasSubstr("recursive loops are not supported"));
}

TEST(HostileTemplateTest, J04Nesting) {
  for (auto [open, close] :
       {std::pair("(", ")"), std::pair("[", "]"), std::pair("-(", ")"), std::pair("not (", ")"), std::pair("{1:", "}"),
        std::pair("1+(", ")"), std::pair("x[", "]"), std::pair("f(", ")"), std::pair("1 if 1 else (", ")")}) {
    for (size_t n : {size_t{150}, size_t{100000}}) {
      EXPECT_THAT(outcome("{{ " + repeat(open, n) + "1" + repeat(close, n) + " }}"),
                  HasSubstr("template nesting deeper than 128 at line 1"))
          << open;
    }
  }
  for (const char* prefix : {"not ", "-", "+"})
    EXPECT_THAT(outcome("{{ " + repeat(prefix, 100000) + "1 }}"), HasSubstr("nesting deeper than 128"));
  EXPECT_THAT(outcome(repeat("{% if 1 %}", 10000) + repeat("{% endif %}", 10000)),
              HasSubstr("template nesting deeper than 128"));
  EXPECT_THAT(outcome(repeat("{% for x in [1] %}", 100) + "y" + repeat("{% endfor %}", 100)), StartsWith("text:y"));
  // long chains are not nesting
  EXPECT_THAT(outcome("{% if 0 %}" + repeat("{% elif 0 %}", 20000) + "{% else %}z{% endif %}"), StartsWith("text:z"));
  EXPECT_THAT(outcome("{{ " + repeat("'a' ~ ", 20000) + "'b' }}"), StartsWith("text:aaa"));
  EXPECT_THAT(outcome("{{ 1" + repeat(" + 1", 20000) + " }}"), HasSubstr("nesting deeper than"));
  EXPECT_THAT(outcome("{{ x" + repeat(".y", 20000) + " }}"), HasSubstr("nesting deeper than"));
  EXPECT_THAT(outcome("{{ ''" + repeat("|trim", 20000) + " }}"), HasSubstr("nesting deeper than"));
}

TEST(HostileTemplateTest, J05Output) {
  auto too_large = AnyOf(HasSubstr("template output exceeds 8388608 bytes"), HasSubstr("exceeded 1000000 steps"));
  for (const char* source :
       {"{{ 'A' * 10**9 }}", "{{ 'A'|indent(10**9, true) }}", "{{ 'A'|center(10**9) }}",
        "{{ [1]|tojson(indent=10**9) }}", "{{ ('x' * 1000).join(range(100000)|map('string')) }}", "{{ [1] * 10**9 }}",
        "{{ '%1000000d' % 1 }}",
        "{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[1, 2]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% for i in range(100000) %}{{ 'A' * 1000 }}{% endfor %}", "{{ 'a'.ljust(10**12) }}",
        "{{ ('a' * 5000000).replace('', 'bb') }}"}) {
    EXPECT_THAT(outcome(source), AnyOf(too_large, HasSubstr("format"))) << source;
  }
  std::string chain =
      "{% set ns = namespace(v=1) %}{% for i in range(5000) %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}";
  EXPECT_THAT(outcome(chain), HasSubstr("values nested deeper than 128"));
  EXPECT_THAT(
      outcome("{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns] %}{{ ns.me.me.l[0].l|length }}"),
      StartsWith("text:1"));
  EXPECT_THAT(
      outcome("{% set ns = namespace(p=0) %}{% for i in range(30000) %}{% set ns = namespace(p=ns) %}{% endfor %}x"),
      StartsWith("text:x"));
}

TEST(HostileTemplateTest, J06Syntax) {
  for (const char* source : {"{{ 'abc",
                             "{{ abc",
                             "{% if",
                             "{# abc",
                             "{{ \"a }}",
                             "{% raw %}",
                             "{{ 1 ? 2 }}",
                             "{{ a b }}",
                             "{% set %}",
                             "{% set x = %}",
                             "{% for x y %}",
                             "{% macro %}",
                             "{{ x. }}",
                             "{{ x[ }}",
                             "{{ f(a=1, 2) }}",
                             "{{ 99999999999999999999 }}",
                             "{{ '\\x4' }}",
                             "{% else %}",
                             "{% endif %}",
                             "{% break %}",
                             "{%",
                             "{{",
                             "{{}}",
                             "{% call x %}{% endcall %}"}) {
    EXPECT_THAT(outcome(source), StartsWith("template line 1: ")) << source;
  }
  EXPECT_EQ(outcome("a\n\n{{ 1|foo }}"), "template line 3: unknown filter \"foo\"");
  EXPECT_EQ(outcome("{{ raise_exception('x') }}"), "x");
}

TEST(HostileTemplateTest, J08NoHostObjectExists) {
  for (const char* source :
       {"{{ ''.__class__.__mro__ }}", "{{ cycler.__init__.__globals__ }}", "{{ [].__class__.__base__ }}",
        "{{ namespace.__init__.__globals__ }}", "{{ range.__self__.x }}", "{{ (messages|attr('__class__')).__mro__ }}",
        "{{ messages[0]['__class__']['x'] }}"}) {
    EXPECT_THAT(outcome(source), AnyOf(HasSubstr("undefined"), HasSubstr("has no attribute"))) << source;
  }
  EXPECT_EQ(outcome("{{ ''.__class__ }}{{ messages.__len__ }}{{ messages[0]._x }}"), "text:");
}

TEST(HostileTemplateTest, J10Messages) {
  const char* plain = "{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}";
  EXPECT_EQ(outcome(plain, "[]"), "text:");
  EXPECT_EQ(outcome(plain, "[{}]"), "text:");
  EXPECT_EQ(outcome(plain, R"([{"role":{"a":1},"content":null}])"), "text:{'a': 1}None");
  EXPECT_THAT(outcome("{{ messages[0].content + 'x' }}", R"([{"content":5}])"), HasSubstr("unsupported operand"));
  EXPECT_EQ(outcome(plain, R"("text")"), "text:");
  std::string deep = "[{\"role\":\"user\",\"content\":" + repeat("{\"a\":", 60) + "1" + repeat("}", 60) + "}]";
  EXPECT_THAT(outcome("{{ messages }}{{ messages|tojson(indent=1) }}{{ messages == messages }}", deep.c_str()),
              StartsWith("text:[{"));
}

}  // namespace
}  // namespace millrace::text
