// Ollama's POST /api/generate and /api/chat as translations, and its model lists. Source of the wire format: Ollama's
// docs/api.md and api/types.go, August 2026. Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "api/dialect.h"

namespace millrace::api {

// A body without a prompt or messages, and the reply to it: it loads the model, or with keep_alive 0 unloads it.
bool ollama_loads_only(const Json& body);
std::string ollama_load_reply(const Json& body, const std::string& model, bool chat);
// A body without a prompt or messages only loads (or, with keep_alive 0, unloads) a model: an instant reply.
Result<DialectRequest> parse_ollama_generate(const Json& body, const ParseContext& context,
                                             const FormatOptions& options);
Result<DialectRequest> parse_ollama_chat(const Json& body, const ParseContext& context, const FormatOptions& options);

// What the lists of models tell of one.
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
  std::vector<std::string> capabilities;  // completion, tools, thinking, embedding
  int64_t memory_bytes = 0;               // while loaded
  int64_t expires = 0;                    // unix seconds, when it goes if nobody uses it; 0: it stays
};
std::string ollama_tags_reply(std::span<const OllamaModel> models);
// Of those in memory.
std::string ollama_ps_reply(std::span<const OllamaModel> models);
std::string ollama_show_reply(const OllamaModel& model);

// "2026-11-21T19:40:00.123456789Z"
std::string rfc3339(int64_t unix_ns);

}  // namespace millrace::api
