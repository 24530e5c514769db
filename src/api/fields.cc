#include "api/fields.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "api/chat.h"
#include "api/constraints.h"
#include "api/extensions.h"
#include "api/logit_bias.h"
#include "api/samplers.h"
#include "base/macros.h"
#include "flow/generate_request.h"

namespace millrace::api {
namespace {

// Calls visit(word) for each piece of a list; stops when visit returns true, which is then the result.
template <class Visit>
bool any_word(std::string_view list, char separator, Visit visit) {
  while (!list.empty()) {
    size_t cut = std::min(list.find(separator), list.size());
    if (visit(list.substr(0, cut))) return true;
    list.remove_prefix(std::min(cut + 1, list.size()));
  }
  return false;
}

struct NameRow {
  std::string_view name;
  uint16_t row = 0;
  uint16_t rank = 0;  // 0 = the name, 1.. = aliases
};

// Names and aliases sorted by name, built per call of read_fields (some 200 entries).
std::vector<NameRow> sorted_names(uint8_t route) {
  std::vector<NameRow> names;
  auto rows = request_fields();
  names.reserve(rows.size() * 2);
  for (size_t i = 0; i < rows.size(); ++i) {
    if ((rows[i].routes & route) == 0) continue;
    names.push_back({rows[i].name, static_cast<uint16_t>(i), 0});
    uint16_t rank = 0;
    any_word(rows[i].aliases, ' ', [&](std::string_view alias) {
      names.push_back({alias, static_cast<uint16_t>(i), ++rank});
      return false;
    });
  }
  std::sort(names.begin(), names.end(), [](const NameRow& a, const NameRow& b) { return a.name < b.name; });
  return names;
}

Error bad_value(const Field& field, const Limits& limits) {
  return Error{ErrorCode::kInvalidValue, range_text(field, limits), std::string(field.name)};
}

std::string number_text(double value) {
  return value == std::floor(value) && std::abs(value) < 1e15 ? fmt::format("{}", static_cast<int64_t>(value))
                                                              : fmt::format("{}", value);
}

bool visible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x21 && c <= 0x7E; });
}

bool salt_ok(std::string_view text) {
  return text.find_first_of(std::string_view("@/\\\0", 4)) == std::string_view::npos;
}

bool length_ok(const Field& field, const Json& value, const Limits& limits) {
  auto size = static_cast<int64_t>(value.as_string().size());
  return size >= field.low && size <= field_high(field, limits);
}

bool stop_ok(const Field& field, const Json& value, const Limits& limits) {
  auto one = [&](const Json& item) {
    return item.is_string() && !item.as_string().empty() &&
           static_cast<int64_t>(item.as_string().size()) <= limits[LimitId::kStopBytes];
  };
  if (!value.is_array()) return one(value);
  const JsonArray& items = value.as_array();
  return static_cast<int64_t>(items.size()) <= field_high(field, limits) &&
         std::all_of(items.begin(), items.end(), one);
}

Error too_many(const Field& field, size_t size, int64_t limit, std::string_view what) {
  return Error{ErrorCode::kInvalidValue, fmt::format("{}: {} {}, limit {}", field.name, size, what, limit),
               std::string(field.name)};
}

Result<void> check_token_ids(const Field& field, const Json& value, const ParseContext& context) {
  if (!value.is_array()) return bad_value(field, context.limits);
  int64_t limit = token_ids_high(field, context.limits, context.model.n_vocab);
  if (static_cast<int64_t>(value.size()) > limit) return too_many(field, value.size(), limit, "entries");
  size_t i = 0;
  for (const Json& id : value.as_array()) {
    bool inside = id.is_int() && id.as_int() >= 0 && id.as_int() < context.model.n_vocab;
    if (!inside) {
      std::string path = fmt::format("{}[{}]", field.name, i);
      if (!id.is_int()) return Error{ErrorCode::kInvalidValue, path + " must be a token id (an integer)", path};
      return Error{ErrorCode::kTokenOutOfRange,
                   fmt::format("{} = {}: token id outside 0..{}", path, id.as_int(), context.model.n_vocab - 1), path};
    }
    ++i;
  }
  return {};
}

bool int_ok(const Field& field, const Json& value, const ParseContext& context) {
  if (!value.is_int()) return false;
  const int64_t number = value.as_int();
  if (number >= field.low && number <= field_high(field, context.limits)) return true;
  if (number != -1) return false;
  const bool all = field.minus_one == MinusOne::kAll && field_high(field, context.limits) >= context.model.n_vocab;
  return all || (field.minus_one == MinusOne::kRest && context.profile->clamp);
}

Result<void> check_type(const Field& field, const Json& value, const ParseContext& context) {
  const Limits& limits = context.limits;
  bool ok = true;
  switch (field.type) {
    case FieldType::kAny:
      break;
    case FieldType::kBool:
      ok = value.is_bool();
      break;
    case FieldType::kInt:
      ok = int_ok(field, value, context);
      break;
    case FieldType::kNumber:
      ok = value.is_number() && value.as_double() >= field.low_number && value.as_double() <= field.high_number &&
           !(field.low_open && value.as_double() <= field.low_number);
      break;
    case FieldType::kString:
      ok = value.is_string() && length_ok(field, value, limits);
      break;
    case FieldType::kVisible:
      ok = value.is_string() && length_ok(field, value, limits) && visible(value.as_string());
      break;
    case FieldType::kSalt:
      ok = value.is_string() && !value.as_string().empty() && length_ok(field, value, limits) &&
           salt_ok(value.as_string());
      break;
    case FieldType::kStop:
      ok = stop_ok(field, value, limits);
      break;
    case FieldType::kTokenIds:
      return check_token_ids(field, value, context);
    case FieldType::kLogitBias:
    case FieldType::kTextLogitBias:
      TRY(read_logit_bias(field, value, context));
      return {};
    case FieldType::kObject:
      ok = value.is_object();
      break;
    case FieldType::kArray:
      ok = value.is_array();
      break;
    case FieldType::kChoice:
      ok = value.is_string() &&
           any_word(field.words, '|', [&](std::string_view word) { return word == value.as_string(); });
      break;
  }
  if (!ok) return bad_value(field, limits);
  bool sized = field.type == FieldType::kObject || field.type == FieldType::kArray;
  if (sized && static_cast<int64_t>(value.size()) > field_high(field, limits)) {
    return too_many(field, value.size(), field_high(field, limits),
                    field.type == FieldType::kObject ? "keys" : "entries");
  }
  return {};
}

bool is_neutral(const Field& field, const Json& value) {
  return any_word(field.words, '|', [&](std::string_view word) {
    auto neutral = parse_json(word);
    return neutral.ok() && *neutral == value;
  });
}

void count_unknown(IgnoredFields& ignored, std::string name) {
  ++ignored.count;
  if (ignored.names.size() < kMaxIgnoredNames) ignored.names.push_back(std::move(name));
}

Result<void> read_stream_options(const Json& options, const ParseContext& context, FieldTarget& target) {
  for (const auto& member : options.as_object().members) {
    const std::string& name = member.first;
    const Json& value = member.second;
    bool known = name == "include_usage" || name == "continuous_usage_stats" || name == "include_obfuscation";
    std::string path = "stream_options." + quote_for_message(name);
    if (!known) {
      if (context.strict_fields) return Error{ErrorCode::kUnknownField, "unknown field " + path, path};
      count_unknown(target.common.ignored, path);
      continue;
    }
    if (value.is_null()) continue;
    if (!value.is_bool()) return Error{ErrorCode::kInvalidValue, path + " must be a boolean", path};
    if (name == "include_usage") target.common.stream.include_usage = value.as_bool();
    if (name == "continuous_usage_stats") target.common.stream.continuous_usage_stats = value.as_bool();
  }
  return {};
}

Error conflict(std::string_view param, std::string message) {
  return Error{ErrorCode::kInvalidValue, std::move(message), std::string(param)};
}

// llama-server's window of the penalties: 0 switches them off, -1 is the whole context.
void set_penalty_window(FieldTarget& target) {
  flow::SamplingParams& sampling = target.common.sampling;
  if (!target.repeat_last_n) return;
  if (*target.repeat_last_n == 0) {
    sampling.repetition_penalty = 1.0f;
    sampling.presence_penalty = sampling.frequency_penalty = 0.0f;
  }
  int64_t window = *target.repeat_last_n < 0 ? INT32_MAX : *target.repeat_last_n;
  sampling.penalty_window = static_cast<uint32_t>(window);
}

// API.md 3.10, as far as it concerns fields of this table.
// The width of a beam search is beam_width, else best_of, else n. It picks by log probability alone.
Result<void> check_beams(FieldTarget& target) {
  CommonParams& common = target.common;
  BeamParams& beam = common.beam;
  if (beam.wanted && beam.width == 0) {
    beam.width = static_cast<uint32_t>(std::max<int64_t>({common.n, target.best_of, 1}));
  }
  if (beam.wanted && beam.width == 1) common.sampling.temperature = 0.0f;  // a single beam takes the likeliest
  if (beam.width <= 1) return {};
  if (beam.width > flow::kMaxBeams || common.n > beam.width) {
    return conflict("beam_width", fmt::format("beam_width: {}, must be at least n = {} and at most {}", beam.width,
                                              common.n, flow::kMaxBeams));
  }
  if (common.stream.stream)
    return conflict("stream", "stream: not allowed with beam search, whose answer comes at its end");
  if (common.sampling.n_logprobs >= 0 || common.sampling.n_prompt_logprobs >= 0) {
    return Error{ErrorCode::kUnsupportedParameter, "logprobs: not supported with beam search", "logprobs"};
  }
  const flow::SamplingParams& sampling = common.sampling;
  bool penalties =
      sampling.repetition_penalty != 1.0f || sampling.presence_penalty != 0.0f || sampling.frequency_penalty != 0.0f;
  const std::pair<bool, std::string_view> changes[] = {
      {!sampling.logit_bias.empty(), "logit_bias"},       {!sampling.allowed_token_ids.empty(), "allowed_token_ids"},
      {!common.bad_words.empty(), "bad_words"},           {!sampling.bad_words.empty(), "bad_token_ids"},
      {sampling.dry.multiplier > 0.0f, "dry_multiplier"}, {penalties, "penalties"},
      {sampling.min_tokens > 0, common.min_tokens_name},  {sampling.no_repeat_ngram_size > 0, "no_repeat_ngram_size"},
  };
  for (const auto& [sent, name] : changes) {
    if (sent) {
      return Error{ErrorCode::kUnsupportedParameter,
                   fmt::format("{}: not supported with beam search, which goes by the model's own probabilities", name),
                   std::string(name)};
    }
  }
  common.sampling.temperature = 0.0f;
  return {};
}

Result<void> check_together(FieldTarget& target, const ParseContext& context) {
  CommonParams& common = target.common;
  if (target.stream_options_set && !common.stream.stream) {
    return conflict("stream_options", "stream_options: only allowed with stream = true");
  }
  if (target.chat != nullptr && target.top_logprobs_set && !target.chat_logprobs) {
    if (common.sampling.n_logprobs > 0)
      return conflict("top_logprobs", "top_logprobs: only allowed with logprobs = true");
    common.sampling.n_logprobs = -1;
  }
  if (common.sampling.n_prompt_logprobs >= 0 && common.stream.stream) {
    return conflict("prompt_logprobs", "prompt_logprobs: not allowed with stream = true");
  }
  if (!common.sampling.logprob_token_ids.empty() && common.sampling.n_logprobs < 0) {
    std::string_view name = target.logprob_token_ids_name;
    return conflict(name, fmt::format("{}: only allowed with log probabilities of the output asked for", name));
  }
  TRY(check_beams(target));
  if (target.best_of > common.n && common.beam.width <= 1) {
    if (common.stream.stream) {
      return conflict("best_of", fmt::format("best_of: {} with n = {} is not allowed with stream = true: which answers "
                                             "are best is known at their end",
                                             target.best_of, common.n));
    }
    if (common.sampling.post_sampling_probs) {
      return conflict("post_sampling_probs",
                      "post_sampling_probs: not allowed with best_of, which compares the model's own probabilities");
    }
    common.best_of = static_cast<uint32_t>(target.best_of);
  }
  if (common.max_tokens && *common.max_tokens >= 0 && common.sampling.min_tokens > *common.max_tokens) {
    return conflict(common.min_tokens_name,
                    fmt::format("{}: {}, must be at most {} {}", common.min_tokens_name, common.sampling.min_tokens,
                                common.max_tokens_name, *common.max_tokens));
  }
  if (target.chat != nullptr && target.chat->continue_final_message) {
    if (target.generation_prompt_sent) {
      return conflict("continue_final_message", "continue_final_message and add_generation_prompt cannot both be true");
    }
    target.chat->add_generation_prompt = false;
  }
  if (target.grammar_lazy && common.constraint.kind != flow::ConstraintKind::kNone) {
    if (target.grammar_triggers.empty()) return conflict("grammar_lazy", "grammar_lazy: needs grammar_triggers");
    common.constraint.triggers = std::move(target.grammar_triggers);
  }
  set_penalty_window(target);
  TRY(check_extensions(common));
  if (target.chat != nullptr && !target.chat->chat_template.empty() && !context.trust_request_chat_template) {
    return Error{ErrorCode::kChatTemplateDisabled, "chat_template in requests is disabled", "chat_template"};
  }
  return {};
}

void apply_defaults(const SamplingDefaults& defaults, CommonParams& common) {
  flow::SamplingParams& sampling = common.sampling;
  sampling.temperature = defaults.temperature.value_or(sampling.temperature);
  sampling.top_k = defaults.top_k.value_or(sampling.top_k);
  sampling.top_p = defaults.top_p.value_or(sampling.top_p);
  sampling.min_p = defaults.min_p.value_or(sampling.min_p);
  sampling.repetition_penalty = defaults.repetition_penalty.value_or(sampling.repetition_penalty);
  if (defaults.max_tokens) common.default_max_tokens = defaults.max_tokens;
  if (defaults.seed) common.seed = defaults.seed;
}

// Values whose setters need more than the value: errors, or the context.
Result<void> set_special(const Field& field, const Json& value, const ParseContext& context, FieldTarget& target) {
  if (field.type == FieldType::kLogitBias || field.type == FieldType::kTextLogitBias) {
    target.common.sampling.logit_bias = TRY(read_logit_bias(field, value, context));
  }
  if (is_constraint_field(field.name)) TRY(read_constraint_field(field.name, value, target.common));
  if (field.name == "grammar_triggers") {
    target.grammar_triggers = TRY(read_triggers(value, context.limits, context.model.n_vocab));
  }
  if (field.name == "samplers") TRY(read_samplers(value, target.common.sampling));
  if (field.name == "stream_options") TRY(read_stream_options(value, context, target));
  if (field.name == "millrace") TRY(read_extensions(value, target.common.extensions));
  if (field.name == "allowed_token_ids" && value.size() == 0) {
    return Error{ErrorCode::kNoTokenAllowed, "allowed_token_ids: no token is allowed", "allowed_token_ids"};
  }
  return {};
}

}  // namespace

int64_t field_high(const Field& field, const Limits& limits) {
  return field.limit == LimitId::kCount ? field.high : limits[field.limit];
}

int64_t token_ids_high(const Field& field, const Limits& limits, int64_t n_vocab) {
  return field.limit == LimitId::kCount ? std::min(field.high, n_vocab) : limits[field.limit];
}

std::string range_text(const Field& field, const Limits& limits) {
  int64_t high = field_high(field, limits);
  switch (field.type) {
    case FieldType::kBool:
      return fmt::format("{} must be a boolean", field.name);
    case FieldType::kInt:
      if (field.low == INT64_MIN) return fmt::format("{} must be a 64-bit integer", field.name);
      if (high == INT64_MAX) return fmt::format("{} must be an integer >= {}", field.name, field.low);
      return fmt::format("{} must be an integer in {}..{}{}", field.name, field.low, high,
                         field.minus_one == MinusOne::kAll ? ", or -1 where --max-logprobs is -1" : "");
    case FieldType::kNumber:
      if (field.low_number <= -1e300) return fmt::format("{} must be a number", field.name);
      if (field.low_open) {
        return fmt::format("{} must be a number > {} and <= {}", field.name, number_text(field.low_number),
                           number_text(field.high_number));
      }
      return fmt::format("{} must be a number in {}..{}", field.name, number_text(field.low_number),
                         number_text(field.high_number));
    case FieldType::kString:
      return fmt::format("{} must be a string of at most {} bytes", field.name, high);
    case FieldType::kVisible:
      return fmt::format("{} must be a string of at most {} characters of 0x21..0x7E", field.name, high);
    case FieldType::kSalt:
      return fmt::format("{} must be a string of 1..{} bytes without @ / \\ and NUL", field.name, high);
    case FieldType::kStop:
      return fmt::format("{}: at most {} strings of 1..{} bytes", field.name, high, limits[LimitId::kStopBytes]);
    case FieldType::kTokenIds:
      return fmt::format("{} must be an array of token ids", field.name);
    case FieldType::kLogitBias:
      return fmt::format("{} must map token ids to numbers in {}..{}", field.name, field.low_number, field.high_number);
    case FieldType::kTextLogitBias:
      return fmt::format("{} must map token ids or texts to numbers or false", field.name);
    case FieldType::kObject:
      return fmt::format("{} must be an object", field.name);
    case FieldType::kArray:
      return fmt::format("{} must be an array", field.name);
    case FieldType::kChoice:
      return fmt::format("{} must be one of {}", field.name, field.words);
    case FieldType::kAny:
      break;
  }
  return fmt::format("{}: bad value", field.name);
}

Result<void> check_field(const Field& field, const Json& value, const ParseContext& context) {
  TRY(check_type(field, value, context));
  if (field.support == Support::kUnlessNeutral && !is_neutral(field, value)) {
    std::string text = fmt::format("{}: not supported by this server", field.name);
    if (!field.note.empty()) text += fmt::format(" ({})", field.note);
    return Error{ErrorCode::kUnsupportedParameter, text, std::string(field.name)};
  }
  return {};
}

Result<void> read_fields(const Json& body, uint8_t route, const ParseContext& context, FieldTarget& target) {
  if (!body.is_object()) return Error{ErrorCode::kInvalidValue, "the body must be a JSON object", ""};
  apply_defaults(context.dialect != nullptr ? *context.dialect : context.profile->defaults, target.common);
  apply_defaults(context.defaults, target.common);
  target.common.caller.session_id = context.session_id;
  target.n_vocab = context.model.n_vocab;
  if (context.constraint != nullptr) target.common.constraint.any_whitespace = context.constraint->any_whitespace;
  auto rows = request_fields();
  std::vector<NameRow> names = sorted_names(route);
  struct Chosen {
    const Json* value = nullptr;
    uint16_t rank = UINT16_MAX;
    std::string_view name = {};
  };
  std::vector<Chosen> chosen(rows.size());
  for (const auto& member : body.as_object().members) {
    auto at = std::lower_bound(names.begin(), names.end(), member.first,
                               [](const NameRow& row, const std::string& name) { return row.name < name; });
    if (at == names.end() || at->name != member.first) {
      std::string shown = quote_for_message(member.first);
      if (context.strict_fields) return Error{ErrorCode::kUnknownField, "unknown field " + shown, shown};
      count_unknown(target.common.ignored, std::move(shown));
      continue;
    }
    if (member.second.is_null()) continue;
    Field as_sent = rows[at->row];
    as_sent.name = member.first;  // errors name what the client sent
    TRY(check_field(as_sent, member.second, context));
    Chosen& best = chosen[at->row];
    if (at->rank < best.rank) best = {&member.second, at->rank, member.first};
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (chosen[i].value == nullptr) continue;
    target.sent_name = chosen[i].name;
    TRY(set_special(rows[i], *chosen[i].value, context, target));
    if (rows[i].set != nullptr) rows[i].set(target, *chosen[i].value);
  }
  auto has = [&](std::string_view name) {
    const Json* value = body.get(name);
    return value != nullptr && value->size() > 0;
  };
  const bool own = target.common.constraint.kind != flow::ConstraintKind::kNone || has("tools") || has("functions") ||
                   route == kRoutePooling;
  TRY(check_together(target, context));
  if (context.constraint != nullptr && !own) target.common.constraint = *context.constraint;
  return {};
}

JsonLimits body_limits(const Limits& limits) {
  return {.depth = static_cast<uint32_t>(limits[LimitId::kJsonDepth] + 2 * limits[LimitId::kSchemaDepth]),
          .nodes = static_cast<uint32_t>(limits[LimitId::kJsonNodes])};
}

Result<Json> parse_body(std::string_view text, const Limits& limits) {
  // 8 bytes a byte, as many short numbers in an array need, and some for small bodies.
  constexpr uint64_t kShare = 8;
  constexpr uint64_t kAtLeast = 8 * 1024 * 1024;
  JsonLimits json_limits = body_limits(limits);
  json_limits.bytes = kShare * text.size() + kAtLeast;
  Result<Json> parsed = parse_json(text, json_limits);
  if (!parsed.ok()) {
    Error error = parsed.take_error();
    if (error.code == ErrorCode::kInvalidJson) error.message = "request body is " + error.message;
    return error;
  }
  if (!parsed->is_object()) return Error{ErrorCode::kInvalidJson, "body must be an object", ""};
  return parsed;
}

Result<std::string> resolve_model(const Json& body, const ParseContext& context) {
  const Json* model = body.get("model");
  if (model == nullptr) return context.served_names.front();
  if (!model->is_string())
    return Error{ErrorCode::kInvalidValue, "model must be a string of at most 256 bytes", "model"};
  const std::string& name = model->as_string();
  auto served = context.served_names;
  if (std::find(served.begin(), served.end(), name) != served.end()) return name;
  if (name.empty() && served.size() == 1) return served.front();
  if (context.profile->any_model) return served.front();
  std::string known;
  for (size_t i = 0; i < std::min<size_t>(served.size(), 10); ++i) known += (i ? ", " : "") + served[i];
  return Error{ErrorCode::kModelNotFound,
               fmt::format("model \"{}\" does not exist, served: {}", quote_for_message(name), known), "model"};
}

}  // namespace millrace::api
