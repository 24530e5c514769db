// AnswerSide: how the loaded model is told of tools, and how its answers say calls and reasoning. What is known of the
// model comes from its chat template, or from flags that name a parser.
// Thread: any (immutable).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/chat.h"
#include "base/ids.h"
#include "base/result.h"
#include "flow/constraint.h"
#include "grammar/reasoning.h"
#include "text/answer_parser.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace millrace::instance {

// Of the command line.
struct AnswerRules {
  std::string tool_parser;         // empty: by the template
  std::string reasoning_parser;    // empty: by the template
  std::optional<bool> thinking;    // for templates that can switch it; none: what they do by themselves
  int64_t reasoning_budget = -1;   // tokens, when a request names none; -1: none
  bool reasoning_as_text = false;  // reasoning is not told apart from the answer
};
// kUsage: a parser of that name is not known; the message lists those that are.
Result<void> check_answer_rules(const AnswerRules& rules);

// How one chat request's answers are read and constrained.
struct AnswerPlan {
  std::shared_ptr<const text::AnswerOptions> options;  // null: all text is content
  flow::ConstraintSpec constraint;
  std::optional<grammar::ReasoningBlock> block;  // the constraint begins behind it, or it has a budget
};

class AnswerSide {
 public:
  // chat_template may be null. n_vocab: of the model's logits.
  AnswerSide(AnswerRules rules, const text::ChatTemplate* chat_template, const text::Tokenizer& tokenizer,
             std::vector<TokenId> end_tokens, size_t n_vocab);

  // Tools and switches, in the form that this template reads. Without a word of tools in it, they become text: a
  // system message that describes them, calls as JSON, results as messages of the user.
  void tell(const api::ChatRequest& chat, const text::ChatTemplate& by, text::Conversation& conversation) const;
  // The end of a prompt, where a request asked for no reasoning and the template began some all the same.
  void end_reasoning(const text::Conversation& conversation, std::string& prompt) const;
  AnswerPlan plan(const api::ChatRequest& chat, const std::string& prompt) const;

  // Tokens of the model's tags: text, though the vocabulary calls them special.
  const std::vector<TokenId>& tag_tokens() const { return tag_tokens_; }
  bool knows_tools() const { return knows_tools_; }
  bool knows_reasoning() const { return !reasoning_.close.empty(); }

 private:
  std::optional<grammar::ReasoningBlock> block_of(const api::ChatRequest& chat, const std::string& prompt,
                                                  bool constrained) const;

  AnswerRules rules_;
  const text::ToolFormat* format_;
  text::ReasoningTags reasoning_;
  bool knows_tools_ = false;
  bool arguments_as_text_ = false;  // the template wants arguments of calls as JSON text, not as objects
  std::vector<TokenId> tag_tokens_;
  std::vector<TokenId> end_tokens_;
  std::vector<TokenId> close_ids_;
  size_t n_vocab_;
  const text::Tokenizer* tokenizer_;
};

}  // namespace millrace::instance
