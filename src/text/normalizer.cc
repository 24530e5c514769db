// Normalisers. Unicode forms: utf8proc decomposes and composes; the canonical order is sorted here, because
// utf8proc_decompose() orders marks by insertion (quadratic on long runs).
#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/macros.h"
#include "text/rune_class.h"
#include "text/utf8.h"

namespace millrace::text {
namespace {

void sort_marks(std::vector<utf8proc_int32_t>& codes) {
  const auto mark_class = [](utf8proc_int32_t code) { return utf8proc_get_property(code)->combining_class; };
  for (size_t begin = 0; begin < codes.size();) {
    if (mark_class(codes[begin]) == 0) {
      ++begin;
      continue;
    }
    size_t end = begin + 1;
    while (end < codes.size() && mark_class(codes[end]) != 0) ++end;
    const auto at = [&codes](size_t i) { return codes.begin() + static_cast<std::ptrdiff_t>(i); };
    std::stable_sort(at(begin), at(end), [&](auto a, auto b) { return mark_class(a) < mark_class(b); });
    begin = end;
  }
}

std::string to_form(std::string_view text, bool compatible, bool compose) {
  const int options = (compatible ? UTF8PROC_COMPAT : 0) | UTF8PROC_DECOMPOSE;
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Rune rune = rune_at(text, at);
    at += rune.n_bytes;
    std::array<utf8proc_int32_t, 32> buffer{};
    int last_class = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(rune.code), buffer.data(),
                                           static_cast<utf8proc_ssize_t>(buffer.size()),
                                           static_cast<utf8proc_option_t>(options), &last_class);
    if (n <= 0 || n > static_cast<utf8proc_ssize_t>(buffer.size())) {
      codes.push_back(static_cast<utf8proc_int32_t>(rune.code));
    } else {
      codes.insert(codes.end(), buffer.begin(), buffer.begin() + n);
    }
  }
  sort_marks(codes);
  if (compose) {
    const auto n = utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
                                            static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    if (n >= 0) codes.resize(static_cast<size_t>(n));
  }
  std::string out;
  out.reserve(text.size());
  for (const auto code : codes) append_rune(out, static_cast<uint32_t>(code));
  return out;
}

// f(valid run) for the valid runs, invalid bytes as they are.
template <class F>
std::string over_valid_runs(std::string_view text, F f) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = end_of_run(text, at, true);
    if (end > at) out += f(text.substr(at, end - at));
    at = end_of_run(text, end, false);
    out.append(text.substr(end, at - end));
  }
  return out;
}

// f(code, out) for each character.
template <class F>
std::string map_runes(std::string_view text, F f) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Rune rune = rune_at(text, at);
    if (rune.valid) {
      f(rune.code, out);
    } else {
      out.append(text.substr(at, rune.n_bytes));
    }
    at += rune.n_bytes;
  }
  return out;
}

std::string lowercase(std::string_view text) {
  return map_runes(text, [](uint32_t code, std::string& out) {
    if (code == 0x130) {  // the one character whose full lower case is two (SpecialCasing.txt)
      out += "i\xCC\x87";
    } else {
      append_rune(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))));
    }
  });
}

bool is_mark(uint32_t code) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code));
  return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

std::string without_marks(std::string_view text, bool (*drop)(uint32_t)) {
  return map_runes(text, [drop](uint32_t code, std::string& out) {
    if (!drop(code)) append_rune(out, code);
  });
}

std::string strip(std::string_view text, bool left, bool right) {
  size_t begin = 0;
  size_t end = 0;
  bool started = !left;
  for (size_t at = 0; at < text.size();) {
    const Rune rune = rune_at(text, at);
    const bool space = rune.valid && is_space_rune(rune.code);
    if (!started && !space) {
      started = true;
      begin = at;
    }
    at += rune.n_bytes;
    if (!space) end = at;
  }
  if (!started) return {};
  if (!right) end = text.size();
  return std::string(text.substr(begin, std::max(end, begin) - begin));
}

// Source: BERT tokenization.py, BasicTokenizer, as tokenizers' BertNormalizer does it.
std::string bert(const NormalizerStep& step, std::string text) {
  if (step.clean_text) {
    text = map_runes(text, [](uint32_t code, std::string& out) {
      if (code == 0 || code == 0xFFFD || is_control_rune(code)) return;
      append_rune(out, is_space_rune(code) ? ' ' : code);
    });
  }
  if (step.chinese_chars) {
    text = map_runes(text, [](uint32_t code, std::string& out) {
      const bool pad = is_chinese_rune(code);
      if (pad) out += ' ';
      append_rune(out, code);
      if (pad) out += ' ';
    });
  }
  if (step.strip_accents) {
    text = over_valid_runs(text, [](std::string_view run) { return to_form(run, false, false); });
    text = without_marks(text, is_nonspacing_mark);
  }
  return step.lowercase ? lowercase(text) : text;
}

Result<std::string> replace(const SplitPattern& pattern, std::string_view content, const std::string& text) {
  const TextSpan whole{0, text.size()};
  const auto found = TRY(pattern.find_all(text, std::span<const TextSpan>(&whole, 1)));
  std::string out;
  out.reserve(text.size());
  size_t at = 0;
  for (const TextSpan& match : found) {
    out.append(text, at, match.begin - at);
    out += content;
    at = match.end;
  }
  out.append(text, at);
  return out;
}

}  // namespace

Result<Normalizer> Normalizer::create(const std::vector<NormalizerStep>& steps, uint32_t match_steps) {
  Normalizer out;
  for (const NormalizerStep& spec : steps) {
    Step step{spec, std::nullopt, std::nullopt};
    if (spec.kind == NormalizerKind::kReplace) {
      step.pattern = spec.is_regex ? TRY(SplitPattern::compile_regex(spec.pattern, match_steps))
                                   : SplitPattern::literal(spec.pattern);
    }
    if (spec.kind == NormalizerKind::kPrecompiled) {
      step.charsmap = TRY(Charsmap::parse(spec.content));
      step.spec.content.clear();
    }
    out.steps_.push_back(std::move(step));
  }
  return out;
}

Result<std::string> Normalizer::apply_step(const Step& step, std::string text) const {
  const auto form = [&text](bool compatible, bool compose) {
    return over_valid_runs(text, [=](std::string_view run) { return to_form(run, compatible, compose); });
  };
  switch (step.spec.kind) {
    case NormalizerKind::kNfc:
      return form(false, true);
    case NormalizerKind::kNfd:
      return form(false, false);
    case NormalizerKind::kNfkc:
      return form(true, true);
    case NormalizerKind::kNfkd:
      return form(true, false);
    case NormalizerKind::kLowercase:
      return lowercase(text);
    case NormalizerKind::kStripAccents:
      return without_marks(text, is_mark);
    case NormalizerKind::kReplace:
      return replace(*step.pattern, step.spec.content, text);
    case NormalizerKind::kPrepend:
      return text.empty() ? text : step.spec.content + text;
    case NormalizerKind::kStrip:
      return strip(text, step.spec.left, step.spec.right);
    case NormalizerKind::kBert:
      return bert(step.spec, std::move(text));
    case NormalizerKind::kPrecompiled:
      return over_valid_runs(text, [&step](std::string_view run) {
        std::string out;
        step.charsmap->apply(run, out);
        return out;
      });
  }
  return text;
}

Result<std::string> Normalizer::apply(std::string text) const {
  for (const Step& step : steps_) text = TRY(apply_step(step, std::move(text)));
  return text;
}

}  // namespace millrace::text
