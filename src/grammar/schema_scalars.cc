// Numbers and strings of a schema.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/macros.h"
#include "grammar/numbers.h"
#include "grammar/regex.h"
#include "grammar/regex_match.h"
#include "grammar/schema_builder.h"
#include "grammar/schema_keywords.h"

namespace millrace::grammar {
namespace {

constexpr uint64_t kMaxRepeats = 1u << 20;  // items or characters that a repetition counts
constexpr uint64_t kWrittenOut = 4;         // repetitions inside a string up to which the core counts
constexpr uint64_t kCountedInside = 24;     // and where something follows them
constexpr int kMaxFraction = 6;             // digits behind the point of a bounded number

struct WholeBounds {
  int64_t low = -kMaxWhole;
  int64_t high = kMaxWhole;
  bool empty() const { return low > high; }
};

// a / b, b above 0, rounded down.
int64_t floor_of(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// The whole n with min <= n / scale <= max.
WholeBounds whole_bounds(const NumberBounds& bounds, double scale) {
  WholeBounds out;
  auto most = static_cast<double>(kMaxWhole);
  if (bounds.min) {
    double low = std::ceil(*bounds.min * scale);
    if (low / scale < *bounds.min || (bounds.min_open && low / scale <= *bounds.min)) low += 1;
    out.low = static_cast<int64_t>(std::clamp(low, -most, most + 1));
  }
  if (bounds.max) {
    double high = std::floor(*bounds.max * scale);
    if (high / scale > *bounds.max || (bounds.max_open && high / scale >= *bounds.max)) high -= 1;
    out.high = static_cast<int64_t>(std::clamp(high, -most - 1, most));
  }
  return out;
}

// Digits behind the point that tell the bounds from zero and from each other.
int n_fraction_for(const NumberBounds& bounds) {
  int n = 2;
  double scale = 100;
  auto fits = [&] { return !whole_bounds(bounds, scale).empty(); };
  for (; n < kMaxFraction && !fits(); ++n) scale *= 10;
  return n;
}

// How many characters a pattern's expression matches; the expression holds one character per set and text.
struct Lengths {
  uint64_t min = 0;
  uint64_t max = 0;
};

uint64_t times(uint64_t a, uint64_t b) {
  if (a == 0 || b == 0) return 0;
  return a > UINT64_MAX / b || a == UINT64_MAX || b == kUnbounded ? UINT64_MAX : a * b;
}
uint64_t plus(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

Lengths lengths_of(const Rules& rules, ExprId id) {
  const Expr& expr = rules.at(id);
  Lengths out;
  switch (expr.kind) {
    case ExprKind::kText:
      return expr.text.empty() ? Lengths{0, 0} : Lengths{1, 1};
    case ExprKind::kSet:
      return {1, 1};
    case ExprKind::kSequence:
      for (ExprId part : expr.parts) {
        Lengths one = lengths_of(rules, part);
        out = {plus(out.min, one.min), plus(out.max, one.max)};
      }
      return out;
    case ExprKind::kChoice:
      out = {UINT64_MAX, 0};
      for (ExprId part : expr.parts) {
        Lengths one = lengths_of(rules, part);
        out = {std::min(out.min, one.min), std::max(out.max, one.max)};
      }
      return out;
    case ExprKind::kRepeat: {
      Lengths one = lengths_of(rules, expr.parts[0]);
      return {times(one.min, expr.min), times(one.max, expr.max)};
    }
    case ExprKind::kRule:
    case ExprKind::kTags:
      return {0, UINT64_MAX};
  }
  return out;
}

// A repetition that is better counted beside the core than written out.
bool has_long_repeat(const Rules& rules, ExprId id) {
  const Expr& expr = rules.at(id);
  bool here = expr.kind == ExprKind::kRepeat && expr.max != kUnbounded && expr.max > kWrittenOut;
  return here || std::ranges::any_of(expr.parts, [&](ExprId part) { return has_long_repeat(rules, part); });
}

}  // namespace

// Written digit by digit where the factor allows it, else as a list of those next to the lower bound, or to zero.
ExprId SchemaBuilder::multiples_expr(const NumberBounds& bounds) {
  bool positive = bounds.min && *bounds.min == 0 && !bounds.min_open && !bounds.max;
  bool free = positive || (!bounds.min && !bounds.max);
  if (free && can_write_multiples(bounds.multiple_of)) return multiples(rules_, bounds.multiple_of, !positive);
  WholeBounds whole = whole_bounds(bounds, 1);
  if (whole.empty()) return rules_.set({});
  int64_t factor = bounds.multiple_of;
  int64_t first = whole.low >= 0 ? (whole.low + factor - 1) / factor : -(-whole.low / factor);
  int64_t last = whole.high >= 0 ? whole.high / factor : -((-whole.high + factor - 1) / factor);
  int64_t most = options_.limits.alternatives - 1;
  if (!bounds.min) first = std::max(first, std::min<int64_t>(0, last - most));
  last = std::min(last, first + most);
  std::vector<ExprId> parts;
  for (int64_t n = first; n <= last; ++n) parts.push_back(rules_.text(std::to_string(n * factor)));
  return parts.empty() ? rules_.set({}) : rules_.choice(std::move(parts));
}

// Numbers that are not whole: the last digit behind the point is not zero, and the bounds hold whatever it is.
ExprId SchemaBuilder::fraction_expr(const NumberBounds& bounds) {
  constexpr uint32_t kDigits = 12;
  ExprId last = rules_.set({{'1', '9'}});
  if (!bounds.min && !bounds.max) {
    ExprId more = rules_.repeat(rules_.set({{'0', '9'}}), 0, kDigits);
    return rules_.sequence({any_whole(rules_), rules_.text("."), more, last});
  }
  int n = std::min(n_fraction_for(bounds) + 1, kMaxFraction + 1);
  WholeBounds scaled = whole_bounds(bounds, std::pow(10.0, n));
  if (bounds.min) ++scaled.low;
  if (bounds.max) --scaled.high;
  if (scaled.empty()) return rules_.set({});
  return rules_.sequence({numbers_.decimal_range(scaled.low, scaled.high, n), last});
}

Result<ExprId> SchemaBuilder::number_expr(const Shape& shape) {
  const NumberBounds& bounds = shape.number;
  bool bounded = bounds.min || bounds.max;
  auto most_whole = static_cast<double>(kMaxWhole);
  if ((bounds.min && *bounds.min > most_whole) || (bounds.max && *bounds.max < -most_whole)) {
    return schema_error(shape.pointer, fmt::format("only numbers beyond {} is not supported", kMaxWhole));
  }
  bool only_whole = bounds.multiple_of > 0;
  if ((shape.types & kInteger) == 0) return only_whole ? rules_.set({}) : fraction_expr(bounds);
  if (bounds.multiple_of > 1) return multiples_expr(bounds);
  bool fraction = (shape.types & kFraction) != 0 && !only_whole;
  if (!bounded) return fraction ? any_number(rules_) : any_whole(rules_);
  WholeBounds whole = whole_bounds(bounds, 1);
  std::vector<ExprId> parts;
  auto add_whole = [&](int64_t low, int64_t high) {
    if (low <= high) parts.push_back(numbers_.whole_range(low, high));
  };
  int n = n_fraction_for(bounds);
  double scale = std::pow(10.0, n);
  WholeBounds scaled = whole_bounds(bounds, scale);
  if (!fraction || scaled.empty()) {
    add_whole(whole.low, whole.high);
  } else {
    auto per_whole = static_cast<int64_t>(scale);
    parts.push_back(numbers_.number_range(scaled.low, scaled.high, n));
    // too large for digits behind the point
    add_whole(whole.low, std::min(whole.high, floor_of(scaled.low - 1, per_whole)));
    add_whole(std::max(whole.low, floor_of(scaled.high, per_whole) + 1), whole.high);
  }
  if (parts.empty()) return rules_.set({});
  return rules_.choice(std::move(parts));
}

// A pattern keeps to length bounds when all it matches does, or when one repetition of parts of one length can be cut.
Result<ExprId> SchemaBuilder::pattern_expr(const StringBounds& bounds, std::string_view pattern,
                                           const std::string& pointer, bool search) {
  RegexOptions options{
      .json_string = true, .search = search, .max_bytes = options_.regex_bytes, .max_nesting = options_.regex_nesting};
  Result<ExprId> read = add_regex(rules_, pattern, options);
  if (!read.ok()) {
    return Error{read.error().code,
                 fmt::format("{}: {}", quote_for_message(pointer_to(pointer, "pattern"), 200), read.error().message),
                 ""};
  }
  ExprId expr = *read;
  Lengths all = lengths_of(rules_, expr);
  bool inside = all.min >= bounds.min_length && all.max <= bounds.max_length;
  if (inside && (bounds.any_length() || all.max != UINT64_MAX)) {
    if (!has_long_repeat(rules_, expr)) return expr;
  }
  std::vector<ExprId> parts{expr};
  if (rules_.at(expr).kind == ExprKind::kSequence) parts = rules_.at(expr).parts;
  size_t n_free = 0;
  size_t free_idx = 0;
  uint64_t fixed = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    Lengths one = lengths_of(rules_, parts[i]);
    if (one.min == one.max) {
      fixed = plus(fixed, one.min);
    } else {
      ++n_free;
      free_idx = i;
    }
  }
  Error unsupported = schema_error(pointer, "this pattern beside minLength or maxLength is not supported");
  if (n_free == 0) return inside ? Result<ExprId>(expr) : Result<ExprId>(rules_.set({}));
  if (n_free != 1 || rules_.at(parts[free_idx]).kind != ExprKind::kRepeat) {
    return inside ? Result<ExprId>(expr) : Result<ExprId>(std::move(unsupported));
  }
  Expr free = rules_.at(parts[free_idx]);
  Lengths unit = lengths_of(rules_, free.parts[0]);
  if (unit.min != unit.max || unit.min == 0) {
    return inside ? Result<ExprId>(expr) : Result<ExprId>(std::move(unsupported));
  }
  if (bounds.max_length < fixed) return rules_.set({});
  uint64_t least = bounds.min_length <= fixed ? 0 : (bounds.min_length - fixed + unit.min - 1) / unit.min;
  uint64_t most = bounds.max_length == UINT64_MAX ? kUnbounded : (bounds.max_length - fixed) / unit.min;
  least = std::max<uint64_t>(least, free.min);
  most = std::min<uint64_t>(most, free.max);
  if (least > most) return rules_.set({});
  if (least > kMaxRepeats) return schema_error(pointer, fmt::format("minLength above {}", kMaxRepeats));
  // what is counted beside the core must be able to end at any length: not where something must follow
  bool ends_with_it = std::ranges::all_of(std::span(parts).subspan(free_idx + 1),
                                          [&](ExprId part) { return lengths_of(rules_, part).max == 0; });
  if (!ends_with_it) {
    if (least > kCountedInside) return unsupported;
    if (most != kUnbounded) most = std::min(most, std::max(least, kCountedInside));
    parts[free_idx] = rules_.repeat(free.parts[0], static_cast<uint32_t>(least), static_cast<uint32_t>(most));
    return rules_.sequence(std::move(parts));
  }
  // few repetitions are written out; more are counted beside the core, with what is fixed before them
  bool few = most <= kWrittenOut || (most == kUnbounded && least <= kWrittenOut);
  if (few) {
    parts[free_idx] = rules_.repeat(free.parts[0], static_cast<uint32_t>(least), static_cast<uint32_t>(most));
    return rules_.sequence(std::move(parts));
  }
  parts[free_idx] = rules_.repeat(free.parts[0], static_cast<uint32_t>(std::min<uint64_t>(least, 1)), kUnbounded);
  uint64_t longest = most == kUnbounded ? UINT64_MAX : fixed + most * unit.min;
  LengthBounds guard{static_cast<uint32_t>(fixed + least * unit.min),
                     static_cast<uint32_t>(std::min<uint64_t>(longest, UINT32_MAX))};
  return guarded(rules_.sequence(std::move(parts)), guard, pointer);
}

// The inside of a string whose length is counted beside the core.
Result<ExprId> SchemaBuilder::guarded(ExprId inside, const LengthBounds& bounds, const std::string& pointer) {
  if (!options_.count_aside) return schema_error(pointer, "this length of a string is not supported here");
  for (const LengthBounds& other : open_bounds_) {
    // all bounds of one place hold: one of two that exclude each other is not generated
    if (std::max(bounds.min, other.min) > std::min(bounds.max, other.max)) return rules_.set({});
  }
  open_bounds_.push_back(bounds);
  ExprId marker = rules_.length_marker_of(bounds);
  if (rules_.lengths.size() >= kMaxLengthBounds) {
    return schema_error(pointer, fmt::format("more than {} different string lengths", kMaxLengthBounds));
  }
  return rules_.choice({inside, marker});
}

// The pattern; beside bounds of the length as if it described the whole string, else with anything around it.
Result<ExprId> SchemaBuilder::bounded_pattern(const StringBounds& bounds, const std::string& pointer) {
  const std::string& pattern = bounds.patterns[0];
  if (bounds.any_length()) return pattern_expr(bounds, pattern, pointer);
  auto is_something = [&](const Result<ExprId>& expr) { return expr.ok() && !rules_.matches_nothing(*expr); };
  Result<ExprId> whole = pattern_expr(bounds, pattern, pointer, false);
  if (is_something(whole)) return whole;
  Result<ExprId> inside = pattern_expr(bounds, pattern, pointer, true);
  return is_something(inside) || whole.ok() ? inside : whole;
}

// A format: the widest of its patterns that can keep to the bounds of the length.
Result<ExprId> SchemaBuilder::format_expr(const StringBounds& bounds, const std::string& pointer) {
  std::span<const std::string_view> patterns = format_patterns(bounds.format);
  if (bounds.any_length()) return pattern_expr(bounds, patterns[0], pointer);
  for (std::string_view pattern : patterns) {
    Result<ExprId> expr = pattern_expr(bounds, pattern, pointer, false);
    if (expr.ok() && !rules_.matches_nothing(*expr)) return expr;
  }
  return schema_error(pointer_to(pointer, "format"), "this format beside minLength or maxLength is not supported");
}

// A string that is none of `refused`.
Result<ExprId> SchemaBuilder::other_strings(const StringBounds& bounds, const std::string& pointer,
                                            const std::vector<std::string>& refused) {
  std::vector<std::string> patterns = bounds.patterns;
  std::span<const std::string_view> of_format = format_patterns(bounds.format);
  if (!of_format.empty()) patterns.emplace_back(of_format[0]);
  for (const std::string& pattern : patterns) {
    for (const std::string& text : refused) {
      Result<bool> matched = matches_pattern(pattern, text);
      if (!matched.ok()) return schema_error(pointer, matched.error().message);
      if (*matched) {
        return schema_error(pointer, "\"not\" of a text that the pattern or format allows is not supported");
      }
    }
  }
  if (!patterns.empty()) return string_expr(bounds, pointer);
  ExprId inside = other_names(refused);
  if (!bounds.any_length()) {
    LengthBounds lengths{static_cast<uint32_t>(std::min<uint64_t>(bounds.min_length, kMaxRepeats)),
                         static_cast<uint32_t>(std::min<uint64_t>(bounds.max_length, UINT32_MAX))};
    inside = TRY(guarded(inside, lengths, pointer));
  }
  return rules_.sequence({rules_.text("\""), inside, rules_.text("\"")});
}

Result<ExprId> SchemaBuilder::string_expr(const StringBounds& bounds, const std::string& pointer,
                                          const std::vector<std::string>& refused) {
  if (bounds.max_length < bounds.min_length) return rules_.set({});
  if (!refused.empty()) return other_strings(bounds, pointer, refused);
  if (bounds.min_length > kMaxRepeats) return schema_error(pointer, fmt::format("minLength above {}", kMaxRepeats));
  if (bounds.patterns.size() > 1) return schema_error(pointer, "several patterns at once are not supported");
  bool has_format = !format_patterns(bounds.format).empty();
  if (has_format && !bounds.patterns.empty()) {
    return schema_error(pointer_to(pointer, "format"), "beside \"pattern\" is not supported");
  }
  if (has_format || !bounds.patterns.empty()) {
    Result<ExprId> inside = has_format ? format_expr(bounds, pointer) : bounded_pattern(bounds, pointer);
    return rules_.sequence({rules_.text("\""), TRY(std::move(inside)), rules_.text("\"")});
  }
  if (bounds.any_length()) return json_.string();
  auto max = static_cast<uint32_t>(std::min<uint64_t>(bounds.max_length, UINT32_MAX));
  if (!options_.count_aside) {
    ExprId written = rules_.repeat(json_.counted_character(), static_cast<uint32_t>(bounds.min_length),
                                   bounds.max_length > kMaxRepeats ? kUnbounded : max);
    return rules_.sequence({rules_.text("\""), written, rules_.text("\"")});
  }
  ExprId characters = rules_.repeat(json_.counted_character(), 0, kUnbounded);
  ExprId inside = TRY(guarded(characters, {static_cast<uint32_t>(bounds.min_length), max}, pointer));
  return rules_.sequence({rules_.text("\""), inside, rules_.text("\"")});
}

}  // namespace millrace::grammar
