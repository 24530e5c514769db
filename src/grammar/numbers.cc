#include "grammar/numbers.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/macros.h"

namespace millrace::grammar {
namespace {

constexpr size_t kMostShared = 3;  // digits: longer ends are seldom alike

ExprId digit_set(Rules& rules, char first, char last) {
  if (first == last) return rules.text({&first, 1});
  return rules.set({{static_cast<uint32_t>(first), static_cast<uint32_t>(last)}});
}

std::string decimal(int64_t value) { return std::to_string(value); }

// Splits at zero; minus zero is left out.
template <class Natural>
ExprId with_sign(Rules& rules, int64_t low, int64_t high, const Natural& natural) {
  std::vector<ExprId> parts;
  if (low < 0) {
    ExprId minus = rules.text("-");
    parts.push_back(rules.sequence({minus, natural(std::max<int64_t>(1, -high), -low)}));
  }
  if (high >= 0) parts.push_back(natural(std::max<int64_t>(0, low), high));
  return rules.choice(std::move(parts));
}

}  // namespace

ExprId NumberRules::digits(size_t n) {
  return n == 0 ? rules_.text("") : last_digits(std::string(n, '0'), std::string(n, '9'));
}

// same_length(), as a rule where others may want it, too.
ExprId NumberRules::last_digits(std::string_view low, std::string_view high) {
  size_t n = low.size();
  bool all =
      low.find_first_not_of('0') == std::string_view::npos && high.find_first_not_of('9') == std::string_view::npos;
  if (n == 1 || (n > kMostShared && !all)) return same_length(low, high);
  auto [found, is_new] = shared_.try_emplace(std::string(low) + std::string(high), RuleId{0});
  if (is_new) {
    std::vector<ExprId> any(n, digit_set(rules_, '0', '9'));
    found->second = rules_.add_rule(all ? rules_.sequence(std::move(any)) : same_length(low, high));
  }
  return rules_.rule(found->second);
}

// Texts of digits of the same length between low and high, both included.
ExprId NumberRules::same_length(std::string_view low, std::string_view high) {
  size_t n_same = 0;
  while (n_same < low.size() && low[n_same] == high[n_same]) ++n_same;
  std::string_view shared = low.substr(0, n_same);
  if (n_same == low.size()) return rules_.text(shared);
  size_t n_rest = low.size() - n_same - 1;
  char a = low[n_same];
  char b = high[n_same];
  std::vector<ExprId> parts;
  bool low_is_all = low.find_first_not_of('0', n_same + 1) == std::string_view::npos;
  bool high_is_all = high.find_first_not_of('9', n_same + 1) == std::string_view::npos;
  if (!low_is_all) {
    ExprId above = last_digits(low.substr(n_same + 1), std::string(n_rest, '9'));
    parts.push_back(rules_.sequence({digit_set(rules_, a, a), above}));
    ++a;
  }
  if (!high_is_all) {
    ExprId below = last_digits(std::string(n_rest, '0'), high.substr(n_same + 1));
    parts.push_back(rules_.sequence({digit_set(rules_, b, b), below}));
    --b;
  }
  if (a <= b) parts.push_back(rules_.sequence({digit_set(rules_, a, b), digits(n_rest)}));
  ExprId tail = rules_.choice(std::move(parts));
  return shared.empty() ? tail : rules_.sequence({rules_.text(shared), tail});
}

// 0 <= low <= high, without leading zeros.
ExprId NumberRules::natural_range(int64_t low, int64_t high) {
  std::vector<ExprId> parts;
  std::string first = decimal(low);
  std::string last = decimal(high);
  for (size_t n = first.size(); n <= last.size(); ++n) {
    std::string from = n == first.size() ? first : "1" + std::string(n - 1, '0');
    std::string to = n == last.size() ? last : std::string(n, '9');
    parts.push_back(same_length(from, to));
  }
  return rules_.choice(std::move(parts));
}

// The same of n / 10^n_fraction.
ExprId NumberRules::natural_decimals(int64_t low, int64_t high, const Decimals& decimals) {
  auto width = static_cast<size_t>(decimals.n_fraction);
  int64_t unit = 1;
  for (int i = 0; i < decimals.n_fraction; ++i) unit *= 10;
  // behind a whole number: the point and what may follow it; nothing, where zeros may follow
  auto fraction = [&](int64_t from, int64_t to) {
    auto padded = [&](int64_t value) {
      std::string text = decimal(value);
      return std::string(width - text.size(), '0') + text;
    };
    ExprId behind = rules_.sequence({rules_.text("."), last_digits(padded(from), padded(to))});
    return from == 0 && decimals.point == Point::kWhereNeeded ? rules_.optional(behind) : behind;
  };
  std::vector<ExprId> parts;
  int64_t first = low / unit;
  int64_t last = high / unit;
  if (first == last) return rules_.sequence({rules_.text(decimal(first)), fraction(low % unit, high % unit)});
  if (low % unit != 0) {
    parts.push_back(rules_.sequence({rules_.text(decimal(first)), fraction(low % unit, unit - 1)}));
    ++first;
  }
  if (high % unit != unit - 1) {
    parts.push_back(rules_.sequence({rules_.text(decimal(last)), fraction(0, high % unit)}));
    --last;
  }
  if (first <= last) parts.push_back(rules_.sequence({natural_range(first, last), fraction(0, unit - 1)}));
  return rules_.choice(std::move(parts));
}

ExprId NumberRules::whole_range(int64_t low, int64_t high) {
  CHECK(low <= high && low >= -kMaxWhole && high <= kMaxWhole, "numbers {}..{}", low, high);
  return with_sign(rules_, low, high, [&](int64_t a, int64_t b) { return natural_range(a, b); });
}

ExprId NumberRules::decimal_range(int64_t low, int64_t high, int n_fraction) {
  CHECK(low <= high && n_fraction >= 1 && n_fraction <= 9, "decimals {}..{} of {} digits", low, high, n_fraction);
  Decimals decimals{.n_fraction = n_fraction};
  return with_sign(rules_, low, high, [&](int64_t a, int64_t b) { return natural_decimals(a, b, decimals); });
}

ExprId NumberRules::number_range(int64_t low, int64_t high, int n_fraction) {
  CHECK(low <= high && n_fraction >= 1 && n_fraction <= 9, "decimals {}..{} of {} digits", low, high, n_fraction);
  Decimals decimals{.n_fraction = n_fraction, .point = Point::kWhereNeeded};
  return with_sign(rules_, low, high, [&](int64_t a, int64_t b) { return natural_decimals(a, b, decimals); });
}

namespace {

// A power of ten: zeros behind a whole number.
ExprId with_zeros(Rules& rules, uint32_t factor, bool negative) {
  std::string zeros = std::to_string(factor).substr(1);
  ExprId digit = digit_set(rules, '0', '9');
  auto room = static_cast<uint32_t>(kMaxDigits - 1) - static_cast<uint32_t>(zeros.size());
  ExprId above_zero = rules.sequence({digit_set(rules, '1', '9'), rules.repeat(digit, 0, room), rules.text(zeros)});
  std::vector<ExprId> parts{rules.text("0"), above_zero};
  if (negative) parts.push_back(rules.sequence({rules.text("-"), above_zero}));
  return rules.choice(std::move(parts));
}

}  // namespace

bool can_write_multiples(uint32_t factor) {
  constexpr uint32_t kMaxFactor = 64;
  return factor <= kMaxFactor || factor == 100 || factor == 1000;
}

// One rule per remainder of what was written so far and number of digits that may still come.
ExprId multiples(Rules& rules, uint32_t factor, bool negative) {
  CHECK(can_write_multiples(factor), "multiples of {}", factor);
  if (factor == 10 || factor >= 100) return with_zeros(rules, factor, negative);
  auto step = [&](const std::vector<ExprId>& next, uint32_t r, char first) {
    std::vector<CharSet> to(factor);
    for (char digit = first; digit <= '9'; ++digit) {
      auto c = uint32_t{static_cast<unsigned char>(digit)};
      to[(r * 10 + (c - '0')) % factor].push_back({c, c});
    }
    std::vector<ExprId> parts;
    for (uint32_t rest = 0; rest < factor; ++rest) {
      if (!to[rest].empty()) parts.push_back(rules.sequence({rules.set(normalised(to[rest])), next[rest]}));
    }
    return parts;
  };
  std::vector<ExprId> next(factor, rules.set({}));
  next[0] = rules.text("");
  for (int left = 1; left < kMaxDigits; ++left) {
    std::vector<ExprId> here;
    for (uint32_t r = 0; r < factor; ++r) {
      std::vector<ExprId> parts = step(next, r, '0');
      if (r == 0) parts.push_back(rules.text(""));
      here.push_back(rules.rule(rules.add_rule(rules.choice(std::move(parts)))));
    }
    next = std::move(here);
  }
  ExprId above_zero = rules.choice(step(next, 0, '1'));
  std::vector<ExprId> parts{rules.text("0"), above_zero};
  if (negative) parts.push_back(rules.sequence({rules.text("-"), above_zero}));
  return rules.choice(std::move(parts));
}

ExprId any_whole(Rules& rules) {
  ExprId more = rules.repeat(digit_set(rules, '0', '9'), 0, kMaxDigits - 1);
  ExprId above_zero = rules.sequence({rules.optional(rules.text("-")), digit_set(rules, '1', '9'), more});
  return rules.choice({rules.text("0"), above_zero});
}

// RFC 8259, section 6, with bounded lengths.
ExprId any_number(Rules& rules) {
  ExprId digit = digit_set(rules, '0', '9');
  ExprId whole = rules.choice(
      {rules.text("0"), rules.sequence({digit_set(rules, '1', '9'), rules.repeat(digit, 0, kMaxDigits - 1)})});
  ExprId fraction = rules.sequence({rules.text("."), rules.repeat(digit, 1, kMaxDigits)});
  ExprId exponent = rules.sequence({rules.set({{'E', 'E'}, {'e', 'e'}}),
                                    rules.optional(rules.set({{'+', '+'}, {'-', '-'}})), rules.repeat(digit, 1, 2)});
  return rules.sequence({rules.optional(rules.text("-")), whole, rules.optional(fraction), rules.optional(exponent)});
}

}  // namespace millrace::grammar
