// How models write calls of tools and reasoning: a table, found by name or by the text of a chat template.
// Thread: any (constant data).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace::text {

enum class CallSyntax : uint8_t {
  kJson,      // {"name": ..., "arguments": {...}}, an array of them, or NAME name_end {...}
  kPythonic,  // [name(key=value, ...), ...]
  kTagged,    // <function=NAME><parameter=KEY>VALUE</parameter>...</function>
  kPairs,     // NAME <arg_key>KEY</arg_key> <arg_value>VALUE</arg_value>...
  kGemma,     // call:NAME{key:value,...}
};

// Tags hold the white space that the model writes beside them; it is not needed to read them. Persistent: the names are
// values of --tool-call-parser.
struct ToolFormat {
  std::string_view name;
  std::string_view aliases = {};  // as other servers call it; separated by spaces
  CallSyntax syntax = CallSyntax::kJson;
  std::string_view open = {};      // before the first call
  std::string_view begin = {};     // before each call
  std::string_view name_end = {};  // NAME name_end {...}; empty: the name stands inside the object
  std::string_view end = {};       // after each call
  std::string_view close = {};     // after the last
  std::string_view name_key = "name";
  std::string_view arguments_key = "arguments";
  std::string_view id_key = {};        // of a number that the model writes before the name
  std::string_view quote = {};         // kGemma: around strings
  std::string_view content_name = {};  // the "tool" of plain text
  bool array = false;                  // all calls stand in one JSON array
  bool bare = false;                   // also without a tag, when the answer is nothing but calls
  bool short_ids = false;              // ids of 9 letters and digits
  std::string_view hint = {};          // a template that names tools and has this text writes calls so
  std::string_view second_hint = {};   // and this one
};
std::span<const ToolFormat> tool_formats();
// nullptr: unknown.
const ToolFormat* find_tool_format(std::string_view name);
// By the text of the chat template; nullptr when it says nothing of tools.
const ToolFormat* tool_format_of(std::string_view chat_template);

struct ReasoningTags {
  std::string_view open;
  std::string_view close;
  bool always = false;  // the answer begins with reasoning, with or without the tag
};
// By the name of a reasoning parser; tags are empty when it is unknown.
ReasoningTags find_reasoning(std::string_view name);
std::string reasoning_names();  // all of them, separated by commas
// By the text of the chat template; empty tags when it knows no reasoning.
ReasoningTags reasoning_tags_of(std::string_view chat_template);

}  // namespace millrace::text
