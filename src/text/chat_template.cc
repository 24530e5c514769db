#include "text/chat_template.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/macros.h"
#include "text/jinja_interpreter.h"
#include "text/jinja_parser.h"

namespace millrace::text {

struct JinjaProgram {
  std::unique_ptr<jinja::Program> program;
  Limits limits;
  bool names_content = false;  // the template mentions "content"
  std::string source;
};

namespace {

// Put after the final message's text, found again in the output (transformers, chat_template_utils.py).
constexpr std::string_view kContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";
constexpr std::string_view kContinueTagStripped = kContinueTag.substr(0, kContinueTag.size() - 1);

Error continue_error(std::string_view what) {
  return Error{ErrorCode::kInvalidValue, fmt::format("continue_final_message is set but {}", what),
               "continue_final_message"};
}

// Text parts as one string, a line each, as vLLM joins them.
std::string join_parts(const Json& parts) {
  std::string out;
  bool first = true;
  for (const Json& part : parts.as_array()) {
    const Json* text = part.is_string() ? &part : part.get("text");
    if (text == nullptr || !text->is_string()) continue;
    if (!std::exchange(first, false)) out += '\n';
    out += text->as_string();
  }
  return out;
}

Json wrap_text(const Json& text) {
  Json part = Json::object();
  part.set("type", "text");
  part.set("text", text);
  Json parts = Json::array();
  parts.push_back(std::move(part));
  return parts;
}

// One message in the form that this template reads.
Json prepare_message(const Json& message, const jinja::Program& program) {
  Json out = message;
  const Json* content = message.find("content");
  if (content != nullptr && content->is_array() && !program.iterates_content) out.set("content", join_parts(*content));
  bool parts_only = program.iterates_content && !program.tests_content_text;
  if (content != nullptr && content->is_string() && parts_only) out.set("content", wrap_text(*content));
  // the names reasoning text goes under, as transformers fills them
  const Json* reasoning = nullptr;
  for (std::string_view name : {"reasoning_content", "thinking", "reasoning"}) {
    if (reasoning == nullptr) reasoning = message.get(name);
  }
  if (reasoning != nullptr) {
    Json text = *reasoning;
    if (out.find("thinking") == nullptr) out.set("thinking", text);
    out.set("reasoning_content", std::move(text));
  }
  return out;
}

// Adds the tag to the final message; returns the text it had.
Result<std::string> tag_final_message(Json& messages) {
  if (messages.size() == 0) return continue_error("the conversation is empty");
  Json& last = messages.as_array().back();
  const Json* content = last.get("content");
  if (content == nullptr) return continue_error("the final message has no \"content\" to continue");
  if (content->is_string()) {
    std::string text = content->as_string();
    last.set("content", text + std::string(kContinueTag));
    return text;
  }
  if (content->is_array()) {
    Json parts = *content;
    for (auto at = parts.as_array().rbegin(); at != parts.as_array().rend(); ++at) {
      const Json* text = at->get("text");
      if (text == nullptr || !text->is_string()) continue;
      std::string old = text->as_string();
      at->set("text", old + std::string(kContinueTag));
      last.set("content", std::move(parts));
      return old;
    }
  }
  return continue_error("the final message has no text to continue");
}

std::string_view strip(std::string_view text) {
  auto space_at = [&](size_t at) { return jinja::is_space(jinja::code_point(text, at)); };
  while (!text.empty() && space_at(0)) text.remove_prefix(jinja::char_bytes(text, 0));
  while (!text.empty()) {
    size_t at = text.size() - 1;
    while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    if (!space_at(at)) break;
    text.remove_suffix(text.size() - at);
  }
  return text;
}

// Ends the text where the tag stands.
Result<void> cut_at_tag(RenderedPrompt& prompt, const std::string& final_text) {
  std::string& text = prompt.text;
  size_t at = text.rfind(kContinueTagStripped);
  if (at == std::string::npos || text.find(strip(final_text)) == std::string::npos) {
    return continue_error("the final message does not appear in the chat after applying the chat template");
  }
  bool spacing_kept = text.compare(at, kContinueTag.size(), kContinueTag) == 0;
  text.resize(at);
  if (!spacing_kept) {
    std::string_view kept = text;
    std::string_view stripped = strip(kept);
    text.resize(stripped.empty() ? 0 : static_cast<size_t>(stripped.data() - kept.data()) + stripped.size());
  }
  while (!prompt.literal.empty() && prompt.literal.back().begin >= text.size()) prompt.literal.pop_back();
  if (!prompt.literal.empty()) prompt.literal.back().end = std::min(prompt.literal.back().end, text.size());
  return {};
}

}  // namespace

ChatTemplate::ChatTemplate(std::unique_ptr<const JinjaProgram> program) : program_(std::move(program)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::parse(const std::string& source, const Limits& limits) {
  auto program = std::make_unique<JinjaProgram>();
  program->program = TRY(jinja::parse_template(source, limits[LimitId::kTemplateDepth]));
  program->limits = limits;
  program->names_content = source.find("content") != std::string::npos;
  program->source = source;
  return ChatTemplate(std::move(program));
}

const std::string& ChatTemplate::source() const { return program_->source; }

bool ChatTemplate::wants_content_parts() const { return program_->program->iterates_content; }

Result<RenderedPrompt> ChatTemplate::render(const Conversation& conversation) const {
  const jinja::Program& program = *program_->program;
  Json messages = Json::array();
  if (conversation.messages.is_array()) {
    for (const Json& message : conversation.messages.as_array()) messages.push_back(prepare_message(message, program));
  }
  std::string final_text;
  if (conversation.continue_final_message) {
    if (!program_->names_content) return continue_error("\"content\" is not a field the chat template reads");
    final_text = TRY(tag_final_message(messages));
  }
  jinja::Interpreter interpreter(program, program_->limits, conversation.now_unix);
  bool documents = false;
  if (conversation.kwargs.is_object()) {
    for (const auto& member : conversation.kwargs.as_object().members) {
      interpreter.set_global(member.first, jinja::from_json(member.second, true));
      documents = documents || member.first == "documents";
    }
  }
  if (!documents) interpreter.set_global("documents", jinja::None{});
  interpreter.set_global("messages", jinja::from_json(messages, true));
  interpreter.set_global("tools", jinja::from_json(conversation.tools, true));
  interpreter.set_global("add_generation_prompt", conversation.add_generation_prompt);
  if (!conversation.bos_token.empty()) interpreter.set_global("bos_token", jinja::literal(conversation.bos_token));
  if (!conversation.eos_token.empty()) interpreter.set_global("eos_token", jinja::literal(conversation.eos_token));
  jinja::Text text = TRY(interpreter.run());
  RenderedPrompt prompt{std::move(text.bytes), std::move(text.marks)};
  if (conversation.continue_final_message) TRY(cut_at_tag(prompt, final_text));
  return prompt;
}

}  // namespace millrace::text
