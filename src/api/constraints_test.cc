// Every field that constrains an answer, what it becomes, and what is refused.
#include "api/constraints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "api/chat.h"
#include "api/completions.h"

namespace millrace::api {
namespace {

using flow::ConstraintKind;

const Limits kLimits;
const std::vector<std::string> kNames = {"m"};
const ParseContext kContext{.limits = kLimits, .served_names = kNames, .model = {.n_vocab = 1000, .max_len = 128}};

Result<flow::ConstraintSpec> chat_constraint(const std::string& members) {
  auto body = parse_json(R"({"messages":[{"role":"user","content":"x"}],)" + members + "}");
  EXPECT_TRUE(body.ok()) << members;
  auto request = parse_chat(*body, kContext);
  if (!request.ok()) return request.take_error();
  return request->common.constraint;
}

TEST(ConstraintFields, EachNameLeadsToTheSameDoor) {
  struct Row {
    const char* members;
    ConstraintKind kind;
    const char* text;
    const char* param;
  };
  for (const Row& row :
       {Row{R"("response_format":{"type":"text"})", ConstraintKind::kNone, "", ""},
        Row{R"("response_format":{"type":"json_object"})", ConstraintKind::kJsonObject, "", "response_format"},
        Row{R"("response_format":{"type":"json_object","schema":{"type":"object"}})", ConstraintKind::kJsonSchema,
            R"({"type":"object"})", "response_format.schema"},
        Row{R"("response_format":{"type":"json_schema","json_schema":{"strict":true,"schema":{"type":"null"}}})",
            ConstraintKind::kJsonSchema, R"({"type":"null"})", "response_format.json_schema.schema"},
        Row{R"("response_format":{"type":"json_schema","schema":{}})", ConstraintKind::kJsonSchema, "{}",
            "response_format.schema"},
        Row{R"("structured_outputs":{"json":"{\"type\":\"null\"}"})", ConstraintKind::kJsonSchema, R"({"type":"null"})",
            "structured_outputs.json"},
        Row{R"("structured_outputs":{"regex":"a+","choice":null})", ConstraintKind::kRegex, "a+",
            "structured_outputs.regex"},
        Row{R"("structured_outputs":{"choice":["a","b"]})", ConstraintKind::kChoice, R"(["a","b"])",
            "structured_outputs.choice"},
        Row{R"("structured_outputs":{"grammar":"root ::= \"a\""})", ConstraintKind::kGrammar, "root ::= \"a\"",
            "structured_outputs.grammar"},
        Row{R"("structured_outputs":{"json_object":true})", ConstraintKind::kJsonObject, "",
            "structured_outputs.json_object"},
        Row{R"("guided_json":{"type":"null"})", ConstraintKind::kJsonSchema, R"({"type":"null"})", "guided_json"},
        Row{R"("guided_regex":"a")", ConstraintKind::kRegex, "a", "guided_regex"},
        Row{R"("guided_choice":["a"])", ConstraintKind::kChoice, R"(["a"])", "guided_choice"},
        Row{R"("guided_grammar":"root ::= \"a\"")", ConstraintKind::kGrammar, "root ::= \"a\"", "guided_grammar"},
        Row{R"("grammar":"root ::= \"a\"")", ConstraintKind::kGrammar, "root ::= \"a\"", "grammar"},
        Row{R"("json_schema":{"type":"null"})", ConstraintKind::kJsonSchema, R"({"type":"null"})", "json_schema"},
        Row{R"("grammar":"")", ConstraintKind::kNone, "", ""}}) {
    auto spec = chat_constraint(row.members);
    ASSERT_TRUE(spec.ok()) << row.members << ": " << spec.error().message;
    EXPECT_EQ(spec->kind, row.kind) << row.members;
    EXPECT_EQ(spec->text, row.text);
    EXPECT_EQ(spec->param, row.param);
  }
  EXPECT_FALSE(
      chat_constraint(R"("structured_outputs":{"json_object":true,"disable_any_whitespace":true})")->any_whitespace);
  EXPECT_EQ(chat_constraint(R"("structured_outputs":{"json":{},"whitespace_pattern":"[ ]?"})")->whitespace, "[ ]?");
  EXPECT_EQ(chat_constraint(R"("guided_json":{},"guided_whitespace_pattern":"[ ]?")")->whitespace, "[ ]?");
}

TEST(ConstraintFields, ALazyGrammarNeedsTriggers) {
  const std::string grammar = R"("grammar":"root ::= \"<f>\" [0-9]",)";
  const std::string triggers = R"("grammar_triggers":[{"type":1,"value":"<f>"},{"type":0,"value":"<g>","token":7},)"
                               R"-({"type":2,"value":"a(b)"},{"type":3,"value":".*"}])-";
  auto lazy = chat_constraint(grammar + R"("grammar_lazy":true,)" + triggers);
  ASSERT_TRUE(lazy.ok()) << lazy.error().message;
  using flow::TriggerKind;
  EXPECT_THAT(lazy->triggers, ::testing::ElementsAre(flow::Trigger{TriggerKind::kWord, "<f>"},
                                                     flow::Trigger{TriggerKind::kToken, "", 7},
                                                     flow::Trigger{TriggerKind::kPattern, "a(b)"},
                                                     flow::Trigger{TriggerKind::kWholePattern, ".*"}));
  EXPECT_TRUE(chat_constraint(grammar + triggers)->triggers.empty()) << "not lazy: in force at once";
  EXPECT_EQ(chat_constraint(R"("grammar_lazy":true,)" + triggers)->kind, ConstraintKind::kNone);
}

TEST(ConstraintFields, RefusalsNameWhatAndWhere) {
  struct Row {
    const char* members;
    ErrorCode code;
    const char* message;
  };
  for (const Row& row :
       {Row{R"("response_format":{"type":"xml"})", ErrorCode::kInvalidValue,
            "response_format.type must be text, json_object, json_schema or structural_tag, not \"xml\""},
        Row{R"("response_format":{"type":"json_schema"})", ErrorCode::kMissingField,
            "response_format.json_schema is required"},
        Row{R"("response_format":{"type":"json_schema","json_schema":{"name":"n"}})", ErrorCode::kMissingField,
            "response_format.json_schema.schema is required"},
        Row{R"("response_format":{"type":"json_schema","json_schema":{"schema":[1]}})", ErrorCode::kInvalidValue,
            "response_format.json_schema.schema must be a JSON schema"},
        Row{R"("structured_outputs":{})", ErrorCode::kInvalidValue, "structured_outputs names no constraint"},
        Row{R"("structured_outputs":{"regex":""})", ErrorCode::kInvalidValue,
            "structured_outputs.regex must not be empty"},
        Row{R"("structured_outputs":{"choice":[]})", ErrorCode::kInvalidValue,
            "structured_outputs.choice must be a non-empty array of strings"},
        Row{R"("structured_outputs":{"odd":1})", ErrorCode::kUnknownField, "unknown field structured_outputs.odd"},
        Row{R"("structured_outputs":{"json":{},"regex":"a"})", ErrorCode::kConflictingConstraints,
            "structured_outputs.json and structured_outputs.regex both constrain the answer: at most one is allowed"},
        Row{R"("guided_json":{},"response_format":{"type":"json_object"})", ErrorCode::kConflictingConstraints,
            "response_format and guided_json both constrain the answer: at most one is allowed"},
        Row{R"("guided_choice":"a")", ErrorCode::kInvalidValue, "guided_choice must be a non-empty array of strings"},
        Row{R"("structured_outputs":{"json":{},"whitespace_pattern":7})", ErrorCode::kInvalidValue,
            "structured_outputs.whitespace_pattern must be a string"},
        Row{R"("structured_outputs":{"json":{},"whitespace_pattern":" ","disable_any_whitespace":true})",
            ErrorCode::kInvalidValue,
            "structured_outputs.whitespace_pattern and disable_any_whitespace exclude each other"},
        Row{R"("guided_whitespace_pattern":7)", ErrorCode::kInvalidValue,
            "guided_whitespace_pattern must be a string of at most 4096 bytes"},
        Row{R"("grammar":"root ::= \"a\"","grammar_lazy":true)", ErrorCode::kInvalidValue,
            "grammar_lazy: needs grammar_triggers"},
        Row{R"("grammar_triggers":[{"type":0,"value":"a"}])", ErrorCode::kInvalidValue,
            "grammar_triggers[0].token must be a token id in 0..999"},
        Row{R"("grammar_triggers":[{"type":4,"value":"a"}])", ErrorCode::kInvalidValue,
            "grammar_triggers[0].type must be 0 (token), 1 (word), 2 (pattern) or 3 (pattern of the whole text)"},
        Row{R"("grammar_triggers":[{"type":1,"value":"a"},{"type":1,"value":""}])", ErrorCode::kInvalidValue,
            "grammar_triggers[1].value must be a string of 1..256 bytes"},
        Row{R"("grammar_triggers":["a"])", ErrorCode::kInvalidValue,
            "grammar_triggers[0].type must be 0 (token), 1 (word), 2 (pattern) or 3 (pattern of the whole text)"},
        Row{R"("grammar":{"a":1})", ErrorCode::kInvalidValue, "grammar must be a string"}}) {
    auto spec = chat_constraint(row.members);
    ASSERT_FALSE(spec.ok()) << row.members;
    EXPECT_EQ(spec.error().code, row.code) << row.members;
    EXPECT_EQ(spec.error().message, row.message);
  }
}

TEST(ConstraintFields, CompletionsHaveThemToo) {
  auto body = parse_json(R"({"prompt":"x","guided_regex":"[a-z]"})");
  auto request = parse_completion(*body, kContext);
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->common.constraint.kind, ConstraintKind::kRegex);
}

}  // namespace
}  // namespace millrace::api
