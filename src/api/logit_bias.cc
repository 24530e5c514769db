#include "api/logit_bias.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "base/macros.h"
#include "text/tokenizer.h"

namespace millrace::api {
namespace {

using Entries = std::vector<std::pair<TokenId, float>>;

constexpr size_t kMaxTextBytes = 256;  // of one entry

Error invalid(std::string message) { return Error{ErrorCode::kInvalidValue, std::move(message), "logit_bias"}; }

Result<float> bias_of(const Field& field, const Json& bias, std::string_view of) {
  if (field.type == FieldType::kTextLogitBias && bias == Json(false)) return kBannedBias;
  if (!bias.is_number() || bias.as_double() < field.low_number || bias.as_double() > field.high_number) {
    return invalid(
        fmt::format("logit_bias: the bias of {} must be a number in {}..{}", of, field.low_number, field.high_number));
  }
  return static_cast<float>(bias.as_double());
}

Result<void> add_id(Entries& out, const Field& field, int64_t id, const Json& bias, const ParseContext& context) {
  if (id < 0 || id >= context.model.n_vocab) {
    return Error{ErrorCode::kTokenOutOfRange,
                 fmt::format("logit_bias: token {} outside vocabulary 0..{}", id, context.model.n_vocab - 1),
                 "logit_bias"};
  }
  out.emplace_back(static_cast<TokenId>(id), TRY(bias_of(field, bias, fmt::format("token {}", id))));
  return {};
}

std::optional<int64_t> decimal(std::string_view text) {
  int64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool canonical = error == std::errc() && end == text.data() + text.size() && (text.size() == 1 || text[0] != '0');
  return canonical ? std::optional(value) : std::nullopt;
}

// An id in digits, or a text whose tokens all get the bias.
Result<void> add_text(Entries& out, const Field& field, const std::string& text, const Json& bias,
                      const ParseContext& context) {
  if (std::optional<int64_t> id = decimal(text)) return add_id(out, field, *id, bias, context);
  bool may_be_text = field.type == FieldType::kTextLogitBias && context.model.tokenizer != nullptr;
  if (!may_be_text) return invalid(range_text(field, context.limits));
  if (text.size() > kMaxTextBytes) {
    return invalid(fmt::format("logit_bias: a text of {} bytes, limit {}", text.size(), kMaxTextBytes));
  }
  float value = TRY(bias_of(field, bias, "\"" + quote_for_message(text) + "\""));
  std::vector<TokenId> ids = TRY(context.model.tokenizer->encode(text, {.add_special = false}));
  for (TokenId id : ids) out.emplace_back(id, value);
  return {};
}

}  // namespace

Result<Entries> read_logit_bias(const Field& field, const Json& value, const ParseContext& context) {
  if (!value.is_object() && !value.is_array()) return invalid(range_text(field, context.limits));
  int64_t limit = field_high(field, context.limits);
  if (static_cast<int64_t>(value.size()) > limit) {
    return invalid(fmt::format("{}: {} entries, limit {}", field.name, value.size(), limit));
  }
  Entries out;
  out.reserve(value.size());
  if (value.is_object()) {
    for (const auto& member : value.as_object().members)
      TRY(add_text(out, field, member.first, member.second, context));
  } else {
    for (const Json& pair : value.as_array()) {
      if (!pair.is_array() || pair.size() != 2) return invalid(range_text(field, context.limits));
      const Json& id = pair.as_array()[0];
      const Json& bias = pair.as_array()[1];
      if (id.is_int()) {
        TRY(add_id(out, field, id.as_int(), bias, context));
      } else if (id.is_string() && field.type == FieldType::kTextLogitBias) {
        TRY(add_text(out, field, id.as_string(), bias, context));
      } else {
        return invalid(range_text(field, context.limits));
      }
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Entries unique;
  for (const auto& entry : out) {
    if (!unique.empty() && unique.back().first == entry.first) unique.pop_back();
    unique.push_back(entry);
  }
  return unique;
}

}  // namespace millrace::api
