// AnswerParser: an answer's text, as it comes, into what it says: content, reasoning, and calls of tools. One engine;
// what differs between models is a row of a table (tool_format.h).
//  1. Nothing is lost: the parts hold all text that was pushed but for tags, the white space beside them, and the
//  frames
//     of calls that were understood. What is no call after all is content, with its tags.
//  2. The parts say the same however the text was cut into pieces.
//  3. Text that may begin a tag is held back, and a call until it is whole, so a broken call never shows as one. With
//     stream_arguments, for answers whose calls a constraint guarantees, arguments are told as they come.
//  4. Linear in the text, bounded recursion, no errors.
// Thread: one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/call_syntax.h"
#include "text/tool_format.h"

namespace millrace::text {

struct AnswerPart {
  enum class Kind : uint8_t { kContent, kReasoning, kCall, kArguments };
  Kind kind = Kind::kContent;
  std::string text;       // kContent, kReasoning; kArguments: what comes next of those of the last call
  std::string name;       // kCall
  std::string arguments;  // kCall: JSON text of an object; empty: kArguments follow
};

struct AnswerOptions {
  const ToolFormat* tools = nullptr;                      // null: no calls are looked for
  std::shared_ptr<const std::vector<std::string>> names;  // of the tools; null: any
  ReasoningTags reasoning;                                // empty: none is looked for
  bool in_reasoning = false;                              // the prompt ends inside an open reasoning block
  bool in_call = false;                                   // the prompt ends behind tools->begin
  bool stream_arguments = false;
};

class AnswerParser {
 public:
  explicit AnswerParser(AnswerOptions options);
  // Appends what is certain.
  void push(std::string_view text, std::vector<AnswerPart>& out);
  // The end of the answer: what was held back.
  void finish(std::vector<AnswerPart>& out);
  uint32_t n_calls() const { return n_calls_; }
  bool in_reasoning() const { return place_ == Place::kReasoning; }

 private:
  enum class Place : uint8_t { kReasoning, kContent, kCall, kArguments, kBehindArguments, kBehindCall };
  enum class Match : uint8_t { kNo, kNotYet, kYes };
  using Parts = std::vector<AnswerPart>;

  std::string_view rest() const { return std::string_view(held_).substr(at_); }
  void drop(size_t n) { at_ += n; }
  void drop_space();
  void run(bool at_end, Parts& out);
  bool step(bool at_end, Parts& out);
  bool run_reasoning(bool at_end, Parts& out);
  bool run_content(bool at_end, Parts& out);
  bool run_call(bool at_end, Parts& out);
  bool run_arguments(Parts& out);
  bool run_behind_arguments();
  bool run_behind_call(bool at_end);
  // Where the call that begins the rest ends, as far as it is there; npos: not yet; 0: it is none.
  size_t call_end();
  size_t json_end();
  size_t text_end(std::string_view tag);
  Match match_head(size_t& n_bytes, std::string& name) const;
  // The rest begins a call without a tag, behind so many bytes of white space and separator; npos: no.
  size_t bare_call(size_t first) const;
  bool find_begin(bool at_end, Parts& out);
  bool take_calls(std::string_view text, Parts& out);
  bool knows(std::string_view name) const;
  void begin_call(std::string frame, bool needs_begin);
  void give_up_call(size_t n_bytes, Parts& out);
  void add(AnswerPart::Kind kind, std::string_view text, Parts& out);

  AnswerOptions options_;
  Place place_ = Place::kContent;
  std::string held_;
  size_t at_ = 0;       // of held_: what is before is done
  size_t read_ = 0;     // bytes of the rest that a search has seen
  std::string frame_;   // kCall: the tag, for when it is no call
  size_t json_at_ = 0;  // kCall: where the JSON begins behind a name; 0: the name is inside
  uint32_t depth_ = 0;
  char quote_ = 0;  // inside a text: what ends it
  bool escaped_ = false;
  bool any_content_ = false;
  bool needs_begin_ = false;  // kCall: behind tools->open
  bool in_array_ = false;     // of streamed calls
  bool closed_ = false;       // kBehindArguments, kBehindCall: the first closing mark was there
  bool skip_space_ = false;   // white space that comes belongs to a frame
  uint32_t n_calls_ = 0;
};

}  // namespace millrace::text
