// Flags of `serve` for tools and reasoning: how answers say them, and how a model's template is asked for them.
#pragma once

#include <cstdint>
#include <string>

#include "api/output.h"
#include "app/flags.h"
#include "base/result.h"
#include "instance/answer_side.h"

namespace millrace::app {

struct AnswerFlags {
  std::string tool_call_parser;
  std::string reasoning_parser;
  std::string reasoning = "auto";
  std::string reasoning_format = "auto";
  std::string reasoning_field = "both";
  int64_t reasoning_budget = -1;
  bool enable_auto_tool_choice = true;
};

void add_answer_flags(FlagSet& set, AnswerFlags& flags);
// kUsage with the flag. thinks: templates are asked to think unless a flag says otherwise, as llama-server asks.
Result<instance::AnswerRules> answer_rules(const AnswerFlags& flags, bool thinks);
Result<api::ReasoningField> reasoning_field(const AnswerFlags& flags);

}  // namespace millrace::app
