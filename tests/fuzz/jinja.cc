// Any bytes as a chat template, rendered with a fixed conversation; the second half of the input is the user's text.
// Nothing but an error or a text may come out, and marks must lie inside the text.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  std::string input(reinterpret_cast<const char*>(data), size);
  size_t cut = input.find('\x01');
  std::string source = input.substr(0, cut);
  std::string user = cut == std::string::npos ? "hi" : input.substr(cut + 1);
  Limits limits;
  if (!limits.set(LimitId::kTemplateSteps, 20000).ok()) std::abort();
  auto parsed = text::ChatTemplate::parse(source, limits);
  if (!parsed.ok()) return 0;
  text::Conversation conversation;
  Json message = Json::object();
  message.set("role", "user");
  message.set("content", std::move(user));
  conversation.messages = Json(JsonArray{message, message});
  conversation.tools = Json(JsonArray{message});
  conversation.bos_token = "<s>";
  conversation.eos_token = "</s>";
  auto got = parsed->render(conversation);
  if (!got.ok()) return 0;
  size_t last = 0;
  for (const text::ByteRange& range : got->literal) {
    if (range.begin < last || range.end <= range.begin || range.end > got->text.size()) std::abort();
    last = range.end;
  }
  return 0;
}
