#include "app/flags.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

#include "app/foreign_flags.h"
#include "base/macros.h"

namespace millrace::app {
namespace {

// `_` equals `-` in the name part of a long flag.
std::string with_dashes(std::string arg) {
  if (arg.rfind("--", 0) != 0) return arg;
  size_t end = std::min(arg.find('='), arg.size());
  std::replace(arg.begin(), arg.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
  return arg;
}

std::string name_of(const std::string& arg) { return arg.substr(0, arg.find('=')); }

std::string env_name(std::string_view long_name) {
  std::string out = "MILLRACE_";
  for (char c : long_name.substr(2))
    out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

// The first long name of "-c,--max-model-len,--ctx-size", or the first name.
std::string canonical_name(std::string_view names) {
  std::string_view rest = names;
  while (!rest.empty()) {
    size_t comma = std::min(rest.find(','), rest.size());
    if (rest.substr(0, comma).starts_with("--")) return std::string(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return std::string(names.substr(0, names.find(',')));
}

std::string range_text(const IntRange& range) {
  if (range.max == INT64_MAX) return fmt::format(">= {}", range.min);
  return fmt::format("in {}..{}", range.min, range.max);
}

// Accepts, with a warning, or refuses a flag of another server. The number of arguments it takes after its name.
Result<size_t> take_foreign(const ForeignFlag& flag, const std::string& arg, std::span<const std::string> rest) {
  std::string name = name_of(arg);
  size_t equals = arg.find('=');
  std::string_view value = equals == std::string::npos ? std::string_view() : std::string_view(arg).substr(equals + 1);
  size_t n_taken = 0;
  bool has_next = equals == std::string::npos && !rest.empty();
  if (has_next &&
      (flag.value == ForeignValue::kOne || (flag.value == ForeignValue::kMaybe && is_neutral(flag, rest[0])))) {
    value = rest[0];
    n_taken = 1;
  }
  if (flag.reason.empty()) {
    LOG(LogLevel::kWarning, "{} has no effect here", name);
    return n_taken;
  }
  if (!value.empty() && is_neutral(flag, value)) return n_taken;
  std::string shown = value.empty() ? name : fmt::format("{} {}", name, quote_for_message(value));
  return Error{ErrorCode::kUsage, fmt::format("{}: not supported: {}", shown, flag.reason), name};
}

// llama.cpp's words (common/arg.cpp, is_truthy and is_falsey).
Result<bool> switch_value(std::string_view variable, std::string_view text) {
  for (std::string_view word : {"1", "on", "true", "enabled"}) {
    if (text == word) return true;
  }
  for (std::string_view word : {"0", "off", "false", "disabled"}) {
    if (text == word) return false;
  }
  return Error{ErrorCode::kUsage,
               fmt::format("{} = {}: must be one of 1, on, true, enabled, 0, off, false, disabled", variable,
                           quote_for_message(text)),
               std::string(variable)};
}

// LLAMA_ARG_NO_<NAME> of LLAMA_ARG_<NAME> is set.
bool is_switched_off(std::string_view variable) {
  constexpr std::string_view kPrefix = "LLAMA_ARG_";
  return std::getenv(fmt::format("{}NO_{}", kPrefix, variable.substr(kPrefix.size())).c_str()) != nullptr;
}

// Levenshtein distance, for "did you mean".
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row[b.size()];
}

}  // namespace

Result<int64_t> parse_size(std::string_view text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view suffix(end, static_cast<size_t>(text.data() + text.size() - end));
  if (error != std::errc{})
    return Error{ErrorCode::kUsage, fmt::format("\"{}\" is not an integer", quote_for_message(text)), ""};
  int shift = 0;
  if (!suffix.empty()) {
    constexpr std::string_view kUnits = "kmgt";
    size_t unit = kUnits.find(static_cast<char>(std::tolower(static_cast<unsigned char>(suffix[0]))));
    std::string_view rest = suffix.substr(1);
    if (unit == std::string_view::npos || !(rest.empty() || rest == "B" || rest == "b" || rest == "iB")) {
      return Error{ErrorCode::kUsage,
                   fmt::format("\"{}\": unknown suffix \"{}\", known: k M G T", quote_for_message(text),
                               quote_for_message(suffix)),
                   ""};
    }
    shift = 10 * static_cast<int>(unit + 1);
  }
  int64_t scaled = 0;
  if (__builtin_mul_overflow(value, int64_t{1} << shift, &scaled)) {
    return Error{ErrorCode::kUsage, fmt::format("\"{}\" is out of range", quote_for_message(text)), ""};
  }
  return scaled;
}

struct FlagSet::State {
  explicit State(std::string name, std::string description) : app(std::move(description), std::move(name)) {}

  CLI::App app;
  std::map<std::string, CLI::Option*, std::less<>> by_name;  // every long and short name, with dashes
  std::map<std::string, bool, std::less<>> is_switch;        // canonical long name -> takes no value
  std::vector<std::string> canonical;                        // long names, for the environment
  std::span<const EnvironmentName> also;                     // other variables

  bool is_switch_option(const CLI::Option* option) const {
    return std::any_of(is_switch.begin(), is_switch.end(),
                       [&](const auto& row) { return row.second && by_name.at(row.first) == option; });
  }
  // Of a name as it is written: -c4096 is -c.
  const CLI::Option* option_of(const std::string& name) const {
    const auto at = by_name.find(by_name.contains(name) ? name : name.substr(0, 2));
    return at == by_name.end() ? nullptr : at->second;
  }
  // The arguments that the environment holds, of options that are not `given` yet; these are then.
  Result<std::vector<std::string>> read_environment(std::set<const CLI::Option*>& given) const;
  Result<std::string> read_also(const EnvironmentName& name, std::set<const CLI::Option*>& given) const;

  void remember(std::string_view names, CLI::Option* option, bool takes_no_value) {
    bool first = true;
    while (!names.empty()) {
      size_t comma = std::min(names.find(','), names.size());
      std::string name(names.substr(0, comma));
      names.remove_prefix(std::min(comma + 1, names.size()));
      if (name.rfind("--", 0) == 0 && first) {
        first = false;
        canonical.push_back(name);
        is_switch[name] = takes_no_value;
      }
      by_name[name] = option;
      if (takes_no_value && name.rfind("--", 0) == 0) by_name["--no-" + name.substr(2)] = option;
    }
  }

  std::string nearest(const std::string& unknown) const {
    std::string best;
    size_t best_distance = unknown.size() / 3 + 1;
    for (const auto& [name, option] : by_name) {
      if (!name.starts_with("--")) continue;
      size_t distance = edit_distance(name, unknown);
      if (distance < best_distance) {
        best_distance = distance;
        best = name;
      }
    }
    return best;
  }
};

Result<std::vector<std::string>> FlagSet::State::read_environment(std::set<const CLI::Option*>& given) const {
  std::vector<std::string> out;
  for (const std::string& name : canonical) {
    const char* value = std::getenv(env_name(name).c_str());
    if (value == nullptr || !given.insert(by_name.at(name)).second) continue;
    out.push_back(fmt::format("{}={}", name, value));
  }
  for (const EnvironmentName& name : also) {
    std::string arg = TRY(read_also(name, given));
    if (!arg.empty()) out.push_back(std::move(arg));
  }
  return out;
}

// "": nothing to do.
Result<std::string> FlagSet::State::read_also(const EnvironmentName& name, std::set<const CLI::Option*>& given) const {
  const std::string flag(name.flag);
  const bool off = is_switched_off(name.variable);
  const char* set = std::getenv(std::string(name.variable).c_str());
  if (set == nullptr && !off) return std::string();
  const auto own = by_name.find(flag);
  if (own == by_name.end()) {
    const ForeignFlag* foreign = find_foreign_flag(flag);
    CHECK(foreign != nullptr, "{} stands for no flag", name.variable);
    const bool is_switch = foreign->value == ForeignValue::kNone;
    if (set == nullptr || (is_switch && (off || !TRY(switch_value(name.variable, set))))) return std::string();
    (void)TRY(take_foreign(*foreign, is_switch ? flag : fmt::format("{}={}", flag, set), {}));
    return std::string();
  }
  const bool is_switch = is_switch_option(own->second);
  if ((set == nullptr && !is_switch) || !given.insert(own->second).second) return std::string();
  if (!is_switch) return fmt::format("{}={}", flag, set);
  return fmt::format("{}={}", flag, !off && TRY(switch_value(name.variable, set)));
}

FlagSet::FlagSet(std::string name, std::string description)
    : state_(std::make_unique<State>("millrace " + std::move(name), std::move(description))) {
  state_->app.set_config("--config", "", "read flags from a TOML file; keys are flag names");
  state_->app.allow_config_extras(CLI::config_extras_mode::error);
  state_->by_name["--config"] = nullptr;
  state_->by_name["--help"] = nullptr;
  state_->by_name["-h"] = nullptr;
  state_->app.get_formatter()->column_width(38);
}
FlagSet::~FlagSet() = default;

void FlagSet::add(std::string_view names, std::string* target, std::string_view help) {
  state_->remember(names, state_->app.add_option(std::string(names), *target, std::string(help))->capture_default_str(),
                   false);
}
void FlagSet::add(std::string_view names, std::vector<std::string>* target, std::string_view help) {
  state_->remember(
      names,
      state_->app.add_option(std::string(names), *target, std::string(help))->expected(1, -1)->allow_extra_args(false),
      false);
}
void FlagSet::add(std::string_view names, int64_t* target, std::string_view help, IntRange range) {
  CLI::callback_t read = [target, range, name = canonical_name(names)](const CLI::results_t& values) {
    auto value = parse_size(values.at(0));
    if (!value.ok() || *value < range.min || *value > range.max) {
      throw CLI::ValidationError(fmt::format("{} = {}: must be an integer {}{}", name, quote_for_message(values.at(0)),
                                             range_text(range), value.ok() ? "" : "; suffixes k M G T are allowed"));
    }
    *target = *value;
    return true;
  };
  CLI::Option* option = state_->app.add_option(std::string(names), std::move(read), std::string(help));
  option->default_str(std::to_string(*target))->type_name("N");
  state_->remember(names, option, false);
}
void FlagSet::add(std::string_view names, double* target, std::string_view help, NumberRange range) {
  CLI::callback_t read = [target, range, name = canonical_name(names)](const CLI::results_t& values) {
    const std::string& text = values.at(0);
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    bool whole = error == std::errc{} && end == text.data() + text.size();
    if (!whole || !(value >= range.min && value <= range.max)) {
      throw CLI::ValidationError(
          fmt::format("{} = {}: must be a number in {:g}..{:g}", name, quote_for_message(text), range.min, range.max));
    }
    *target = value;
    return true;
  };
  CLI::Option* option = state_->app.add_option(std::string(names), std::move(read), std::string(help));
  option->default_str(fmt::format("{:g}", *target))->type_name("NUMBER");
  state_->remember(names, option, false);
}
void FlagSet::add(std::string_view names, bool* target, std::string_view help) {
  std::string spelled;
  std::string_view rest = names;
  while (!rest.empty()) {
    size_t comma = std::min(rest.find(','), rest.size());
    std::string name(rest.substr(0, comma));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    spelled += (spelled.empty() ? "" : ",") + name;
    if (name.rfind("--", 0) == 0) spelled += ",!--no-" + name.substr(2);
  }
  state_->remember(names, state_->app.add_flag(spelled, *target, std::string(help)), true);
}
void FlagSet::positional(std::string_view name, std::string* target, std::string_view help, bool required) {
  state_->app.add_option(std::string(name), *target, std::string(help))->required(required);
}

void FlagSet::positional(std::string_view name, std::vector<std::string>* target, std::string_view help) {
  state_->app.add_option(std::string(name), *target, std::string(help));
}

void FlagSet::read_also(std::span<const EnvironmentName> names) { state_->also = names; }

Result<bool> FlagSet::parse(std::span<const std::string> args) {
  std::vector<std::string> kept;
  std::vector<std::string> given_names;
  bool only_values = false;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string arg = only_values ? args[i] : with_dashes(args[i]);
    only_values = only_values || arg == "--";
    if (!only_values && arg.size() > 1 && arg[0] == '-' && std::isdigit(static_cast<unsigned char>(arg[1])) == 0) {
      arg.replace(0, name_of(arg).size(), our_name(name_of(arg)));
      if (arg.starts_with("--help=")) arg = "--help";
      std::string name = name_of(arg);
      bool attached = name[1] != '-' && find_foreign_flag(name) == nullptr;  // -c4096
      bool known = state_->by_name.contains(name) || (attached && state_->by_name.contains(name.substr(0, 2)));
      if (const ForeignFlag* foreign = known ? nullptr : find_foreign_flag(name)) {
        i += TRY(take_foreign(*foreign, arg, args.subspan(i + 1)));
        continue;
      }
      if (!known) {
        std::string near = state_->nearest(name);
        return Error{ErrorCode::kUsage,
                     fmt::format("unknown flag {}{}", quote_for_message(name),
                                 near.empty() ? " (see --help)" : fmt::format("; did you mean {}?", near)),
                     name};
      }
      given_names.push_back(name);
    }
    kept.push_back(std::move(arg));
  }
  std::set<const CLI::Option*> given;
  for (const std::string& name : given_names) given.insert(state_->option_of(name));
  std::vector<std::string> from_environment = TRY(state_->read_environment(given));
  kept.insert(kept.begin(), from_environment.begin(), from_environment.end());
  std::reverse(kept.begin(), kept.end());  // CLI11 takes arguments last first
  try {
    state_->app.parse(kept);
  } catch (const CLI::CallForHelp&) {
    std::fputs(state_->app.help().c_str(), stdout);
    return false;
  } catch (const CLI::ConfigError& error) {
    std::string_view key = error.what();
    key.remove_prefix(std::min(key.rfind(' ') + 1, key.size()));
    return Error{ErrorCode::kUsage,
                 fmt::format("config file: {} is no flag of this command; keys are long flag names without the dashes",
                             quote_for_message(key)),
                 "--config"};
  } catch (const CLI::Error& error) {
    return Error{ErrorCode::kUsage, error.what(), ""};
  }
  return true;
}

bool FlagSet::given(std::string_view long_name) const {
  auto at = state_->by_name.find(long_name);
  return at != state_->by_name.end() && at->second != nullptr && at->second->count() > 0;
}

}  // namespace millrace::app
