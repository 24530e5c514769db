#include "text/answer_parser.h"

#include <algorithm>

#include "base/json.h"

namespace millrace::text {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr uint32_t kMaxCallDepth = 64;

constexpr ToolFormat kFormats[] = {
    {"hermes", "<tool_call>", "</tool_call>", "arguments", "<tool_call>"},
    {"mistral", "[TOOL_CALLS]", "", "arguments", "[TOOL_CALLS]"},
    {"llama3_json", "<|python_tag|>", "", "parameters", "<|python_tag|>"},
    {"generic", "", "", "arguments", ""},
};

constexpr ReasoningTags kReasoning[] = {
    {"<think>", "</think>"},
    {"<reasoning>", "</reasoning>"},
    {"[THINK]", "[/THINK]"},
};

// The longest end of `text` that is a beginning of `tag`, in bytes; the whole tag does not count.
size_t begun(std::string_view text, std::string_view tag) {
  if (tag.empty()) return 0;
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n) {
    if (text.ends_with(tag.substr(0, n))) return n;
  }
  return 0;
}

// {"name": ..., "arguments": {...}}; the arguments may also be a string that holds JSON.
bool read_call(const Json& call, std::string_view key, AnswerPart& part) {
  const Json* name = call.get("name");
  const Json* arguments = call.get(key);
  if (arguments == nullptr) arguments = call.get(key == "arguments" ? "parameters" : "arguments");
  if (name == nullptr || !name->is_string() || name->as_string().empty()) return false;
  if (arguments == nullptr) return false;
  part.kind = AnswerPart::Kind::kCall;
  part.name = name->as_string();
  if (arguments->is_object()) {
    part.arguments = arguments->dump();
    return true;
  }
  if (!arguments->is_string()) return false;
  auto inside = parse_json(arguments->as_string());
  if (!inside.ok() || !inside->is_object()) return false;
  part.arguments = arguments->as_string();
  return true;
}

}  // namespace

std::span<const ToolFormat> tool_formats() { return kFormats; }

const ToolFormat* tool_format_of(std::string_view chat_template) {
  if (chat_template.find("tools") == std::string_view::npos) return nullptr;
  for (const ToolFormat& format : kFormats) {
    if (chat_template.find(format.hint) != std::string_view::npos) return &format;
  }
  return nullptr;
}

ReasoningTags reasoning_tags_of(std::string_view chat_template) {
  for (const ReasoningTags& tags : kReasoning) {
    if (chat_template.find(tags.close) != std::string_view::npos) return tags;
  }
  return {};
}

AnswerParser::AnswerParser(const AnswerOptions& options) : options_(options) {
  if (options.in_reasoning && !options.reasoning.close.empty()) place_ = Place::kReasoning;
}

void AnswerParser::push(std::string_view text, std::vector<AnswerPart>& out) {
  held_ += text;
  run(false, out);
}

void AnswerParser::finish(std::vector<AnswerPart>& out) { run(true, out); }

void AnswerParser::add(AnswerPart::Kind kind, std::string_view text, std::vector<AnswerPart>& out) {
  if (text.empty()) return;
  if (kind == AnswerPart::Kind::kContent && text.find_first_not_of(kSpace) != std::string_view::npos)
    any_content_ = true;
  if (!out.empty() && out.back().kind == kind) {
    out.back().text += text;
  } else {
    out.push_back({.kind = kind, .text = std::string(text)});
  }
}

void AnswerParser::run(bool at_end, std::vector<AnswerPart>& out) {
  for (bool more = true; more;) {
    switch (place_) {
      case Place::kReasoning:
        more = run_reasoning(at_end, out);
        break;
      case Place::kContent:
        more = run_content(at_end, out);
        break;
      case Place::kCall:
        more = run_call(at_end, out);
        break;
      case Place::kBehindCall:
        more = run_behind_call(at_end);
        break;
    }
  }
}

bool AnswerParser::run_reasoning(bool at_end, std::vector<AnswerPart>& out) {
  std::string_view close = options_.reasoning.close;
  size_t found = held_.find(close);
  if (found == std::string::npos) {
    size_t keep = at_end ? 0 : begun(held_, close);
    add(AnswerPart::Kind::kReasoning, std::string_view(held_).substr(0, held_.size() - keep), out);
    held_.erase(0, held_.size() - keep);
    return false;
  }
  add(AnswerPart::Kind::kReasoning, std::string_view(held_).substr(0, found), out);
  held_.erase(0, found + close.size());
  place_ = Place::kContent;
  return true;
}

void AnswerParser::begin_call(bool bare) {
  bare_ = bare;
  place_ = Place::kCall;
  read_ = 0;
  depth_ = 0;
  in_string_ = escaped_ = false;
}

bool AnswerParser::run_content(bool at_end, std::vector<AnswerPart>& out) {
  const ToolFormat* tools = options_.tools;
  if (behind_call_) {  // white space between calls belongs to their frame
    held_.erase(0, std::min(held_.find_first_not_of(kSpace), held_.size()));
    if (held_.empty()) return false;
    behind_call_ = false;
  }
  // without an opening tag only a whole answer is a call
  bool whole_answer = tools != nullptr && !any_content_ && n_calls_ == 0;
  size_t first = held_.find_first_not_of(kSpace);
  bool bare = whole_answer && (tools->open.empty() || tools->arguments == "parameters");
  if (bare && first != std::string::npos && held_[first] == '{') {
    begin_call(true);
    return true;
  }
  std::string_view reasoning = any_content_ ? std::string_view() : options_.reasoning.open;
  std::string_view open = tools != nullptr ? tools->open : std::string_view();
  size_t at_call = open.empty() ? std::string::npos : held_.find(open);
  size_t at_reasoning = reasoning.empty() ? std::string::npos : held_.find(reasoning);
  if (at_reasoning != first) at_reasoning = std::string::npos;  // reasoning comes first, or it is content
  size_t found = std::min(at_call, at_reasoning);
  if (found == std::string::npos) {
    size_t keep = at_end ? 0 : std::max(begun(held_, open), begun(held_, reasoning));
    if (!at_end && whole_answer && first == std::string::npos)
      keep = held_.size();  // white space before what may be a call
    add(AnswerPart::Kind::kContent, std::string_view(held_).substr(0, held_.size() - keep), out);
    held_.erase(0, held_.size() - keep);
    return false;
  }
  add(AnswerPart::Kind::kContent, std::string_view(held_).substr(0, found), out);
  held_.erase(0, found + (found == at_call ? open.size() : reasoning.size()));
  if (found == at_call) {
    begin_call(false);
  } else {
    place_ = Place::kReasoning;
  }
  return true;
}

size_t AnswerParser::json_end() {
  for (; read_ < held_.size(); ++read_) {
    char c = held_[read_];
    if (in_string_) {
      if (!escaped_ && c == '"') in_string_ = false;
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '{' || c == '[') {
      if (++depth_ > kMaxCallDepth) return 0;
    } else if (depth_ == 0) {
      if (kSpace.find(c) == std::string_view::npos) return 0;
    } else if (c == '"') {
      in_string_ = true;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      return ++read_;
    }
  }
  return std::string::npos;
}

// One call, or an array of them; all or none.
bool AnswerParser::take_calls(std::string_view json, std::vector<AnswerPart>& out) {
  auto value = parse_json(json);
  if (!value.ok()) return false;
  std::vector<AnswerPart> parts;
  auto take = [&](const Json& call) {
    AnswerPart part;
    bool good = call.is_object() && read_call(call, options_.tools->arguments, part);
    if (good) parts.push_back(std::move(part));
    return good;
  };
  bool good = value->is_array() ? value->size() > 0 && std::ranges::all_of(value->as_array(), take) : take(*value);
  if (!good) return false;
  n_calls_ += static_cast<uint32_t>(parts.size());
  for (AnswerPart& part : parts) out.push_back(std::move(part));
  return true;
}

bool AnswerParser::run_call(bool at_end, std::vector<AnswerPart>& out) {
  size_t end = json_end();
  if (end == std::string::npos && !at_end) return false;
  bool whole = end != std::string::npos && end != 0;
  if (whole && take_calls(std::string_view(held_).substr(0, end), out)) {
    held_.erase(0, end);
    place_ = Place::kBehindCall;
    return true;
  }
  // no call: the tag and what was read of it are content; more calls may follow
  size_t n_read = end == 0 ? std::max<size_t>(read_, 1) : end == std::string::npos ? held_.size() : end;
  n_read = std::min(n_read, held_.size());
  std::string text(bare_ ? std::string_view() : options_.tools->open);
  text += std::string_view(held_).substr(0, n_read);
  add(AnswerPart::Kind::kContent, text, out);
  any_content_ = true;
  held_.erase(0, n_read);
  place_ = Place::kContent;
  return !held_.empty();
}

// White space and the closing tag; without a tag only the white space.
bool AnswerParser::run_behind_call(bool at_end) {
  std::string_view close = options_.tools->close;
  size_t first = std::min(held_.find_first_not_of(kSpace), held_.size());
  std::string_view rest = std::string_view(held_).substr(first);
  if (rest.starts_with(close)) {
    held_.erase(0, first + close.size());
  } else if (!at_end && close.starts_with(rest)) {
    return false;
  }
  place_ = Place::kContent;
  behind_call_ = true;
  return !held_.empty();
}

}  // namespace millrace::text
