// ChatTemplate: a model's Jinja chat template, parsed once, rendered per request with bounded work.
//  1. Steps, output bytes, nesting and range sizes are capped by Limits; no clock, file or network is reachable.
//  2. The bytes of RenderedPrompt::text that came from a request's strings are listed in `literal`: the tokenizer
//     must not read special tokens there.
// Thread: render() from any thread at once; the object is immutable after parse().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/limits.h"
#include "base/result.h"
#include "text/tokenizer.h"

namespace millrace::text {

struct JinjaProgram;

struct Conversation {
  Json messages;  // array of objects
  Json tools;     // null or array
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  Json kwargs;  // null or object: further template variables
  std::string bos_token;
  std::string eos_token;
  int64_t now_unix = 0;  // seconds, UTC; what strftime_now() shows
};

struct RenderedPrompt {
  std::string text;
  std::vector<ByteRange> literal;  // ascending, not overlapping
};

class ChatTemplate {
 public:
  // kInvalidTemplate, with the line: "template line 3: unknown filter "foo"".
  static Result<ChatTemplate> parse(const std::string& source, const Limits& limits);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // kInvalidTemplate: the text of raise_exception(), or what went wrong and where.
  Result<RenderedPrompt> render(const Conversation& conversation) const;
  // The template iterates over message content: parts are handed over as they are, else joined to one string.
  bool wants_content_parts() const;
  const std::string& source() const;

 private:
  explicit ChatTemplate(std::unique_ptr<const JinjaProgram> program);
  std::unique_ptr<const JinjaProgram> program_;
};

}  // namespace millrace::text
