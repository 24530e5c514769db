#include "app/constraint_flags.h"

#include <fmt/core.h>

#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/json.h"
#include "base/macros.h"
#include "grammar/compiler.h"

namespace millrace::app {
namespace {

using flow::ConstraintKind;

Error usage(std::string_view flag, std::string_view what) {
  return {ErrorCode::kUsage, fmt::format("{}: {}", flag, what), std::string(flag)};
}

// Of vLLM's members what matters here; names of backends do not, there is one.
Result<void> read_config(const std::string& text, flow::ConstraintSpec& out) {
  constexpr std::string_view kFlag = "--structured-outputs-config";
  Result<Json> config = parse_json(text);
  if (!config.ok()) return usage(kFlag, config.error().message);
  if (!config->is_object()) return usage(kFlag, "must be a JSON object");
  for (const auto& [name, value] : config->as_object().members) {
    const std::string shown = quote_for_message(name);
    if (value.is_null()) continue;
    if (name == "backend" || name == "reasoning_parser") {
      const bool neutral = value.is_string() && (name == "backend" || value.as_string().empty());
      if (!neutral) return usage(kFlag, fmt::format("{} must be {}", shown, name == "backend" ? "a string" : "empty"));
      continue;
    }
    if (name != "disable_any_whitespace" && name != "disable_fallback" && name != "enable_in_reasoning") {
      return usage(kFlag, "does not know " + shown);
    }
    if (!value.is_bool()) return usage(kFlag, shown + " must be a boolean");
    if (name == "disable_any_whitespace") out.any_whitespace = !value.as_bool();
    if (name == "enable_in_reasoning" && value.as_bool()) {
      return usage(kFlag, "enable_in_reasoning is not supported: constraints begin behind the reasoning");
    }
  }
  return {};
}

}  // namespace

void add_constraint_flags(FlagSet& set, ConstraintFlags& f) {
  set.add("--grammar", &f.grammar, "GBNF or EBNF for answers of requests without a constraint or tools");
  set.add("--grammar-file", &f.grammar_file, "the same, from a file");
  set.add("-j,--json-schema", &f.json_schema, "JSON schema for these answers");
  set.add("--json-schema-file", &f.json_schema_file, "the same, from a file");
  set.add("--structured-outputs-config", &f.structured_outputs,
          "JSON as in vLLM: disable_any_whitespace is honoured, the backend is always our own");
}

Result<flow::ConstraintSpec> default_constraint(const ConstraintFlags& f, const Limits& limits) {
  struct Source {
    std::string_view flag;
    const std::string& value;
    ConstraintKind kind;
    bool file;
  };
  const Source sources[] = {{"--grammar", f.grammar, ConstraintKind::kGrammar, false},
                            {"--grammar-file", f.grammar_file, ConstraintKind::kGrammar, true},
                            {"--json-schema", f.json_schema, ConstraintKind::kJsonSchema, false},
                            {"--json-schema-file", f.json_schema_file, ConstraintKind::kJsonSchema, true}};
  flow::ConstraintSpec out;
  if (!f.structured_outputs.empty()) TRY(read_config(f.structured_outputs, out));
  for (const Source& source : sources) {
    if (source.value.empty()) continue;
    if (out.kind != ConstraintKind::kNone) return usage(source.flag, "excludes " + out.param);
    out.kind = source.kind;
    out.param = source.flag;
    out.text = source.value;
    if (!source.file) continue;
    const LimitId limit = source.kind == ConstraintKind::kGrammar ? LimitId::kGrammarBytes : LimitId::kSchemaBytes;
    Result<std::string> read = read_file(source.value, static_cast<uint64_t>(limits[limit]));
    if (!read.ok()) return usage(source.flag, read.error().message);
    out.text = std::move(*read);
  }
  if (out.kind == ConstraintKind::kNone) return out;
  auto rules = grammar::read_constraint(out, limits);
  if (!rules.ok()) return Error{ErrorCode::kUsage, rules.error().message, out.param};
  return out;
}

}  // namespace millrace::app
