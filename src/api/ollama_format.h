// The answers of Ollama's /api/generate and /api/chat: objects, or lines of them. Thread: one at a time per request.
#pragma once

#include <cstdint>
#include <memory>

#include "api/reply_format.h"

namespace millrace::api {

enum class OllamaReply : uint8_t { kGenerate, kChat };

// with_context: the end of the answer carries the tokens of prompt and answer, which a next request may bring.
std::unique_ptr<ReplyFormat> make_ollama_format(OllamaReply reply, bool with_context = false);

}  // namespace millrace::api
