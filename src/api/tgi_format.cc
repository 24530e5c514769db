#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>

#include "api/json_text.h"
#include "api/native_format.h"
#include "base/json.h"

namespace millrace::api {
namespace {

std::string_view finish_name(const Finish& finish) {
  if (finish.kind == FinishKind::kLength) return "length";
  return std::holds_alternative<std::string>(finish.reason) ? "stop_sequence" : "eos_token";
}

void append_token(std::string& out, const TokenText& token) {
  fmt::format_to(std::back_inserter(out), R"({{"id":{},"text":)", token.id);
  append_json_string(out, token.text);
  out += R"(,"logprob":)";
  append_logprob(out, token.logprob);
  out += R"(,"special":false})";
}

void append_tokens(std::string& out, std::span<const TokenText> tokens) {
  out += '[';
  for (const TokenText& token : tokens) {
    if (&token != tokens.data()) out += ',';
    append_token(out, token);
  }
  out += ']';
}

void append_prefill(std::string& out, std::span<const PositionText> positions) {
  for (const PositionText& position : positions) {
    if (&position != positions.data()) out += ',';
    fmt::format_to(std::back_inserter(out), R"({{"id":{},"text":)", position.chosen.id);
    append_json_string(out, position.chosen.text);
    out += R"(,"logprob":)";
    if (position.has_logprob) {
      append_logprob(out, position.chosen.logprob);
    } else {
      out += "null";
    }
    out += '}';
  }
}

void append_seed(std::string& out, const CommonParams& params) {
  out += R"(,"seed":)";
  out += params.seed ? std::to_string(*params.seed) : "null";
}

class TgiFormat final : public ReplyFormat {
 public:
  explicit TgiFormat(const TgiOptions& options) : options_(options) {}

  std::string_view id_prefix() const override { return "tgi-"; }
  ErrorStyle error_style() const override { return ErrorStyle::kTgi; }

  std::string whole(const ReplyParts& parts) override {
    const size_t best = best_of(parts.choices);
    const ChoiceOutput& choice = parts.choices[best];
    const PromptOutput& prompt = parts.prompts.front();
    std::string out = options_.list ? R"([{"generated_text":)" : R"({"generated_text":)";
    append_json_string(out, options_.full_text ? prompt.text + choice.text : choice.text);
    if (options_.details) {
      out += R"(,"details":{)";
      append_details(out, parts.params, prompt, choice);
      if (options_.ranked) append_others(out, parts, best);
      out += '}';
    }
    out += options_.list ? "}]" : "}";
    headers_ = headers_of(parts, choice);
    return out;
  }
  ReplyHeaders whole_headers() const override { return headers_; }

  ReplyHeaders stream_headers() const override {
    return {.content_type = kEventStreamType,
            .more = {{"x-compute-type", "cpu"}, {"x-compute-characters", std::to_string(options_.n_characters)}}};
  }

  void begin(std::string&, const StreamView&) override {}

  // One event a token; the last one repeats the whole text.
  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    text_ += piece.text;
    for (const PositionText& position : piece.logprobs) {
      flush(out, "null,\"details\":null");
      held_ = R"({"token":)";
      append_token(held_, position.chosen);
      if (options_.n_top > 0) {
        held_ += R"(,"top_tokens":)";
        append_tokens(held_, position.top);
      }
    }
    if (piece.finish == nullptr) return;
    std::string end;
    const PromptOutput& prompt = view.prompt_of(piece.choice);
    append_json_string(end, options_.full_text ? prompt.text + text_ : text_);
    fmt::format_to(std::back_inserter(end), R"(,"details":{{"finish_reason":"{}","generated_tokens":{})",
                   finish_name(*piece.finish), piece.n_output);
    append_seed(end, view.params);
    fmt::format_to(std::back_inserter(end), R"(,"input_length":{}}})", prompt.token_ids.size());
    if (held_.empty()) held_ = R"({"token":{"id":0,"text":"","logprob":0.0,"special":true})";
    flush(out, end);
  }
  void end(std::string&, const StreamView&) override {}
  void fail(std::string& out, const ApiError& error) override { out += error_event(error, ErrorStyle::kTgi); }

 private:
  // The likeliest by the mean of its tokens' log probabilities, the first of equal ones.
  size_t best_of(std::span<const ChoiceOutput> choices) const {
    if (!options_.ranked) return 0;
    auto mean = [](const ChoiceOutput& choice) {
      double sum = 0;
      for (const PositionText& position : choice.logprobs) sum += static_cast<double>(position.chosen.logprob);
      return sum / std::max(static_cast<double>(choice.logprobs.size()), 1.0);
    };
    size_t best = 0;
    for (size_t i = 1; i < choices.size(); ++i) {
      if (mean(choices[i]) > mean(choices[best])) best = i;
    }
    return best;
  }

  void append_details(std::string& out, const CommonParams& params, const PromptOutput& prompt,
                      const ChoiceOutput& choice) const {
    fmt::format_to(std::back_inserter(out), R"("finish_reason":"{}","generated_tokens":{})", finish_name(choice.finish),
                   choice.timings.predicted_n);
    append_seed(out, params);
    out += R"(,"prefill":[)";
    if (options_.prefill) append_prefill(out, prompt.logprobs);
    out += R"(],"tokens":[)";
    for (const PositionText& position : choice.logprobs) {
      if (&position != choice.logprobs.data()) out += ',';
      append_token(out, position.chosen);
    }
    out += ']';
    if (options_.n_top > 0) append_top(out, choice.logprobs);
  }

  void append_others(std::string& out, const ReplyParts& parts, size_t best) const {
    out += R"(,"best_of_sequences":[)";
    bool first = true;
    for (size_t i = 0; i < parts.choices.size(); ++i) {
      if (i == best) continue;
      out += first ? R"({"generated_text":)" : R"(,{"generated_text":)";
      first = false;
      append_json_string(out, parts.choices[i].text);
      out += ',';
      append_details(out, parts.params, parts.prompts.front(), parts.choices[i]);
      out += '}';
    }
    out += ']';
  }

  // router/src/server.rs of TGI: seconds for x-compute-time, whole milliseconds for the others.
  ReplyHeaders headers_of(const ReplyParts& parts, const ChoiceOutput& choice) const {
    constexpr double kMsPerSecond = 1000.0;
    const Timings& times = choice.timings;
    const double inference_ms = times.prompt_ms + times.predicted_ms;
    const double total_ms = times.queue_ms + inference_ms;
    auto whole_ms = [](double ms) { return std::to_string(static_cast<int64_t>(std::max(ms, 0.0))); };
    const auto n_tokens = static_cast<double>(std::max<uint64_t>(times.predicted_n, 1));
    return {.more = {{"x-compute-type", "cpu"},
                     {"x-compute-time", fmt::format("{}", total_ms / kMsPerSecond)},
                     {"x-compute-characters", std::to_string(options_.n_characters)},
                     {"x-total-time", whole_ms(total_ms)},
                     {"x-validation-time", whole_ms(parts.prepare_ms)},
                     {"x-queue-time", whole_ms(times.queue_ms - parts.prepare_ms)},
                     {"x-inference-time", whole_ms(inference_ms)},
                     {"x-time-per-token", whole_ms(inference_ms / n_tokens)},
                     {"x-prompt-tokens", std::to_string(parts.prompts.front().token_ids.size())},
                     {"x-generated-tokens", std::to_string(times.predicted_n)}}};
  }

  static void append_top(std::string& out, std::span<const PositionText> positions) {
    out += R"(,"top_tokens":[)";
    for (const PositionText& position : positions) {
      if (&position != positions.data()) out += ',';
      append_tokens(out, position.top);
    }
    out += ']';
  }

  // Sends the held token with what is known now.
  void flush(std::string& out, std::string_view rest) {
    if (held_.empty()) return;
    fmt::format_to(std::back_inserter(out), "data: {{\"index\":{},{},\"generated_text\":{}}}\n\n", ++index_,
                   std::string_view(held_).substr(1), rest);
    held_.clear();
  }

  TgiOptions options_;
  ReplyHeaders headers_;  // of the whole answer
  std::string text_;
  std::string held_;  // the last token, until it is known whether it is the end
  uint64_t index_ = 0;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_tgi_format(const TgiOptions& options) { return std::make_unique<TgiFormat>(options); }

}  // namespace millrace::api
