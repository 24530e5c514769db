#include "api/tools.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "api/json_object.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

constexpr size_t kMaxNameBytes = 64;

Error bad(std::string path, std::string_view what) {
  std::string text = fmt::format("{} {}", path, what);
  return Error{ErrorCode::kInvalidValue, std::move(text), std::move(path)};
}

bool name_ok(std::string_view name) {
  auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, good);
}

const std::string& name_of(const Json& tool) { return tool.find("function")->find("name")->as_string(); }

bool offers(const ToolParams& params, const std::string& name) {
  return !params.tools.is_null() &&
         std::ranges::any_of(params.tools.as_array(), [&](const Json& tool) { return name_of(tool) == name; });
}

// Arguments are always an object, so a schema of anything else can never be kept to.
Result<void> check_parameters(const Json& parameters, const std::string& path) {
  if (!parameters.is_object()) return bad(path, "must be a JSON schema");
  const Json* type = parameters.get("type");
  if (type == nullptr || *type == Json("object")) return {};
  bool among = type->is_array() && std::ranges::find(type->as_array(), Json("object")) != type->as_array().end();
  if (!among) return bad(path + ".type", "must be \"object\"");
  return {};
}

// The function as templates see it; `strict` is ours.
Result<Json> check_function(const Json& function, const std::string& path, std::set<std::string>& names, bool& strict) {
  if (!function.is_object()) return bad(path, "must be an object");
  const Json* name = function.get("name");
  if (name == nullptr || !name->is_string() || !name_ok(name->as_string())) {
    return bad(path + ".name", fmt::format("must be 1..{} characters of A-Z, a-z, 0-9, _ and -", kMaxNameBytes));
  }
  if (!names.insert(name->as_string()).second) {
    return bad(path + ".name", fmt::format("\"{}\" is the name of two tools", name->as_string()));
  }
  const Json* description = function.get("description");
  if (description != nullptr && !description->is_string()) return bad(path + ".description", "must be a string");
  if (const Json* parameters = function.get("parameters")) {
    TRY(check_parameters(*parameters, path + ".parameters"));
  }
  const Json* wanted = function.get("strict");
  if (wanted != nullptr && !wanted->is_bool()) return bad(path + ".strict", "must be a boolean");
  strict = wanted != nullptr && wanted->as_bool();
  Json out = Json::object();
  for (const auto& member : function.as_object().members) {
    if (member.first != "strict") out.set(member.first, member.second);
  }
  return out;
}

// `functions`: the list holds the functions themselves.
Result<void> read_list(const Json& list, std::string_view field, const Limits& limits, ToolParams& out) {
  bool legacy = field == "functions";
  if (!list.is_array()) return bad(std::string(field), "must be an array");
  auto size = static_cast<int64_t>(list.size());
  if (size > limits[LimitId::kTools]) {
    return Error{ErrorCode::kInvalidValue,
                 fmt::format("{}: {} entries, limit {}", field, size, limits[LimitId::kTools]), std::string(field)};
  }
  std::set<std::string> names;
  out.tools = Json::array();
  for (const Json& entry : list.as_array()) {
    std::string path = fmt::format("{}[{}]", field, out.strict.size());
    if (!entry.is_object()) return bad(path, "must be an object");
    const Json* type = entry.get("type");
    if (!legacy && (type == nullptr || *type != Json("function"))) return bad(path + ".type", "must be \"function\"");
    const Json* function = legacy ? &entry : entry.get("function");
    if (function == nullptr) return bad(path + ".function", "must be an object");
    bool strict = false;
    Json checked = TRY(check_function(*function, legacy ? path : path + ".function", names, strict));
    out.strict.push_back(strict);
    out.tools.push_back(json_object({{"type", "function"}, {"function", std::move(checked)}}));
  }
  return {};
}

const Json* function_name(const Json& named) {
  const Json* function = named.get("function");
  return function == nullptr ? nullptr : function->get("name");
}

// {"type": "allowed_tools", "allowed_tools": {"mode", "tools": [{"type": "function", "function": {"name"}}]}}: the
// other tools are not offered to the model.
Result<void> read_allowed(const Json& allowed, ToolParams& out) {
  const Json* mode = allowed.get("mode");
  bool required = mode != nullptr && *mode == Json("required");
  if (!required && (mode == nullptr || *mode != Json("auto"))) {
    return bad("tool_choice.allowed_tools.mode", "must be auto or required");
  }
  const Json* list = allowed.get("tools");
  if (list == nullptr || !list->is_array() || list->size() == 0) {
    return bad("tool_choice.allowed_tools.tools", "must be an array of one or more functions");
  }
  std::set<std::string> wanted;
  for (const Json& entry : list->as_array()) {
    std::string path = fmt::format("tool_choice.allowed_tools.tools[{}]", wanted.size());
    const Json* name = function_name(entry);
    if (name == nullptr || !name->is_string()) return bad(path, "must be {\"type\", \"function\": {\"name\"}}");
    if (!offers(out, name->as_string())) {
      return bad(path, fmt::format("names no tool: \"{}\"", quote_for_message(name->as_string())));
    }
    if (!wanted.insert(name->as_string()).second) return bad(path, "is named twice");
  }
  Json kept = Json::array();
  std::vector<bool> strict;
  for (size_t i = 0; i < out.strict.size(); ++i) {
    const Json& tool = out.tools.as_array()[i];
    if (!wanted.contains(name_of(tool))) continue;
    kept.push_back(tool);
    strict.push_back(out.strict[i]);
  }
  out.tools = std::move(kept);
  out.strict = std::move(strict);
  out.choice = required ? ToolChoice::kRequired : ToolChoice::kAuto;
  return {};
}

// {"type": "function", "function": {"name"}}; of function_call {"name"}.
Result<void> read_named(const Json& choice, std::string_view field, ToolParams& out) {
  const Json* name = field == "function_call" ? choice.get("name") : function_name(choice);
  if (name == nullptr || !name->is_string()) {
    return bad(std::string(field),
               "must be none, auto, required or {\"type\": \"function\", \"function\": {\"name\"}}");
  }
  if (!offers(out, name->as_string())) {
    return bad(std::string(field), fmt::format("names no tool: \"{}\"", quote_for_message(name->as_string())));
  }
  out.choice = ToolChoice::kNamed;
  out.name = name->as_string();
  return {};
}

Result<void> read_choice(const Json& choice, std::string_view field, ToolParams& out) {
  const Json* allowed = choice.get("allowed_tools");
  if (allowed != nullptr && field == "tool_choice") return read_allowed(*allowed, out);
  if (!choice.is_string()) return read_named(choice, field, out);
  const std::string& word = choice.as_string();
  bool required = word == "required" && field == "tool_choice";
  if (word != "none" && word != "auto" && !required) {
    return bad(std::string(field),
               fmt::format("must be none, auto, required or a function, not \"{}\"", quote_for_message(word)));
  }
  if (word != "none" && out.tools.is_null()) {
    return Error{ErrorCode::kInvalidValue, fmt::format("{}: needs tools, the request has none", field),
                 std::string(field)};
  }
  out.choice = required ? ToolChoice::kRequired : word == "auto" ? ToolChoice::kAuto : ToolChoice::kNone;
  return {};
}

Result<bool> read_flag(const Json& body, std::string_view name) {
  const Json* value = body.get(name);
  if (value == nullptr) return true;
  if (!value->is_bool()) return bad(std::string(name), "must be a boolean");
  return value->as_bool();
}

// A function's schema for the compiler; true: any object. One without parameters, or with an empty list of them, takes
// none.
Json schema_of(const Json& function) {
  const Json* parameters = function.get("parameters");
  if (parameters == nullptr) return json_object({{"type", "object"}, {"additionalProperties", false}});
  bool free = std::ranges::all_of(parameters->as_object().members, [](const auto& member) {
    return member.first == "type" || member.first == "description" || member.first == "title" ||
           member.first == "$schema";
  });
  if (free) return true;
  Json out = *parameters;
  out.set("type", "object");
  const Json* listed = out.get("properties");
  bool none = listed != nullptr && listed->is_object() && listed->as_object().members.empty();
  if (none && out.get("additionalProperties") == nullptr && out.get("patternProperties") == nullptr)
    out.set("additionalProperties", false);
  return out;
}

std::string quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

// What stands before and behind the arguments of one call.
struct Frame {
  std::string begin;
  std::string end;
};

Frame frame_of(const text::ToolFormat& format, const std::string& name) {
  Frame out;
  bool tags = !format.array && !format.bare;
  if (tags) {
    out.begin = format.begin;
    out.end = format.end;
  }
  if (!format.name_end.empty()) {
    out.begin += name;
    out.begin += format.name_end;
    return out;
  }
  out.begin += '{';
  if (!format.id_key.empty()) out.begin += quoted(format.id_key) + ": \"0\", ";
  out.begin += quoted(format.name_key) + ": " + quoted(name) + ", " + quoted(format.arguments_key) + ": ";
  out.end = "}" + out.end;
  return out;
}

std::string_view trimmed(std::string_view text) {
  size_t last = text.find_last_not_of(" \n");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

}  // namespace

Result<ToolParams> read_tools(const Json& body, const Limits& limits, bool empty_is_none) {
  ToolParams out;
  for (std::string_view field : {"tools", "functions"}) {
    const Json* list = body.get(field);
    if (list == nullptr) continue;
    if (!out.tools.is_null()) return bad(std::string(field), "and tools are two names of the same");
    if (list->is_array() && list->size() == 0) {
      if (empty_is_none) continue;
      return Error{ErrorCode::kInvalidValue, fmt::format("{}: must not be empty", field), std::string(field)};
    }
    TRY(read_list(*list, field, limits, out));
  }
  if (!out.tools.is_null()) out.choice = ToolChoice::kAuto;
  for (std::string_view field : {"tool_choice", "function_call"}) {
    if (const Json* choice = body.get(field)) TRY(read_choice(*choice, field, out));
  }
  out.parallel = TRY(read_flag(body, "parallel_tool_calls"));
  out.parse = TRY(read_flag(body, "parse_tool_calls"));
  return out;
}

Result<void> check_with_constraint(const ToolParams& tools, const flow::ConstraintSpec& constraint) {
  if (constraint.kind == flow::ConstraintKind::kNone || !tools.offered()) return {};
  bool json =
      constraint.kind == flow::ConstraintKind::kJsonSchema || constraint.kind == flow::ConstraintKind::kJsonObject;
  if (!tools.must_call() && json) return {};
  return Error{ErrorCode::kConflictingConstraints,
               fmt::format("{} and {} both constrain the answer: at most one is allowed", constraint.param,
                           tools.must_call() ? "tool_choice" : "tools"),
               constraint.param};
}

std::optional<flow::ConstraintSpec> call_constraint(const ToolParams& tools, const text::ToolFormat& format,
                                                    const flow::ConstraintSpec& other, bool in_call) {
  bool any_strict = std::ranges::find(tools.strict, true) != tools.strict.end();
  bool has_other = other.kind != flow::ConstraintKind::kNone;
  if (!tools.offered() || !tools.parse) return std::nullopt;
  if (!tools.must_call() && !has_other && !any_strict && tools.parallel) return std::nullopt;
  bool list = format.array || format.syntax == text::CallSyntax::kPythonic;
  Json calls = Json::array();
  for (size_t i = 0; i < tools.tools.size(); ++i) {
    const Json& function = *tools.tools.as_array()[i].find("function");
    const std::string& name = function.find("name")->as_string();
    if (tools.choice == ToolChoice::kNamed && name != tools.name) continue;
    Frame frame = frame_of(format, name);
    bool kept_to = tools.must_call() || tools.strict[i];
    calls.push_back(json_object({{"begin", frame.begin},
                                 {"schema", kept_to ? schema_of(function) : Json(true)},
                                 {"end", frame.end},
                                 {"path", fmt::format("tools[{}].function.parameters", i)}}));
  }
  bool must = tools.must_call() || has_other;
  std::string_view tag = format.open.empty() ? trimmed(format.begin) : trimmed(format.open);
  std::string separator = list                                              ? ", "
                          : format.bare                                     ? "; "
                          : format.name_end.empty() || !format.open.empty() ? "\n"
                                                                            : "";
  Json spec = json_object({{"mode", must          ? "must"
                                    : format.bare ? "bare"
                                                  : "tagged"},
                           {"open", std::string(format.open) + (list ? "[" : "")},
                           {"close", (list ? "]" : "") + std::string(format.close)},
                           {"separator", separator},
                           {"trigger", tag},
                           {"many", tools.parallel && tools.choice != ToolChoice::kNamed},
                           {"cut", in_call ? static_cast<int64_t>(format.begin.size()) : int64_t{0}},
                           {"calls", std::move(calls)}});
  if (other.kind == flow::ConstraintKind::kJsonObject) spec.set("or", true);
  if (other.kind == flow::ConstraintKind::kJsonSchema) {
    auto schema = parse_json(other.text, {.depth = 1024});  // more than any limit
    if (!schema.ok()) return other;                         // its own compiling says what is wrong
    spec.set("or", std::move(schema).value());
  }
  flow::ConstraintSpec out;
  out.kind = flow::ConstraintKind::kCalls;
  out.text = spec.dump();
  out.param = "tools";
  out.any_whitespace = other.any_whitespace;
  out.whitespace = other.whitespace;
  return out;
}

std::shared_ptr<const std::vector<std::string>> tool_names(const ToolParams& tools) {
  std::vector<std::string> names;
  for (const Json& tool : tools.tools.as_array()) names.push_back(name_of(tool));
  return std::make_shared<const std::vector<std::string>>(std::move(names));
}

}  // namespace millrace::api
