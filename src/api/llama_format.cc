#include "api/llama_format.h"

#include <fmt/core.h>

#include <cmath>
#include <iterator>
#include <utility>

#include "api/chunks.h"
#include "api/json_object.h"
#include "api/json_text.h"
#include "api/samplers.h"
#include "base/json.h"

namespace millrace::api {
namespace {

void append_bytes(std::string& out, std::string_view bytes) {
  out += '[';
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out += ',';
    fmt::format_to(std::back_inserter(out), "{}", static_cast<unsigned char>(bytes[i]));
  }
  out += ']';
}

// post: probabilities instead of their logarithms.
void append_probability(std::string& out, const TokenText& token, bool post) {
  fmt::format_to(std::back_inserter(out), R"({{"id":{},"token":)", token.id);
  append_json_string(out, token.text);
  out += R"(,"bytes":)";
  append_bytes(out, token.bytes);
  if (post) {
    out += R"(,"prob":)";
    append_json_double(out, std::exp(static_cast<double>(token.logprob)));
  } else {
    out += R"(,"logprob":)";
    append_logprob(out, token.logprob);
  }
}

// completion_probabilities.
void append_probabilities(std::string& out, std::span<const PositionText> positions, bool post) {
  out += '[';
  for (const PositionText& position : positions) {
    if (&position != positions.data()) out += ',';
    append_probability(out, position.chosen, post);
    out += post ? R"(,"top_probs":[)" : R"(,"top_logprobs":[)";
    for (const TokenText& token : position.top) {
      if (&token != position.top.data()) out += ',';
      append_probability(out, token, post);
      out += '}';
    }
    out += "]}";
  }
  out += ']';
}

std::string_view stop_type(const Finish& finish) {
  if (finish.kind == FinishKind::kLength) return "limit";
  return std::holds_alternative<std::string>(finish.reason) ? "word" : "eos";
}

// Those in use, or llama-server's order.
Json samplers(const flow::SamplingParams& sampling) {
  Json out = Json::array();
  for (flow::SamplerStep step : sampling.steps) out.push_back(name_of(step));
  if (!sampling.steps.empty()) return out;
  for (const SamplerName& one : sampler_names()) out.push_back(one.name);
  return out;
}

Json biases(const CommonParams& params, const LlamaFacts& facts) {
  Json out = Json::array();
  auto add = [&](TokenId token, Json bias) {
    out.push_back(json_object({{"bias", std::move(bias)}, {"token", int64_t{token}}}));
  };
  for (auto [token, bias] : params.sampling.logit_bias) add(token, static_cast<double>(bias));
  if (params.sampling.ignore_eos) {
    for (TokenId token : facts.eos_token_ids) add(token, Json());  // null: minus infinity
  }
  return out;
}

// "a/b" of a reply as the member "a/b".
std::string chosen_fields(const std::string& reply, const std::vector<std::string>& fields) {
  auto whole = parse_json(reply);
  Json out = Json::object();
  for (const std::string& field : fields) {
    const Json* at = whole.ok() ? &*whole : nullptr;
    std::string_view rest = field;
    while (at != nullptr && !rest.empty()) {
      size_t cut = std::min(rest.find('/'), rest.size());
      at = at->find(rest.substr(0, cut));
      rest.remove_prefix(std::min(cut + 1, rest.size()));
    }
    if (at != nullptr) out.set(field, *at);
  }
  return out.dump();
}

class LlamaFormat final : public ReplyFormat {
 public:
  LlamaFormat(LlamaFacts facts, const FormatOptions& options, bool many)
      : facts_(std::move(facts)), options_(options), many_(many) {}

  std::string_view id_prefix() const override { return "cmpl-"; }
  ErrorStyle error_style() const override { return ErrorStyle::kLlama; }

  std::string whole(const ReplyParts& parts) override {
    std::string out;
    if (many_) out += '[';
    for (const ChoiceOutput& choice : parts.choices) {
      if (&choice != parts.choices.data()) out += ',';
      out += llama_answer(parts.params, facts_, parts.head, parts.prompts[choice.prompt_index], choice);
    }
    if (many_) out += ']';
    return out;
  }

  void begin(std::string&, const StreamView& view) override {
    has_new_line_.assign(view.n_choices, false);
    begun_.assign(view.n_choices, !view.params.output.return_progress);
  }

  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    if (!begun_[piece.choice]) append_progress(out, view, piece);
    begun_[piece.choice] = true;
    has_new_line_[piece.choice] = has_new_line_[piece.choice] || piece.text.find('\n') != std::string_view::npos;
    if (!piece.text.empty() || !piece.logprobs.empty()) append_partial(out, view, piece);
    if (piece.finish != nullptr) append_final(out, view, piece);
  }

  void end(std::string&, const StreamView&) override {}
  void fail(std::string& out, const ApiError& error) override { out += error_event(error, ErrorStyle::kLlama); }

 private:
  void open(std::string& out, uint32_t choice) const {
    out += kEventPrefix;
    fmt::format_to(std::back_inserter(out), R"({{"index":{},"content":)", choice);
  }

  void append_partial(std::string& out, const StreamView& view, const Piece& piece) const {
    open(out, piece.choice);
    append_json_string(out, piece.text);
    out += R"(,"tokens":)";
    append_ids(out, piece.token_ids);
    fmt::format_to(std::back_inserter(out), R"(,"stop":false,"id_slot":{},"tokens_predicted":{},"tokens_evaluated":{})",
                   view.params.output.id_slot, piece.n_output, view.prompt_of(piece.choice).token_ids.size());
    if (piece.timings != nullptr && view.params.output.timings_per_token) {
      out += R"(,"timings":)";
      append_timings_object(out, *piece.timings);
    }
    if (!piece.logprobs.empty()) {
      out += R"(,"completion_probabilities":)";
      append_probabilities(out, piece.logprobs, view.params.sampling.post_sampling_probs);
    }
    out += '}';
    out += kEventEnd;
  }

  // The whole answer without what was streamed.
  void append_final(std::string& out, const StreamView& view, const Piece& piece) const {
    ChoiceOutput choice;
    choice.index = piece.choice;
    choice.finish = *piece.finish;
    choice.timings = *piece.timings;
    if (has_new_line_[piece.choice]) choice.text = "\n";  // only for has_new_line
    CommonParams params = view.params;
    params.stream.stream = true;
    out += kEventPrefix;
    out += llama_answer(params, facts_, view.head, view.prompt_of(piece.choice), choice);
    out += kEventEnd;
  }

  // The prompt as a whole: one report of its beginning, one of its end.
  void append_progress(std::string& out, const StreamView& view, const Piece& piece) const {
    size_t total = view.prompt_of(piece.choice).token_ids.size();
    for (size_t processed : {size_t{0}, total}) {
      Timings so_far;
      if (processed > 0) so_far = *piece.timings;
      so_far.predicted_n = 0;
      so_far.predicted_ms = 0;
      open(out, piece.choice);
      fmt::format_to(std::back_inserter(out),
                     R"("","tokens":[],"stop":false,"id_slot":{},"tokens_predicted":0,"tokens_evaluated":{},)"
                     R"("prompt_progress":{{"total":{},"cache":0,"processed":{},"time_ms":{}}})",
                     view.params.output.id_slot, total, total, processed, static_cast<int64_t>(so_far.prompt_ms));
      if (view.params.output.timings_per_token) {
        out += R"(,"timings":)";
        append_timings_object(out, so_far);
      }
      out += '}';
      out += kEventEnd;
    }
  }

  LlamaFacts facts_;
  FormatOptions options_;
  bool many_;
  std::vector<bool> has_new_line_;  // by choice
  std::vector<bool> begun_;         // by choice: no progress is owed
};

}  // namespace

Json llama_settings(const CommonParams& params, const LlamaFacts& facts) {
  const flow::SamplingParams& s = params.sampling;
  auto number = [](float value) { return Json(static_cast<double>(value)); };
  int64_t n_predict = params.max_tokens.value_or(params.default_max_tokens.value_or(-1));
  auto string_array = [](const std::vector<std::string>& texts) {
    Json out = Json::array();
    for (const std::string& text : texts) out.push_back(text);
    return out;
  };
  Json stop = string_array(params.output.stop);
  return json_object({{"seed", params.seed.value_or(4294967295)},
                      {"temperature", number(s.temperature)},
                      {"dynatemp_range", number(s.dynatemp_range)},
                      {"dynatemp_exponent", number(s.dynatemp_exponent)},
                      {"top_k", int64_t{s.top_k}},
                      {"top_p", number(s.top_p)},
                      {"min_p", number(s.min_p)},
                      {"top_n_sigma", number(s.top_n_sigma)},
                      {"xtc_probability", number(s.xtc_probability)},
                      {"xtc_threshold", number(s.xtc_threshold)},
                      {"typical_p", number(s.typical_p)},
                      {"repeat_last_n", int64_t{s.penalty_window}},
                      {"repeat_penalty", number(s.repetition_penalty)},
                      {"presence_penalty", number(s.presence_penalty)},
                      {"frequency_penalty", number(s.frequency_penalty)},
                      {"dry_multiplier", number(s.dry.multiplier)},
                      {"dry_base", number(s.dry.base)},
                      {"dry_allowed_length", int64_t{s.dry.allowed_length}},
                      {"dry_penalty_last_n", int64_t{s.dry.last_n}},
                      {"dry_sequence_breakers", string_array(params.dry_breakers)},
                      {"mirostat", int64_t{s.mirostat}},
                      {"mirostat_tau", number(s.mirostat_tau)},
                      {"mirostat_eta", number(s.mirostat_eta)},
                      {"adaptive_target", -1.0},
                      {"adaptive_decay", 0.9},
                      {"stop", std::move(stop)},
                      {"max_tokens", n_predict},
                      {"n_predict", n_predict},
                      {"n_keep", 0},
                      {"n_discard", 0},
                      {"ignore_eos", s.ignore_eos},
                      {"stream", params.stream.stream},
                      {"logit_bias", biases(params, facts)},
                      {"n_probs", int64_t{s.n_logprobs < 0 ? 0 : s.n_logprobs}},
                      {"min_keep", int64_t{s.min_keep}},
                      {"grammar", ""},
                      {"grammar_lazy", false},
                      {"grammar_triggers", Json::array()},
                      {"preserved_tokens", Json::array()},
                      {"chat_format", "Content-only"},
                      {"reasoning_format", "none"},
                      {"reasoning_in_content", false},
                      {"generation_prompt", ""},
                      {"samplers", samplers(s)},
                      {"speculative.types", "none"},
                      {"timings_per_token", params.output.timings_per_token},
                      {"post_sampling_probs", s.post_sampling_probs},
                      {"backend_sampling", false},
                      {"lora", Json::array()}});
}

std::string llama_answer(const CommonParams& params, const LlamaFacts& facts, const ReplyHead& head,
                         const PromptOutput& prompt, const ChoiceOutput& choice) {
  bool streamed = params.stream.stream;
  uint64_t n_prompt = prompt.token_ids.size();
  uint64_t n_output = choice.timings.predicted_n;
  bool at_the_end = n_prompt + n_output >= static_cast<uint64_t>(facts.max_len);
  const auto* word = std::get_if<std::string>(&choice.finish.reason);
  std::string out = fmt::format(R"({{"index":{},"content":)", choice.index);
  append_json_string(out, streamed ? std::string_view() : std::string_view(choice.text));
  out += R"(,"tokens":)";
  append_ids(out, !streamed && params.output.return_token_ids ? std::span<const TokenId>(choice.token_ids)
                                                              : std::span<const TokenId>());
  fmt::format_to(std::back_inserter(out), R"(,"id_slot":{},"stop":true,"model":)", params.output.id_slot);
  append_json_string(out, head.model);
  fmt::format_to(std::back_inserter(out), R"(,"tokens_predicted":{},"tokens_evaluated":{},"generation_settings":)",
                 n_output, n_prompt);
  llama_settings(params, facts).dump_to(out);
  out += R"(,"prompt":)";
  append_json_lossy(out, prompt.text);
  fmt::format_to(std::back_inserter(out), R"(,"has_new_line":{},"truncated":{},"stop_type":"{}","stopping_word":)",
                 choice.text.find('\n') != std::string::npos, choice.finish.kind == FinishKind::kLength && at_the_end,
                 stop_type(choice.finish));
  append_json_lossy(out, word == nullptr ? std::string_view() : std::string_view(*word));
  fmt::format_to(std::back_inserter(out), R"(,"tokens_cached":{},"timings":)", n_prompt + n_output);
  append_timings_object(out, choice.timings);
  if (!streamed && params.sampling.n_logprobs > 0) {
    out += R"(,"completion_probabilities":)";
    append_probabilities(out, choice.logprobs, params.sampling.post_sampling_probs);
  }
  out += '}';
  return params.output.response_fields.empty() ? out : chosen_fields(out, params.output.response_fields);
}

std::unique_ptr<ReplyFormat> make_llama_format(LlamaFacts facts, const FormatOptions& options, bool many) {
  return std::make_unique<LlamaFormat>(std::move(facts), options, many);
}

}  // namespace millrace::api
