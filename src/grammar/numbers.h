// Decimal numbers inside bounds as rules. Numbers that are written have at most kMaxDigits digits before the point, so
// none is longer than a double or a 64-bit integer can tell apart, and no number goes on for ever.
// Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "grammar/rules.h"

namespace millrace::grammar {

constexpr int kMaxDigits = 15;
constexpr int64_t kMaxWhole = 999'999'999'999'999;  // of kMaxDigits digits

// Ranges of numbers, for one grammar: the last digits of ranges that end alike are one rule, however many ranges there
// are. The core's price of a range is its text.
class NumberRules {
 public:
  explicit NumberRules(Rules& rules) : rules_(rules) {}

  // Whole numbers low..high inside -kMaxWhole..kMaxWhole, as JSON writes them. low <= high.
  ExprId whole_range(int64_t low, int64_t high);
  // low/10^n_fraction .. high/10^n_fraction with exactly n_fraction (1..9) digits behind the point.
  ExprId decimal_range(int64_t low, int64_t high, int n_fraction);
  // The same, and the whole numbers among them without a point.
  ExprId number_range(int64_t low, int64_t high, int n_fraction);

 private:
  enum class Point : uint8_t { kAlways, kWhereNeeded };
  struct Decimals {
    int n_fraction = 0;
    Point point = Point::kAlways;
  };
  ExprId digits(size_t n);
  ExprId same_length(std::string_view low, std::string_view high);
  ExprId last_digits(std::string_view low, std::string_view high);
  ExprId natural_range(int64_t low, int64_t high);
  ExprId natural_decimals(int64_t low, int64_t high, const Decimals& decimals);

  Rules& rules_;
  std::map<std::string, RuleId> shared_;  // by their first and last text
};

// Factors whose multiples multiples() can write: up to 64, 100 and 1000.
bool can_write_multiples(uint32_t factor);
// Whole multiples of such a factor, of either sign when `negative`.
ExprId multiples(Rules& rules, uint32_t factor, bool negative);
// Any whole number.
ExprId any_whole(Rules& rules);
// Any JSON number.
ExprId any_number(Rules& rules);

}  // namespace millrace::grammar
