#include "instance/template_check.h"

#include <fmt/core.h>

#include <utility>

namespace millrace::instance {
namespace {

constexpr std::string_view kQuestion = "Which river runs here?";

Json one_question(bool as_parts) {
  Json content(kQuestion);
  if (as_parts) {
    Json part = Json::object();
    part.set("type", "text");
    part.set("text", kQuestion);
    content = Json::array();
    content.push_back(std::move(part));
  }
  Json message = Json::object();
  message.set("role", "user");
  message.set("content", std::move(content));
  Json messages = Json::array();
  messages.push_back(std::move(message));
  return messages;
}

}  // namespace

std::vector<std::string> template_warnings(const text::ChatTemplate& chat, const text::Tokenizer& tokenizer) {
  auto piece = [&](TokenId id) { return id == kNoToken ? std::string() : std::string(tokenizer.token_bytes(id)); };
  text::Conversation conversation;
  conversation.messages = one_question(chat.wants_content_parts());
  conversation.bos_token = piece(tokenizer.bos());
  conversation.eos_token = piece(tokenizer.eos());
  Result<text::RenderedPrompt> rendered = chat.render(conversation);
  if (!rendered.ok()) {
    return {fmt::format("the chat template fails on a conversation of one question: {}", rendered.error().message)};
  }
  std::vector<std::string> warnings;
  if (rendered->text.find(kQuestion) == std::string::npos) {
    warnings.emplace_back("the chat template never prints the user's message");
  }
  const std::string& bos = conversation.bos_token;
  if (!bos.empty() && rendered->text.starts_with(bos + bos)) {
    warnings.push_back(fmt::format("the chat template prints {} twice", quote_for_message(bos)));
  }
  return warnings;
}

}  // namespace millrace::instance
