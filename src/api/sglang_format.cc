#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "api/chunks.h"
#include "api/json_text.h"
#include "api/native_format.h"
#include "base/json.h"

namespace millrace::api {
namespace {

constexpr double kMsPerSecond = 1000.0;

// What is known of a choice so far; finish null while it runs.
struct ChoiceState {
  std::string text;
  std::vector<TokenId> ids;
  std::vector<PositionText> logprobs;
};

// [logprob, id, text]
void append_triple(std::string& out, const TokenText& token, bool has_logprob) {
  out += '[';
  if (has_logprob) {
    append_logprob(out, token.logprob);
  } else {
    out += "null";
  }
  fmt::format_to(std::back_inserter(out), ",{},", token.id);
  append_json_string(out, token.text);
  out += ']';
}

// The chosen tokens as [triple, ...]; with `top` the likeliest ones, [[triple, ...] or null, ...].
void append_positions(std::string& out, std::string_view name, std::span<const PositionText> positions, bool top) {
  fmt::format_to(std::back_inserter(out), R"(,"{}":[)", name);
  for (const PositionText& position : positions) {
    if (&position != positions.data()) out += ',';
    if (!top) {
      append_triple(out, position.chosen, position.has_logprob);
    } else if (!position.has_logprob) {
      out += "null";
    } else {
      out += '[';
      for (const TokenText& token : position.top) {
        if (&token != position.top.data()) out += ',';
        append_triple(out, token, true);
      }
      out += ']';
    }
  }
  out += ']';
}

void append_finish(std::string& out, const Finish* finish, uint64_t n_output) {
  if (finish == nullptr) {
    out += "null";
  } else if (finish->kind == FinishKind::kAbort) {
    out += R"({"type":"abort","message":"aborted by /abort_request"})";
  } else if (finish->kind == FinishKind::kLength) {
    fmt::format_to(std::back_inserter(out), R"({{"type":"length","length":{}}})", n_output);
  } else if (const auto* word = std::get_if<std::string>(&finish->reason)) {
    out += R"({"type":"stop","matched":)";
    append_json_lossy(out, *word);
    out += '}';
  } else {
    const auto* id = std::get_if<TokenId>(&finish->reason);
    fmt::format_to(std::back_inserter(out), R"({{"type":"stop","matched":{}}})",
                   id == nullptr ? "null" : std::to_string(*id));
  }
}

// One choice as it is now.
struct Told {
  const ReplyHead& head;
  const CommonParams& params;
  const ChoiceState& state;
  const PromptOutput& prompt;
  const Finish* finish;  // null while it runs
  const Timings& timings;
  size_t prompt_idx;
  std::string_view more;  // members behind the others

  std::string_view id() const {
    const std::vector<std::string>& named = params.caller.prompt_ids;
    return prompt_idx < named.size() ? named[prompt_idx] : head.id;
  }
};

class SglangFormat final : public ReplyFormat {
 public:
  SglangFormat(bool many, int64_t logprob_start) : many_(many), logprob_start_(logprob_start) {}

  std::string_view id_prefix() const override { return ""; }
  ErrorStyle error_style() const override { return ErrorStyle::kOpenAi; }
  bool tells_abort() const override { return true; }

  std::string whole(const ReplyParts& parts) override {
    std::string out;
    if (many_) out += '[';
    for (const ChoiceOutput& choice : parts.choices) {
      if (&choice != parts.choices.data()) out += ',';
      ChoiceState state{.text = choice.text, .ids = choice.token_ids, .logprobs = choice.logprobs};
      const PromptOutput& prompt = parts.prompts[choice.prompt_index];
      append(out, {parts.head, parts.params, state, prompt, &choice.finish, choice.timings, choice.prompt_index, {}});
    }
    if (many_) out += ']';
    return out;
  }

  void begin(std::string&, const StreamView& view) override { states_.resize(view.n_choices); }

  // Text is cumulative.
  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    ChoiceState& state = states_[piece.choice];
    state.text += piece.text;
    state.ids.insert(state.ids.end(), piece.token_ids.begin(), piece.token_ids.end());
    state.logprobs.insert(state.logprobs.end(), piece.logprobs.begin(), piece.logprobs.end());
    if (piece.text.empty() && piece.finish == nullptr) return;
    out += kEventPrefix;
    std::string index = many_ ? fmt::format(R"(,"index":{})", piece.choice) : "";
    append(out, {view.head, view.params, state, view.prompt_of(piece.choice), piece.finish, *piece.timings,
                 piece.choice / view.params.n, index});
    out += kEventEnd;
  }
  void end(std::string& out, const StreamView&) override { out += kDoneEvent; }
  void fail(std::string& out, const ApiError& error) override {
    out += error_event(error, ErrorStyle::kOpenAi);
    out += kDoneEvent;
  }

 private:
  void append(std::string& out, const Told& told) {
    out += R"({"text":)";
    append_json_string(out, told.state.text);
    out += R"(,"output_ids":)";
    append_ids(out, told.state.ids);
    out += R"(,"meta_info":{"id":)";
    append_json_string(out, told.id());
    out += R"(,"finish_reason":)";
    append_finish(out, told.finish, told.state.ids.size());
    fmt::format_to(std::back_inserter(out),
                   R"(,"prompt_tokens":{},"completion_tokens":{},"cached_tokens":{},"weight_version":"default",)"
                   R"("e2e_latency":{})",
                   told.prompt.token_ids.size(), told.state.ids.size(), told.timings.cache_n,
                   (told.timings.queue_ms + told.timings.prompt_ms + told.timings.predicted_ms) / kMsPerSecond);
    const bool listed = !told.params.sampling.logprob_token_ids.empty();
    const bool top = told.params.sampling.n_logprobs > 0 || listed;
    if (told.params.sampling.n_prompt_logprobs >= 0) {
      auto from = static_cast<size_t>(std::min<int64_t>(logprob_start_, std::ssize(told.prompt.logprobs)));
      std::span<const PositionText> asked = std::span(told.prompt.logprobs).subspan(from);
      append_positions(out, "input_token_logprobs", asked, false);
      if (top) append_positions(out, "input_top_logprobs", asked, true);
    }
    if (!told.state.logprobs.empty()) {
      append_positions(out, "output_token_logprobs", told.state.logprobs, false);
      const std::string_view name = listed ? "output_token_ids_logprobs" : "output_top_logprobs";
      if (top) append_positions(out, name, told.state.logprobs, true);
    }
    out += '}';
    out += told.more;
    out += '}';
  }

  bool many_;
  int64_t logprob_start_;
  std::vector<ChoiceState> states_;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_sglang_format(bool many, int64_t logprob_start) {
  return std::make_unique<SglangFormat>(many, logprob_start);
}

}  // namespace millrace::api
