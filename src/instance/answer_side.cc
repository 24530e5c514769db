#include "instance/answer_side.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "api/json_object.h"
#include "base/macros.h"

namespace millrace::instance {
namespace {

using api::json_array;
using api::json_object;

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool names_tools(const text::ChatTemplate& by) { return by.source().find("tools") != std::string::npos; }

// Whether a call's arguments, given as an object, come out as anything but JSON: then the template expects their text.
bool wants_text_arguments(const text::ChatTemplate& by, const text::ToolFormat& format) {
  if (format.syntax != text::CallSyntax::kJson) return false;
  Json function = json_object({{"name", "probe"}, {"arguments", json_object({{"probe_key", 1}})}});
  Json call = json_object({{"id", "abcdefghi"}, {"type", "function"}, {"function", std::move(function)}});
  text::Conversation probe;
  probe.messages = json_array(
      {json_object({{"role", "user"}, {"content", "probe"}}),
       json_object({{"role", "assistant"}, {"content", Json()}, {"tool_calls", json_array({std::move(call)})}})});
  probe.add_generation_prompt = false;
  auto rendered = by.render(probe);
  return !rendered.ok() || rendered->text.find("'probe_key'") != std::string::npos;
}

Json with_text_arguments(const Json& messages) {
  Json out = messages;
  for (Json& message : out.as_array()) {
    const Json* calls = message.get("tool_calls");
    if (calls == nullptr) continue;
    Json copy = *calls;
    for (Json& call : copy.as_array()) {
      Json function = *call.find("function");
      function.set("arguments", function.find("arguments")->dump());
      call.set("function", std::move(function));
    }
    message.set("tool_calls", std::move(copy));
  }
  return out;
}

std::string text_of(const Json& message) {
  const Json* content = message.get("content");
  if (content == nullptr) return {};
  if (content->is_string()) return content->as_string();
  std::string out;
  for (const Json& part : content->as_array()) {
    if (const Json* text = part.get("text"); text != nullptr && text->is_string()) out += text->as_string();
  }
  return out;
}

// What a model is told of its tools when its template says nothing of them.
std::string describe(const api::ToolParams& tools, const text::ToolFormat& format) {
  std::string out = "You can call these functions:\n";
  for (const Json& tool : tools.tools.as_array()) out += tool.find("function")->dump() + "\n";
  out += fmt::format("To call one, answer with nothing but {}{{\"{}\": FUNCTION, \"{}\": {{...}}}}{}", format.begin,
                     format.name_key, format.arguments_key, format.end);
  return out;
}

// The system message gets the text, or there is one now.
void add_to_system(Json& messages, const std::string& text) {
  JsonArray& list = messages.as_array();
  bool has_system = !list.empty() && *list.front().find("role") == Json("system");
  if (has_system) {
    list.front().set("content", text_of(list.front()) + "\n\n" + text);
  } else {
    list.insert(list.begin(), json_object({{"role", "system"}, {"content", text}}));
  }
}

// Calls and their results as text, for a template that knows neither.
Json without_tool_messages(const Json& messages, const text::ToolFormat& format) {
  Json out = Json::array();
  for (const Json& message : messages.as_array()) {
    const std::string& role = message.find("role")->as_string();
    const Json* calls = message.get("tool_calls");
    if (role == "tool" || role == "function") {
      out.push_back(json_object({{"role", "user"}, {"content", "Result of the call: " + text_of(message)}}));
    } else if (calls != nullptr) {
      std::string text = text_of(message);
      for (const Json& call : calls->as_array()) {
        const Json& function = *call.find("function");
        if (!text.empty()) text += '\n';
        Json shown = json_object(
            {{format.name_key, *function.find("name")}, {format.arguments_key, *function.find("arguments")}});
        text.append(format.begin).append(shown.dump()).append(format.end);
      }
      out.push_back(json_object({{"role", role}, {"content", std::move(text)}}));
    } else {
      out.push_back(message);
    }
  }
  return out;
}

bool thinking_off(const Json& kwargs) {
  const Json* thinking = kwargs.get("enable_thinking");
  return thinking != nullptr && thinking->is_bool() && !thinking->as_bool();
}

}  // namespace

Result<void> check_answer_rules(const AnswerRules& rules) {
  if (!rules.tool_parser.empty() && text::find_tool_format(rules.tool_parser) == nullptr) {
    std::string known;
    for (const text::ToolFormat& format : text::tool_formats()) {
      known.append(known.empty() ? "" : ", ").append(format.name);
    }
    return Error{ErrorCode::kUsage, fmt::format("--tool-call-parser = {}: must be one of {}", rules.tool_parser, known),
                 "--tool-call-parser"};
  }
  if (!rules.reasoning_parser.empty() && text::find_reasoning(rules.reasoning_parser).close.empty()) {
    return Error{
        ErrorCode::kUsage,
        fmt::format("--reasoning-parser = {}: must be one of {}", rules.reasoning_parser, text::reasoning_names()),
        "--reasoning-parser"};
  }
  return {};
}

AnswerSide::AnswerSide(AnswerRules rules, const text::ChatTemplate* chat_template, const text::Tokenizer& tokenizer,
                       std::vector<TokenId> end_tokens, size_t n_vocab)
    : rules_(std::move(rules)),
      format_(text::find_tool_format(rules_.tool_parser)),
      reasoning_(text::find_reasoning(rules_.reasoning_parser)),
      end_tokens_(std::move(end_tokens)),
      n_vocab_(n_vocab),
      tokenizer_(&tokenizer) {
  if (chat_template != nullptr) {
    knows_tools_ = names_tools(*chat_template);
    if (format_ == nullptr) format_ = text::tool_format_of(chat_template->source());
    if (rules_.reasoning_parser.empty()) reasoning_ = text::reasoning_tags_of(chat_template->source());
  }
  if (format_ == nullptr) format_ = text::find_tool_format("generic");
  if (chat_template != nullptr && knows_tools_) arguments_as_text_ = wants_text_arguments(*chat_template, *format_);
  for (std::string_view tag : {format_->open, format_->begin, format_->name_end, format_->end, format_->close,
                               format_->quote, reasoning_.open, reasoning_.close}) {
    if (std::optional<TokenId> id = tokenizer.find(trim(tag)); id && !trim(tag).empty()) tag_tokens_.push_back(*id);
  }
  // a tag of several tokens inside one of the table, as in DeepSeek's
  auto ids = tokenizer.encode(fmt::format("{}{}", format_->begin, format_->end));
  for (size_t i = 0; ids.ok() && i < ids->size(); ++i) {
    if (tokenizer.is_special((*ids)[i]) && !tokenizer.is_eog((*ids)[i])) tag_tokens_.push_back((*ids)[i]);
  }
  std::ranges::sort(tag_tokens_);
  tag_tokens_.erase(std::unique(tag_tokens_.begin(), tag_tokens_.end()), tag_tokens_.end());
  if (!reasoning_.close.empty()) {
    auto close = tokenizer.encode(reasoning_.close, {.add_special = false});
    if (close.ok()) close_ids_ = std::move(close).value();
  }
}

void AnswerSide::tell(const api::ChatRequest& chat, const text::ChatTemplate& by,
                      text::Conversation& conversation) const {
  if (!conversation.kwargs.is_object()) conversation.kwargs = Json::object();
  if (rules_.thinking && conversation.kwargs.find("enable_thinking") == nullptr) {
    conversation.kwargs.set("enable_thinking", *rules_.thinking);
  }
  if (names_tools(by)) {
    if (chat.tools.offered()) conversation.tools = chat.tools.tools;
    if (arguments_as_text_) conversation.messages = with_text_arguments(conversation.messages);
    return;
  }
  conversation.messages = without_tool_messages(conversation.messages, *format_);
  if (chat.tools.offered()) add_to_system(conversation.messages, describe(chat.tools, *format_));
}

void AnswerSide::end_reasoning(const text::Conversation& conversation, std::string& prompt) const {
  std::string_view open = trim(reasoning_.open);
  if (open.empty() || !thinking_off(conversation.kwargs) || !conversation.add_generation_prompt) return;
  if (trim(prompt).ends_with(open)) prompt += reasoning_.close;
}

std::optional<grammar::ReasoningBlock> AnswerSide::block_of(const api::ChatRequest& chat, const std::string& prompt,
                                                            bool constrained) const {
  int64_t budget = chat.reasoning.budget.value_or(rules_.reasoning_budget);
  if (close_ids_.empty() || (!constrained && budget < 0) || chat.continue_final_message) return std::nullopt;
  std::string_view end = trim(prompt);
  bool inside = end.ends_with(trim(reasoning_.open)) || reasoning_.always;
  bool may_begin = !end.ends_with(reasoning_.close) && !thinking_off(chat.chat_template_kwargs);
  if (end.ends_with(reasoning_.close) || (!inside && !may_begin)) return std::nullopt;
  grammar::ReasoningBlock block;
  block.open = inside ? kNoToken : tokenizer_->find(trim(reasoning_.open)).value_or(kNoToken);
  if (!inside && block.open == kNoToken) return std::nullopt;
  block.close = reasoning_.close;
  block.close_ids = close_ids_;
  block.inside = inside;
  if (budget >= 0) block.budget = static_cast<uint32_t>(std::min<int64_t>(budget, UINT32_MAX));
  block.end_tokens = end_tokens_;
  block.n_vocab = n_vocab_;
  return block;
}

AnswerPlan AnswerSide::plan(const api::ChatRequest& chat, const std::string& prompt) const {
  AnswerPlan out;
  std::string_view end = trim(prompt);
  std::string_view begin = trim(format_->begin);
  bool in_call = chat.tools.offered() && !begin.empty() && end.ends_with(begin);
  out.constraint = chat.common.constraint;
  if (auto calls = api::call_constraint(chat.tools, *format_, chat.common.constraint, in_call)) {
    out.constraint = std::move(*calls);
  }
  out.block = block_of(chat, prompt, out.constraint.kind != flow::ConstraintKind::kNone);
  text::AnswerOptions options;
  if (!chat.reasoning.as_text.value_or(rules_.reasoning_as_text) && !chat.continue_final_message) {
    options.reasoning = reasoning_;
    options.in_reasoning = !reasoning_.close.empty() && end.ends_with(trim(reasoning_.open));
    if (end.ends_with(reasoning_.close)) options.reasoning.always = false;
  }
  if (chat.tools.offered() && chat.tools.parse) {
    options.tools = format_;
    options.names = api::tool_names(chat.tools);
    options.in_call = in_call;
    options.stream_arguments = out.constraint.kind == flow::ConstraintKind::kCalls;
  }
  if (options.tools != nullptr || !options.reasoning.close.empty()) {
    out.options = std::make_shared<const text::AnswerOptions>(std::move(options));
  }
  return out;
}

}  // namespace millrace::instance
