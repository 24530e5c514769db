#include "app/answer_flags.h"

#include <fmt/core.h>

#include <initializer_list>
#include <string_view>

#include "base/macros.h"

namespace millrace::app {
namespace {

// The place of the value among the words.
Result<size_t> place_of(std::string_view flag, const std::string& value,
                        std::initializer_list<std::string_view> words) {
  size_t i = 0;
  std::string known;
  for (std::string_view word : words) {
    if (word == value) return i;
    known.append(i++ == 0 ? "" : ", ").append(word);
  }
  return Error{ErrorCode::kUsage, fmt::format("{} = {}: must be one of {}", flag, quote_for_message(value), known),
               std::string(flag)};
}

}  // namespace

void add_answer_flags(FlagSet& set, AnswerFlags& f) {
  set.add("--tool-call-parser", &f.tool_call_parser, "how the model writes calls of tools; default: by its template");
  set.add("--enable-auto-tool-choice", &f.enable_auto_tool_choice,
          "always on: tools are offered when a request has some");
  set.add("--reasoning-parser", &f.reasoning_parser, "how the model writes its reasoning; default: by its template");
  set.add("--reasoning", &f.reasoning, "auto | on | off: what templates that can switch thinking are told");
  set.add("--reasoning-format", &f.reasoning_format, "auto | deepseek: told apart from the answer | none: left in it");
  set.add("--reasoning-field", &f.reasoning_field, "both | reasoning | reasoning_content: its names in replies");
  set.add("--reasoning-budget", &f.reasoning_budget, "tokens of reasoning of requests that name none; -1 = no limit",
          {-1, INT32_MAX});
}

Result<instance::AnswerRules> answer_rules(const AnswerFlags& f, bool thinks) {
  constexpr size_t kOn = 1;
  size_t reasoning = TRY(place_of("--reasoning", f.reasoning, {"auto", "on", "off"}));
  size_t format =
      TRY(place_of("--reasoning-format", f.reasoning_format, {"auto", "deepseek", "deepseek-legacy", "none"}));
  instance::AnswerRules rules;
  rules.tool_parser = f.tool_call_parser;
  rules.reasoning_parser = f.reasoning_parser;
  if (thinks || reasoning > 0) rules.thinking = reasoning <= kOn;
  rules.reasoning_budget = f.reasoning_budget;
  rules.reasoning_as_text = format == 3;
  TRY(instance::check_answer_rules(rules));
  return rules;
}

Result<api::ReasoningField> reasoning_field(const AnswerFlags& f) {
  size_t place = TRY(place_of("--reasoning-field", f.reasoning_field, {"both", "reasoning", "reasoning_content"}));
  constexpr api::ReasoningField kFields[] = {api::ReasoningField::kBoth, api::ReasoningField::kReasoning,
                                             api::ReasoningField::kReasoningContent};
  return kFields[place];
}

}  // namespace millrace::app
