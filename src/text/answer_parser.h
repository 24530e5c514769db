// AnswerParser: an answer's text, as it comes, into what it says: content, reasoning, and calls of tools. One engine;
// what differs between models is a row of a table.
//  1. Nothing is lost: the parts hold all text that was pushed but for tags and the frames of calls that were
//  understood.
//     What is no call after all, also one that is cut off, is content.
//  2. Text that may begin a tag is held back, and a call until it is whole: its arguments are told in one piece.
//  3. Linear in the text, no recursion, no errors.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::text {

// How a model writes calls. Persistent: the names are values of a flag.
struct ToolFormat {
  std::string_view name;
  std::string_view open;       // before a call; empty: the answer is a call when it begins with {
  std::string_view close;      // after it; may be empty
  std::string_view arguments;  // the key of the arguments, beside "name"
  std::string_view hint;       // a template with this text writes calls so; empty: any that names tools
};
std::span<const ToolFormat> tool_formats();
// By the text of the chat template; nullptr when it says nothing of tools.
const ToolFormat* tool_format_of(std::string_view chat_template);

struct ReasoningTags {
  std::string_view open;
  std::string_view close;
};
// By the text of the chat template; empty tags when it knows no reasoning.
ReasoningTags reasoning_tags_of(std::string_view chat_template);

struct AnswerPart {
  enum class Kind : uint8_t { kContent, kReasoning, kCall };
  Kind kind = Kind::kContent;
  std::string text;       // kContent, kReasoning
  std::string name;       // kCall
  std::string arguments;  // kCall: JSON text of an object
};

struct AnswerOptions {
  const ToolFormat* tools = nullptr;  // null: no calls are looked for
  ReasoningTags reasoning;            // empty: none is looked for
  bool in_reasoning = false;          // the prompt ends inside an open reasoning block
};

class AnswerParser {
 public:
  explicit AnswerParser(const AnswerOptions& options);
  // Appends what is certain.
  void push(std::string_view text, std::vector<AnswerPart>& out);
  // The end of the answer: what was held back.
  void finish(std::vector<AnswerPart>& out);
  uint32_t n_calls() const { return n_calls_; }

 private:
  enum class Place : uint8_t { kReasoning, kContent, kCall, kBehindCall };

  void run(bool at_end, std::vector<AnswerPart>& out);
  bool run_content(bool at_end, std::vector<AnswerPart>& out);
  bool run_reasoning(bool at_end, std::vector<AnswerPart>& out);
  bool run_call(bool at_end, std::vector<AnswerPart>& out);
  bool run_behind_call(bool at_end);
  // Where the JSON value that begins the held text ends, as far as it is there; npos: not yet; 0: it is none.
  size_t json_end();
  bool take_calls(std::string_view json, std::vector<AnswerPart>& out);
  void begin_call(bool bare);
  void add(AnswerPart::Kind kind, std::string_view text, std::vector<AnswerPart>& out);

  AnswerOptions options_;
  Place place_ = Place::kContent;
  std::string held_;  // not decided yet; kCall: what stands behind the opening tag
  size_t read_ = 0;   // kCall: bytes of it that json_end() has seen
  uint32_t depth_ = 0;
  bool bare_ = false;  // kCall: there was no opening tag
  bool in_string_ = false;
  bool escaped_ = false;
  bool any_content_ = false;
  bool behind_call_ = false;
  uint32_t n_calls_ = 0;
};

}  // namespace millrace::text
