#include "api/json_text.h"

#include <fmt/core.h>

#include <charconv>
#include <cmath>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "base/json.h"

namespace millrace::api {
namespace {

struct Step {
  size_t n_bytes = 1;
  bool valid = false;
};

// The next character, or the next maximal invalid part (Unicode 15, section 3.9, table 3-7).
Step next_character(std::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  uint8_t first = byte(0);
  if (first < 0x80) return {1, true};
  size_t n = first >= 0xC2 && first <= 0xDF   ? 2
             : first >= 0xE0 && first <= 0xEF ? 3
             : first >= 0xF0 && first <= 0xF4 ? 4
                                              : 0;
  if (n == 0) return {1, false};
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  for (size_t i = 1; i < n; ++i) {
    if (byte(i) < low || byte(i) > high) return {i, false};
    low = 0x80;
    high = 0xBF;
  }
  return {n, true};
}

std::string shown(const TokenText& token, bool as_id) {
  return as_id ? fmt::format("token_id:{}", token.id) : token.text;
}

void append_token(std::string& out, const TokenText& token, bool as_id) {
  out += R"({"token":)";
  append_json_string(out, shown(token, as_id));
  out += R"(,"logprob":)";
  append_logprob(out, token.logprob);
  out += R"(,"bytes":[)";
  for (size_t i = 0; i < token.bytes.size(); ++i) {
    fmt::format_to(std::back_inserter(out), "{}{}", i ? "," : "",
                   static_cast<unsigned>(static_cast<uint8_t>(token.bytes[i])));
  }
  out += ']';
}

// {"text":logprob,...}: the most likely tokens, then the chosen one when it is not among them. Two tokens with one
// text would be one key: the likelier is kept.
void append_top_object(std::string& out, const PositionText& position, bool tokens_as_ids) {
  std::unordered_set<std::string> keys;  // as many as the vocabulary has tokens
  out += '{';
  auto add = [&](const TokenText& token) {
    auto [key, is_new] = keys.insert(shown(token, tokens_as_ids));
    if (!is_new) return;
    if (keys.size() > 1) out += ',';
    append_json_string(out, *key);
    out += ':';
    append_logprob(out, token.logprob);
  };
  for (const TokenText& token : position.top) add(token);
  add(position.chosen);
  out += '}';
}

template <class Item, class Append>
void append_array(std::string& out, std::span<const Item> items, Append append) {
  out += '[';
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) out += ',';
    append(items[i]);
  }
  out += ']';
}

void append_ranked(std::string& out, const TokenText& token) {
  fmt::format_to(std::back_inserter(out), R"("{}":{{"logprob":)", token.id);
  append_logprob(out, token.logprob);
  fmt::format_to(std::back_inserter(out), R"(,"rank":{},"decoded_token":)", token.rank);
  append_json_string(out, token.text);
  out += '}';
}

double rate(double count, double ms) { return ms > 0 && count > 0 ? count * 1000.0 / ms : 0.0; }
double share(double ms, double count) { return count > 0 ? ms / count : 0.0; }

}  // namespace

void append_logprob(std::string& out, float value) {
  if (std::isnan(value)) {
    out += "null";
    return;
  }
  char buffer[32];
  auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, std::max(value, kLogprobFloor));
  std::string_view text(buffer, static_cast<size_t>(end - buffer));
  out += text;
  if (text.find_first_of(".e") == std::string_view::npos) out += ".0";
}

std::string repair_utf8(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    Step step = next_character(bytes);
    out += step.valid ? bytes.substr(0, step.n_bytes) : std::string_view("\xEF\xBF\xBD");
    bytes.remove_prefix(step.n_bytes);
  }
  return out;
}

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    Step step = next_character(bytes);
    if (!step.valid) return false;
    bytes.remove_prefix(step.n_bytes);
  }
  return true;
}

void append_json_lossy(std::string& out, std::string_view bytes) { append_json_string(out, repair_utf8(bytes)); }

uint64_t count_characters(std::string_view bytes) {
  uint64_t count = 0;
  while (!bytes.empty()) {
    bytes.remove_prefix(next_character(bytes).n_bytes);
    ++count;
  }
  return count;
}

void append_ids(std::string& out, std::span<const TokenId> ids) {
  append_array(out, ids, [&](TokenId id) { fmt::format_to(std::back_inserter(out), "{}", id); });
}

void append_chat_logprobs(std::string& out, std::span<const PositionText> positions, bool tokens_as_ids) {
  out += R"({"content":)";
  append_array(out, positions, [&](const PositionText& position) {
    append_token(out, position.chosen, tokens_as_ids);
    out += R"(,"top_logprobs":)";
    append_array(out, std::span<const TokenText>(position.top), [&](const TokenText& token) {
      append_token(out, token, tokens_as_ids);
      out += '}';
    });
    out += '}';
  });
  out += '}';
}

void append_completion_logprobs(std::string& out, std::span<const PositionText> positions, bool tokens_as_ids,
                                uint64_t& offset) {
  out += R"({"text_offset":)";
  append_array(out, positions, [&](const PositionText& position) {
    fmt::format_to(std::back_inserter(out), "{}", offset);
    offset += count_characters(position.chosen.text);
  });
  out += R"(,"token_logprobs":)";
  append_array(out, positions, [&](const PositionText& position) {
    if (position.has_logprob) {
      append_logprob(out, position.chosen.logprob);
    } else {
      out += "null";
    }
  });
  out += R"(,"tokens":)";
  append_array(out, positions,
               [&](const PositionText& position) { append_json_string(out, shown(position.chosen, tokens_as_ids)); });
  out += R"(,"top_logprobs":)";
  append_array(out, positions, [&](const PositionText& position) {
    if (position.has_logprob) {
      append_top_object(out, position, tokens_as_ids);
    } else {
      out += "null";
    }
  });
  out += '}';
}

void append_prompt_logprobs(std::string& out, std::span<const PositionText> positions) {
  append_array(out, positions, [&](const PositionText& position) {
    if (!position.has_logprob) {
      out += "null";
      return;
    }
    out += '{';
    append_ranked(out, position.chosen);
    for (const TokenText& token : position.top) {
      if (token.id == position.chosen.id) continue;
      out += ',';
      append_ranked(out, token);
    }
    out += '}';
  });
}

void append_usage_object(std::string& out, const Usage& usage) {
  fmt::format_to(
      std::back_inserter(out),
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{},)"
      R"("created_cache_tokens":{},"multimodal_tokens":{{}}}},"completion_tokens_details":{{"reasoning_tokens":{}}}}})",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens, usage.cached_tokens,
      usage.created_tokens, usage.reasoning_tokens);
}

// Rates are of the milliseconds as shown, so that a client's own division agrees.
void append_timings_object(std::string& out, const Timings& t) {
  auto shown_ms = [](double ms) { return std::round(ms * 1000.0) / 1000.0; };
  double prompt_ms = shown_ms(t.prompt_ms);
  double predicted_ms = shown_ms(t.predicted_ms);
  auto prompt_n = static_cast<double>(t.prompt_n);
  double decoded = t.predicted_n > 1 ? static_cast<double>(t.predicted_n - 1) : 0.0;
  fmt::format_to(std::back_inserter(out), R"({{"cache_n":{},"prompt_n":{},"prompt_ms":)", t.cache_n, t.prompt_n);
  append_json_double(out, prompt_ms);
  out += R"(,"prompt_per_token_ms":)";
  append_json_double(out, share(prompt_ms, prompt_n));
  out += R"(,"prompt_per_second":)";
  append_json_double(out, rate(prompt_n, prompt_ms));
  fmt::format_to(std::back_inserter(out), R"(,"predicted_n":{},"predicted_ms":)", t.predicted_n);
  append_json_double(out, predicted_ms);
  out += R"(,"predicted_per_token_ms":)";
  append_json_double(out, share(predicted_ms, decoded));
  out += R"(,"predicted_per_second":)";
  append_json_double(out, rate(decoded, predicted_ms));
  out += '}';
}

void append_metrics_object(std::string& out, const Timings& t) {
  auto gaps = t.predicted_n > 1 ? static_cast<double>(t.predicted_n - 1) : 0.0;
  const std::pair<std::string_view, double> members[] = {
      {"time_to_first_token_ms", t.queue_ms + t.prompt_ms},
      {"generation_time_ms", t.predicted_ms},
      {"queue_time_ms", t.queue_ms},
      {"mean_itl_ms", share(t.predicted_ms, gaps)},
      {"tokens_per_second", rate(gaps, t.predicted_ms)},
  };
  out += '{';
  for (const auto& [name, value] : members) {
    fmt::format_to(std::back_inserter(out), R"("{}":)", name);
    append_json_double(out, value);
    out += ',';
  }
  out += R"("speculative_decoding":{}})";
}

bool is_object(std::string_view text) {
  auto parsed = parse_json(text);
  return parsed.ok() && parsed->is_object();
}

void append_call_piece(std::string& out, const CallPiece& call) {
  fmt::format_to(std::back_inserter(out), R"("tool_calls":[{{"index":{})", call.index);
  if (!call.name.empty()) {
    out += R"(,"id":)";
    append_json_string(out, call.id);
    out += R"(,"type":"function","function":{"name":)";
    append_json_string(out, call.name);
    out += R"(,"arguments":)";
  } else {
    out += R"(,"function":{"arguments":)";
  }
  append_json_string(out, call.arguments);
  out += "}}]";
}

void append_calls(std::string& out, std::span<const OutputPart> parts) {
  out += R"("tool_calls":[)";
  bool first = true;
  for (const OutputPart& part : parts) {
    if (part.kind != PartKind::kCall) continue;
    out += first ? R"({"id":)" : R"(,{"id":)";
    first = false;
    append_json_string(out, part.call.id);
    out += R"(,"type":"function","function":{"name":)";
    append_json_string(out, part.call.name);
    out += R"(,"arguments":)";
    append_json_string(out, part.call.arguments);
    out += "}}";
  }
  out += ']';
}

void append_reasoning_keys(std::string& out, std::string_view text, ReasoningField field) {
  if (field != ReasoningField::kReasoningContent) {
    out += R"("reasoning":)";
    append_json_string(out, text);
  }
  if (field == ReasoningField::kBoth) out += ',';
  if (field != ReasoningField::kReasoning) {
    out += R"("reasoning_content":)";
    append_json_string(out, text);
  }
}

void append_finish_keys(std::string& out, const Finish& finish) {
  bool calls = finish.kind == FinishKind::kCalls && !finish.named;
  out += finish.kind == FinishKind::kLength ? R"("finish_reason":"length","stop_reason":)"
         : calls                            ? R"("finish_reason":"tool_calls","stop_reason":)"
                                            : R"("finish_reason":"stop","stop_reason":)";
  if (const TokenId* id = std::get_if<TokenId>(&finish.reason)) {
    fmt::format_to(std::back_inserter(out), "{}", *id);
  } else if (const std::string* text = std::get_if<std::string>(&finish.reason)) {
    append_json_string(out, *text);
  } else {
    out += "null";
  }
}

}  // namespace millrace::api
