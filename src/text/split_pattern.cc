// PCRE2 behind SplitPattern. Budget: one match context per call, so that the object stays shareable.
#include "text/split_pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <utility>

#include "base/limits.h"
#include "base/macros.h"
#include "text/utf8.h"

namespace millrace::text {
namespace {

constexpr uint32_t kMaxParenDepth = 64;
constexpr uint32_t kHeapLimitKib = 16 * 1024;
constexpr size_t kJitStackBytes = 16u << 20;
constexpr uint32_t kMaxLookBehind = 255;
// One match may look at every byte some times over (a run of a million spaces is one match): steps on top of the limit.
constexpr uint64_t kStepsPerByte = 64;
// All matches of one text: a pattern that looks far ahead at each place would be quadratic in all.
constexpr auto kTimeBase = std::chrono::seconds(1);
constexpr auto kTimePerByte = std::chrono::microseconds(4);

// White_Space and Oniguruma's word class, as the inside of a bracket class.
constexpr std::string_view kSpaceClass =
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";
constexpr std::string_view kWordClass =
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}"
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";

Error pattern_error(std::string message) {
  return {ErrorCode::kBadFile, "pre_tokenizer regex: " + std::move(message), ""};
}

// \s \S \w \W spelled out; \S and \W inside a bracket class are left to PCRE2.
std::string translate(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      const bool space = next == 's' || next == 'S';
      const bool word = next == 'w' || next == 'W';
      const bool negated = next == 'S' || next == 'W';
      if ((space || word) && !(negated && in_class)) {
        const auto body = space ? kSpaceClass : kWordClass;
        if (!in_class) out += negated ? "[^" : "[";
        out += body;
        if (!in_class) out += "]";
      } else {
        out += '\\';
        out += next;
      }
      continue;
    }
    if (c == '[' && in_class && !(i + 1 < pattern.size() && pattern[i + 1] == ':')) {
      out += "\\[";
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
      out += c;
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out += pattern[++i];
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') {
        out += "\\]";
        ++i;
      }
      continue;
    }
    if (c == '[' && in_class) {  // [:name:]
      const size_t close = pattern.find(":]", i);
      if (close != std::string_view::npos) {
        out += pattern.substr(i, close + 2 - i);
        i = close + 1;
        continue;
      }
    }
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

// Callouts and recursion have no info bit: find "(?C", "(?R", "(?&", "(?P>", "(?1", "\g" outside classes and escapes.
const char* forbidden_construct(std::string_view pattern) {
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
      if (!in_class && i < pattern.size() && pattern[i] == 'g') return "recursion and back-references not supported";
      if (!in_class && i < pattern.size() && pattern[i] == 'C') return "\\C not supported";
      continue;
    }
    if (in_class) {
      in_class = pattern[i] != ']';
      continue;
    }
    in_class = pattern[i] == '[';
    if (pattern[i] == '(' && i + 1 < pattern.size() && pattern[i + 1] == '*') return "verbs not supported";
    if (pattern[i] != '(' || i + 2 >= pattern.size() || pattern[i + 1] != '?') continue;
    const char kind = pattern[i + 2];
    if (kind == 'C') return "callouts not supported";
    const bool relative =
        (kind == '+' || kind == '-') && i + 3 < pattern.size() && pattern[i + 3] >= '0' && pattern[i + 3] <= '9';
    if (kind == 'R' || kind == '&' || (kind >= '0' && kind <= '9') || relative || pattern.substr(i, 4) == "(?P>") {
      return "recursion not supported";
    }
  }
  return nullptr;
}

struct CodeFree {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct CompileContextFree {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct MatchContextFree {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct MatchDataFree {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct JitStackFree {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// What one find_all() call needs; made per call, because the compiled pattern is shared between threads.
struct Matcher {
  std::unique_ptr<pcre2_match_context, MatchContextFree> context;
  std::unique_ptr<pcre2_jit_stack, JitStackFree> stack;
  std::unique_ptr<pcre2_match_data, MatchDataFree> data;
  std::chrono::steady_clock::time_point deadline;
};

void find_literal(std::string_view text, size_t at, std::string_view literal, std::vector<TextSpan>& out) {
  if (literal.empty()) return;
  for (at = text.find(literal, at); at != std::string_view::npos; at = text.find(literal, at + literal.size())) {
    out.push_back({at, at + literal.size()});
  }
}

PCRE2_SPTR as_units(std::string_view text) { return static_cast<PCRE2_SPTR>(static_cast<const void*>(text.data())); }

}  // namespace

struct SplitPattern::Compiled {
  std::unique_ptr<pcre2_code, CodeFree> code;
  bool jit = false;
  uint32_t match_steps = 0;

  Result<void> find_in_run(std::string_view run, size_t offset, Matcher& matcher, std::vector<TextSpan>& out) const {
    size_t at = 0;
    while (at < run.size()) {
      const int rc =
          jit ? pcre2_jit_match(code.get(), as_units(run), run.size(), at, 0, matcher.data.get(), matcher.context.get())
              : pcre2_match(code.get(), as_units(run), run.size(), at, PCRE2_NO_UTF_CHECK, matcher.data.get(),
                            matcher.context.get());
      if (rc == PCRE2_ERROR_NOMATCH) return {};
      if (rc < 0) {
        return Error{ErrorCode::kTokenizerLimit, fmt::format("pre-tokenizer exceeded {} match steps", match_steps), ""};
      }
      if (std::chrono::steady_clock::now() > matcher.deadline) {
        return Error{ErrorCode::kTokenizerLimit, "pre-tokenizer exceeded its time for this text", ""};
      }
      const PCRE2_SIZE* found = pcre2_get_ovector_pointer(matcher.data.get());
      if (found[1] > found[0]) {
        out.push_back({offset + found[0], offset + found[1]});
        at = found[1];
      } else {
        at = found[1] < run.size() ? found[1] + rune_at(run, found[1]).n_bytes : run.size();
      }
    }
    return {};
  }
};

SplitPattern::SplitPattern() = default;
SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

SplitPattern SplitPattern::literal(std::string text) {
  SplitPattern out;
  out.literal_ = std::move(text);
  return out;
}

Result<SplitPattern> SplitPattern::compile_regex(std::string_view pattern, uint32_t match_steps) {
  if (int64_t most = Limits()[LimitId::kPretokPatternBytes]; std::ssize(pattern) > most) {
    return pattern_error(fmt::format("{} bytes, limit {}", pattern.size(), most));
  }
  if (const char* reason = forbidden_construct(pattern)) return pattern_error(reason);
  std::unique_ptr<pcre2_compile_context, CompileContextFree> context(pcre2_compile_context_create(nullptr));
  CHECK(context != nullptr, "out of memory");
  pcre2_set_parens_nest_limit(context.get(), kMaxParenDepth);
  const std::string translated = translate(pattern);
  int error_number = 0;
  PCRE2_SIZE error_offset = 0;
  std::unique_ptr<pcre2_code, CodeFree> code(pcre2_compile(as_units(translated), translated.size(),
                                                           PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
                                                           &error_number, &error_offset, context.get()));
  if (!code) {
    std::array<PCRE2_UCHAR, 256> text{};
    pcre2_get_error_message(error_number, text.data(), text.size());
    const std::string reason(text.begin(), std::find(text.begin(), text.end(), PCRE2_UCHAR{0}));
    return pattern_error(fmt::format("{} in {}", reason, quote_for_message(pattern)));
  }
  uint32_t back_reference = 0;
  uint32_t look_behind = 0;
  pcre2_pattern_info(code.get(), PCRE2_INFO_BACKREFMAX, &back_reference);
  pcre2_pattern_info(code.get(), PCRE2_INFO_MAXLOOKBEHIND, &look_behind);
  if (back_reference > 0) return pattern_error("back-references not supported");
  if (look_behind > kMaxLookBehind) {
    return pattern_error(fmt::format("look-behind of {} characters, limit {}", look_behind, kMaxLookBehind));
  }
  SplitPattern out;
  out.compiled_ = std::make_unique<Compiled>();
  out.compiled_->jit = pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE) == 0;
  out.compiled_->code = std::move(code);
  out.compiled_->match_steps = match_steps;
  return out;
}

Result<std::vector<TextSpan>> SplitPattern::find_all(std::string_view text, std::span<const TextSpan> spans) const {
  std::vector<TextSpan> out;
  if (!compiled_) {
    for (const TextSpan& span : spans) find_literal(text.substr(0, span.end), span.begin, literal_, out);
    return out;
  }
  Matcher matcher;
  matcher.context.reset(pcre2_match_context_create(nullptr));
  matcher.data.reset(pcre2_match_data_create(1, nullptr));
  CHECK(matcher.context != nullptr && matcher.data != nullptr, "out of memory");
  const auto steps = static_cast<uint32_t>(
      std::min<uint64_t>(compiled_->match_steps + kStepsPerByte * text.size(), std::numeric_limits<uint32_t>::max()));
  pcre2_set_match_limit(matcher.context.get(), steps);
  pcre2_set_depth_limit(matcher.context.get(), steps);
  matcher.deadline = std::chrono::steady_clock::now() + kTimeBase + kTimePerByte * static_cast<int64_t>(text.size());
  pcre2_set_heap_limit(matcher.context.get(), kHeapLimitKib);
  if (compiled_->jit) {
    matcher.stack.reset(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
    if (matcher.stack) pcre2_jit_stack_assign(matcher.context.get(), nullptr, matcher.stack.get());
  }
  for (const TextSpan& span : spans) {
    const std::string_view piece = text.substr(0, span.end);
    for (size_t at = span.begin; at < span.end;) {
      const size_t end = end_of_run(piece, at, true);
      if (end > at) TRY(compiled_->find_in_run(piece.substr(at, end - at), at, matcher, out));
      at = end_of_run(piece, end, false);
    }
  }
  return out;
}

}  // namespace millrace::text
