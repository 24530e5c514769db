// FlagSet: the flags of one subcommand. A thin wall around CLI11, which is compiled once, in flags.cc.
// Rules: `_` equals `-` in names; --flag=value and --flag value; --x / --no-x for switches; sizes take 32k, 1M, 2G
// (powers of 1024); a value comes from the command line, else the environment variable MILLRACE_<FLAG>, else --config
// FILE (TOML), else the default. Unknown flags are refused with the nearest known name; flags of other servers are
// accepted with one warning line each or refused with a reason (foreign_flags.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace millrace::app {

struct IntRange {
  int64_t min = 0;
  int64_t max = INT64_MAX;
};
struct NumberRange {
  double min = 0;
  double max = 1e300;
};

// An environment variable of another server, and the flag whose value it holds: a long name of the set, or one of
// foreign_flags.h.
struct EnvironmentName {
  std::string_view variable;
  std::string_view flag;
};

class FlagSet {
 public:
  FlagSet(std::string name, std::string description);
  ~FlagSet();

  // names: "-c,--max-model-len,--ctx-size"; the first long name is the canonical one. The target keeps its value when
  // the flag is absent and outlives parse().
  void add(std::string_view names, std::string* target, std::string_view help);
  void add(std::string_view names, std::vector<std::string>* target, std::string_view help);
  // Takes size suffixes. A value outside the range is refused with the flag's name and the range.
  void add(std::string_view names, int64_t* target, std::string_view help, IntRange range = {});
  void add(std::string_view names, double* target, std::string_view help, NumberRange range = {});
  void add(std::string_view names, bool* target, std::string_view help);  // also --no-<name>
  // A value without a flag, in order of declaration.
  void positional(std::string_view name, std::string* target, std::string_view help, bool required);
  // All that are left; the last positional.
  void positional(std::string_view name, std::vector<std::string>* target, std::string_view help);

  // parse() reads these variables too, after MILLRACE_<FLAG>. Those of switches hold one of 1, on, true, enabled, 0,
  // off, false, disabled; LLAMA_ARG_NO_<NAME> switches <NAME> off whatever it holds. `names` outlive parse().
  void read_also(std::span<const EnvironmentName> names);
  // False: --help was asked for and printed. kUsage names the flag, the value and what is wanted.
  Result<bool> parse(std::span<const std::string> args);
  // True when the flag got a value from any source.
  bool given(std::string_view long_name) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "32k" -> 32768; nothing when it is not an integer with an optional k, M, G or T (any case, optional B or iB).
Result<int64_t> parse_size(std::string_view text);

}  // namespace millrace::app
