// Ollama's POST /api/generate and /api/chat as translations, and its model lists. Source of the wire format: Ollama's
// docs/api.md and api/types.go, August 2026. Thread: any.
#pragma once

#include <cstdint>
#include <string>

#include "api/dialect.h"

namespace millrace::api {

// A body without a prompt or messages only loads (or, with keep_alive 0, unloads) a model: an instant reply.
Result<DialectRequest> parse_ollama_generate(const Json& body, const ParseContext& context,
                                             const FormatOptions& options);
Result<DialectRequest> parse_ollama_chat(const Json& body, const ParseContext& context, const FormatOptions& options);

// What the lists of models tell of the one that is served.
struct OllamaModel {
  std::string name;
  std::string digest;  // hex
  std::string family;
  std::string quantization;
  std::string chat_template;
  int64_t created = 0;  // unix seconds
  int64_t size_bytes = 0;
  int64_t n_params = 0;
  int64_t context_length = 0;
  int64_t embedding_length = 0;
};
std::string ollama_tags_reply(const OllamaModel& model);
std::string ollama_ps_reply(const OllamaModel& model);
std::string ollama_show_reply(const OllamaModel& model);

// "2026-11-21T19:40:00.123456789Z"
std::string rfc3339(int64_t unix_ns);

}  // namespace millrace::api
