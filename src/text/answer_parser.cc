#include "text/answer_parser.h"

#include <algorithm>
#include <utility>

#include "base/json.h"

namespace millrace::text {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr uint32_t kMaxCallDepth = 64;
constexpr size_t kMaxHeadBytes = 256;  // of a name and what stands between it and its arguments
constexpr size_t npos = std::string_view::npos;

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

std::string_view trim(std::string_view text) {
  size_t first = text.find_first_not_of(kSpace);
  if (first == npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

size_t first_of(std::string_view text) { return std::min(text.find_first_not_of(kSpace), text.size()); }

// The longest end of `text` that is a beginning of `tag`, in bytes; the whole tag does not count.
size_t begun(std::string_view text, std::string_view tag) {
  if (tag.empty()) return 0;
  for (size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n) {
    if (text.ends_with(tag.substr(0, n))) return n;
  }
  return 0;
}

// NAME, then what the format writes before the object: the name, or nothing.
std::string_view name_of_head(std::string_view head, const ToolFormat& format) {
  constexpr std::string_view kCallId = "[CALL_ID]";  // Mistral
  head = trim(head);
  size_t n = 0;
  while (n < head.size() && is_name(head[n])) ++n;
  std::string_view rest = trim(head.substr(n));
  if (rest.starts_with(kCallId)) {
    size_t end = rest.find('[', kCallId.size());
    rest = end == npos ? std::string_view() : rest.substr(end);
  }
  bool good = rest.empty() || rest == trim(format.name_end);
  return good ? head.substr(0, n) : std::string_view();
}

// What begins a call of this syntax when it is no JSON; empty: anything.
std::string_view first_words(CallSyntax syntax) {
  if (syntax == CallSyntax::kTagged) return "<function=";
  if (syntax == CallSyntax::kGemma) return "call:";
  return {};
}

}  // namespace

AnswerParser::AnswerParser(AnswerOptions options) : options_(std::move(options)) {
  if (!options_.reasoning.close.empty() && (options_.in_reasoning || options_.reasoning.always)) {
    place_ = Place::kReasoning;
    skip_space_ = true;
  } else if (options_.in_call && options_.tools != nullptr) {
    begin_call({}, false);
  }
}

void AnswerParser::push(std::string_view text, Parts& out) {
  held_ += text;
  run(false, out);
}

void AnswerParser::finish(Parts& out) { run(true, out); }

void AnswerParser::run(bool at_end, Parts& out) {
  while (step(at_end, out)) {
  }
  held_.erase(0, at_);
  at_ = 0;
}

bool AnswerParser::step(bool at_end, Parts& out) {
  switch (place_) {
    case Place::kReasoning:
      return run_reasoning(at_end, out);
    case Place::kContent:
      return run_content(at_end, out);
    case Place::kCall:
      return run_call(at_end, out);
    case Place::kArguments:
      return run_arguments(out);
    case Place::kBehindArguments:
      return run_behind_arguments();
    case Place::kBehindCall:
      return run_behind_call(at_end);
  }
  return false;
}

void AnswerParser::add(AnswerPart::Kind kind, std::string_view text, Parts& out) {
  if (text.empty()) return;
  if (kind == AnswerPart::Kind::kContent && text.find_first_not_of(kSpace) != npos) any_content_ = true;
  if (!out.empty() && out.back().kind == kind) {
    out.back().text += text;
  } else {
    out.push_back({.kind = kind, .text = std::string(text)});
  }
}

void AnswerParser::drop_space() {
  drop(first_of(rest()));
  skip_space_ = rest().empty();
}

// A line feed before the closing tag belongs to it.
bool AnswerParser::run_reasoning(bool at_end, Parts& out) {
  std::string_view open = trim(options_.reasoning.open);
  std::string_view close = options_.reasoning.close;
  if (skip_space_) drop_space();
  if (options_.reasoning.always && !options_.in_reasoning) {  // the tag may or may not be there
    if (rest().starts_with(open)) {
      drop(open.size());
      skip_space_ = true;
    } else if (!at_end && open.starts_with(rest())) {
      return false;
    }
    options_.in_reasoning = true;
    return true;
  }
  std::string_view text = rest();
  size_t found = text.find(close);
  size_t end = found != npos ? found : text.size() - (at_end ? 0 : begun(text, close));
  if (end > 0 && text[end - 1] == '\n' && (found != npos || !at_end)) --end;
  add(AnswerPart::Kind::kReasoning, text.substr(0, end), out);
  drop(found == npos ? end : found + close.size());
  if (found == npos) return false;
  place_ = Place::kContent;
  skip_space_ = true;
  return true;
}

void AnswerParser::begin_call(std::string frame, bool needs_begin) {
  place_ = Place::kCall;
  frame_ = std::move(frame);
  needs_begin_ = needs_begin;
  read_ = json_at_ = depth_ = 0;
  quote_ = 0;
  escaped_ = in_array_ = closed_ = false;
}

// Calls without a tag are a whole answer, or follow another one, maybe behind a semicolon.
size_t AnswerParser::bare_call(size_t first) const {
  const ToolFormat* tools = options_.tools;
  std::string_view text = rest();
  if (tools == nullptr || !tools->bare || any_content_ || first >= text.size()) return npos;
  if (n_calls_ > 0 && text[first] == ';') first = std::min(text.find_first_not_of(kSpace, first + 1), text.size());
  if (first == text.size()) return first;
  bool list = text[first] == '[';
  bool object = text[first] == '{' && tools->syntax == CallSyntax::kJson;
  return list || object ? first : npos;
}

bool AnswerParser::run_content(bool at_end, Parts& out) {
  if (skip_space_) drop_space();
  std::string_view text = rest();
  if (text.empty()) return false;
  size_t first = any_content_ ? 0 : std::min(text.find_first_not_of(kSpace, read_), text.size());
  read_ = first == text.size() ? first : 0;
  if (size_t bare = bare_call(first); bare != npos && (bare < text.size() || !at_end)) {
    if (bare == text.size()) return false;
    drop(bare);
    begin_call(std::string(text.substr(0, bare)), false);
    return true;
  }
  const ToolFormat* tools = options_.tools;
  std::string_view open = tools != nullptr ? trim(tools->open) : std::string_view();
  std::string_view begin = tools != nullptr ? trim(tools->begin) : std::string_view();
  bool may_reason = !any_content_ && n_calls_ == 0;
  std::string_view reasoning = may_reason ? trim(options_.reasoning.open) : std::string_view();
  size_t at_open = open.empty() ? npos : text.find(open);
  size_t at_begin = begin.empty() ? npos : text.find(begin);
  size_t found = std::min(at_open, at_begin);
  if (!reasoning.empty() && text.substr(first).starts_with(reasoning)) {
    drop(first + reasoning.size());
    place_ = Place::kReasoning;
    options_.in_reasoning = skip_space_ = true;
    return true;
  }
  if (found == npos) {
    size_t keep = at_end ? 0 : std::max({begun(text, open), begun(text, begin), begun(text, reasoning)});
    // white space before what may be a call
    bool nothing = !any_content_ && first >= text.size() - keep && !at_end;
    size_t n = nothing ? 0 : text.size() - keep;
    add(AnswerPart::Kind::kContent, text.substr(0, n), out);
    drop(n);
    if (n > 0) read_ = 0;
    return false;
  }
  bool only_space = !any_content_ && first >= found;
  if (!only_space) add(AnswerPart::Kind::kContent, text.substr(0, found), out);
  size_t end = found + (found == at_open ? open.size() : begin.size());
  drop(end);
  begin_call(std::string(text.substr(only_space ? 0 : found, end - (only_space ? 0 : found))),
             found == at_open && found != at_begin && !begin.empty());
  return true;
}

// No call: the tag and what was read of it are content; more calls may follow.
void AnswerParser::give_up_call(size_t n_bytes, Parts& out) {
  std::string text = std::exchange(frame_, {});
  text += rest().substr(0, n_bytes);
  drop(std::min(n_bytes, rest().size()));
  add(AnswerPart::Kind::kContent, text, out);
  any_content_ = true;
  place_ = Place::kContent;
  read_ = 0;
}

// Behind the outer tag: the inner one. False: wait, or it was given up.
bool AnswerParser::find_begin(bool at_end, Parts& out) {
  std::string_view text = rest();
  std::string_view begin = trim(options_.tools->begin);
  size_t first = first_of(text);
  std::string_view next = text.substr(first);
  if (next.starts_with(begin)) {
    frame_ += text.substr(0, first + begin.size());
    drop(first + begin.size());
  } else if (next.empty() || begin.starts_with(next)) {
    if (at_end) give_up_call(text.size(), out);
    return false;
  } else if (next.front() != '{' && next.front() != '[') {
    give_up_call(0, out);
    return false;
  }
  needs_begin_ = false;
  return true;
}

size_t AnswerParser::json_end() {
  std::string_view text = rest();
  bool python = options_.tools->syntax == CallSyntax::kPythonic && place_ == Place::kCall;
  for (; read_ < text.size(); ++read_) {
    char c = text[read_];
    if (quote_ != 0) {
      if (!escaped_ && c == quote_) quote_ = 0;
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '{' || c == '[') {
      if (++depth_ > kMaxCallDepth && place_ == Place::kCall) return 0;
    } else if (depth_ == 0) {
      if (kSpace.find(c) == npos) return 0;
    } else if (c == '"' || (python && c == '\'')) {
      quote_ = c;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      return ++read_;
    }
  }
  return npos;
}

size_t AnswerParser::text_end(std::string_view tag) {
  std::string_view text = rest();
  size_t from = read_ > tag.size() ? read_ - tag.size() : 0;
  size_t found = text.find(tag, from);
  read_ = text.size();
  return found;
}

size_t AnswerParser::call_end() {
  const ToolFormat& format = *options_.tools;
  std::string_view text = rest();
  size_t first = first_of(text);
  if (read_ > first || first == text.size()) {  // the kind is known, or nothing is there yet
    if (first == text.size()) return npos;
  }
  bool json = text[first] == '{' || text[first] == '[' || json_at_ > 0;
  if (json) return json_end();
  if (format.syntax == CallSyntax::kJson) {
    if (format.name_end.empty()) return 0;
    size_t brace = text.substr(0, kMaxHeadBytes).find('{');
    if (brace == npos) return text.size() < kMaxHeadBytes ? npos : 0;
    if (name_of_head(text.substr(0, brace), format).empty()) return 0;
    read_ = json_at_ = brace;
    return json_end();
  }
  std::string_view words = first_words(format.syntax);
  std::string_view next = text.substr(first);
  if (!next.starts_with(words)) return words.starts_with(next) ? npos : 0;
  return format.end.empty() ? 0 : text_end(trim(format.end));
}

bool AnswerParser::knows(std::string_view name) const {
  return options_.names == nullptr || std::ranges::find(*options_.names, name) != options_.names->end();
}

// One call, or several; all or none.
bool AnswerParser::take_calls(std::string_view text, Parts& out) {
  const ToolFormat& format = *options_.tools;
  std::vector<RawCall> calls;
  bool good = false;
  if (json_at_ > 0) {
    std::string_view arguments = text.substr(json_at_);
    auto parsed = parse_json(arguments);
    good = parsed.ok() && parsed->is_object();
    calls.push_back(
        {.name = std::string(name_of_head(text.substr(0, json_at_), format)), .arguments = std::string(arguments)});
  } else {
    good = format.syntax != CallSyntax::kJson && read_calls(format, text, calls);
    good = good || read_json_calls(format, text, calls);
  }
  if (!good || !std::ranges::all_of(calls, [&](const RawCall& call) { return knows(call.name); })) return false;
  n_calls_ += static_cast<uint32_t>(calls.size());
  for (RawCall& call : calls) {
    out.push_back({.kind = AnswerPart::Kind::kCall,
                   .text = {},
                   .name = std::move(call.name),
                   .arguments = std::move(call.arguments)});
  }
  return true;
}

// [ { "name": "f", "arguments": {   or   f name_end {   as far as it is there; n_bytes: up to the last {.
AnswerParser::Match AnswerParser::match_head(size_t& n_bytes, std::string& name) const {
  const ToolFormat& format = *options_.tools;
  std::string_view text = rest();
  size_t at = first_of(text);
  if (at < text.size() && text[at] != '{' && text[at] != '[') {
    if (format.name_end.empty() || format.syntax != CallSyntax::kJson) return Match::kNo;
    n_bytes = text.substr(0, kMaxHeadBytes).find('{');
    if (n_bytes == npos) return text.size() < kMaxHeadBytes ? Match::kNotYet : Match::kNo;
    name = name_of_head(text.substr(0, n_bytes), format);
    return knows(name) ? Match::kYes : Match::kNo;
  }
  // marks and texts in a row; a text is shown as its quotes
  size_t colon_key = 0;
  std::string marks;
  std::string key;
  for (; at < text.size(); ++at) {
    char c = text[at];
    if (kSpace.find(c) != npos) continue;
    if (c == '"') {
      size_t end = text.find('"', at + 1);
      if (end == npos) return text.size() < 4 * kMaxHeadBytes ? Match::kNotYet : Match::kNo;
      std::string_view word = text.substr(at + 1, end - at - 1);
      if (word.find('\\') != npos) return Match::kNo;
      bool is_value = !marks.empty() && marks.back() == ':';
      if (is_value && key == format.name_key) name = word;
      if (!is_value) key = word;
      colon_key += is_value ? 0 : 1;
      at = end;
      marks += '"';
      continue;
    }
    marks += c;
    if (c == '{' && marks.size() > 1 && marks.back() == '{' && marks[marks.size() - 2] == ':') {
      n_bytes = at;
      return key == format.arguments_key && knows(name) && !name.empty() ? Match::kYes : Match::kNo;
    }
    if (std::string_view("{[:,").find(c) == npos || colon_key > 3) return Match::kNo;
  }
  return Match::kNotYet;
}

bool AnswerParser::run_call(bool at_end, Parts& out) {
  const ToolFormat& format = *options_.tools;
  if (needs_begin_ && !find_begin(at_end, out)) return place_ != Place::kCall;
  if (!format.content_name.empty()) {  // not a tool at all: plain text
    std::string head = std::string(format.content_name) + "\n";
    if (rest().starts_with(head)) {
      drop(head.size());
      place_ = Place::kContent;
      any_content_ = true;
      read_ = 0;
      return true;
    }
    if (!at_end && head.starts_with(rest())) return false;
  }
  if (options_.stream_arguments) {
    size_t n_bytes = 0;
    std::string name;
    Match match = match_head(n_bytes, name);
    if (match == Match::kNotYet && !at_end) return false;
    if (match == Match::kYes) {
      in_array_ = in_array_ || rest()[first_of(rest())] == '[';
      json_at_ = rest()[first_of(rest())] == '{' || in_array_ ? 0 : n_bytes;
      drop(n_bytes);
      ++n_calls_;
      out.push_back({.kind = AnswerPart::Kind::kCall, .text = {}, .name = std::move(name), .arguments = {}});
      place_ = Place::kArguments;
      read_ = depth_ = 0;
      return true;
    }
  }
  size_t end = call_end();
  bool unclosed = end == npos && at_end && format.syntax != CallSyntax::kJson && depth_ == 0;
  if (end == npos && !at_end) return false;
  bool whole = (end != npos && end != 0) || unclosed;
  if (whole && take_calls(rest().substr(0, end), out)) {
    drop(unclosed ? rest().size() : end);
    place_ = Place::kBehindCall;
    closed_ = false;
    return true;
  }
  give_up_call(end == 0 ? std::min(read_, rest().size()) : std::min(end, rest().size()), out);
  return true;
}

bool AnswerParser::run_arguments(Parts& out) {
  size_t end = json_end();
  bool whole = end != npos && end != 0;
  size_t n = whole ? end : rest().size();
  add(AnswerPart::Kind::kArguments, rest().substr(0, n), out);
  drop(n);
  read_ = 0;
  if (!whole) return false;
  place_ = json_at_ > 0 ? Place::kBehindCall : Place::kBehindArguments;
  closed_ = false;
  return true;
}

// } and what comes behind it in an array.
bool AnswerParser::run_behind_arguments() {
  drop_space();
  skip_space_ = false;
  if (rest().empty()) return false;
  char c = rest().front();
  if (!closed_ && c == '}') {
    closed_ = true;
    drop(1);
    if (!in_array_) place_ = Place::kBehindCall;
  } else if (closed_ && in_array_ && c == ',') {
    drop(1);
    begin_call({}, false);
    in_array_ = true;
  } else {
    if (closed_ && in_array_ && c == ']') drop(1);
    place_ = Place::kBehindCall;
  }
  if (place_ == Place::kBehindCall) closed_ = false;
  return true;
}

// White space and the closing tags, of the call and of all calls, as far as they are there.
bool AnswerParser::run_behind_call(bool at_end) {
  drop_space();
  skip_space_ = false;
  std::string_view end = closed_ ? std::string_view() : trim(options_.tools->end);
  std::string_view close = trim(options_.tools->close);
  for (std::string_view tag : {end, close}) {
    if (tag.empty() || !rest().starts_with(tag)) continue;
    drop(tag.size());
    if (tag == end && !closed_) {
      closed_ = true;
      return true;
    }
    place_ = Place::kContent;
    skip_space_ = true;
    return true;
  }
  if (!at_end && (end.starts_with(rest()) || close.starts_with(rest())) && !(end.empty() && close.empty()))
    return false;
  if (rest().empty() && !at_end) return false;
  place_ = Place::kContent;
  skip_space_ = true;
  read_ = 0;
  return !rest().empty();
}

}  // namespace millrace::text
