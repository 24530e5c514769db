#include <fmt/core.h>

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

// [[logprob, id, text], ...]
void append_triples(std::string& out, std::span<const PositionText> positions) {
  out += '[';
  for (const PositionText& position : positions) {
    if (&position != positions.data()) out += ',';
    out += '[';
    append_logprob(out, position.chosen.logprob);
    fmt::format_to(std::back_inserter(out), ",{},", position.chosen.id);
    append_json_string(out, position.chosen.text);
    out += ']';
  }
  out += ']';
}

void append_finish(std::string& out, const Finish* finish, uint64_t n_output) {
  if (finish == nullptr) {
    out += "null";
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

class SglangFormat final : public ReplyFormat {
 public:
  explicit SglangFormat(bool many) : many_(many) {}

  std::string_view id_prefix() const override { return ""; }
  ErrorStyle error_style() const override { return ErrorStyle::kOpenAi; }

  std::string whole(const ReplyParts& parts) override {
    std::string out;
    if (many_) out += '[';
    for (const ChoiceOutput& choice : parts.choices) {
      if (&choice != parts.choices.data()) out += ',';
      ChoiceState state{.text = choice.text, .ids = choice.token_ids, .logprobs = choice.logprobs};
      append(out, parts.head, state, parts.prompts[choice.prompt_index], &choice.finish, choice.timings, {});
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
    append(out, view.head, state, view.prompt_of(piece.choice), piece.finish, *piece.timings, index);
    out += kEventEnd;
  }
  void end(std::string& out, const StreamView&) override { out += kDoneEvent; }
  void fail(std::string& out, const ApiError& error) override {
    out += error_event(error, ErrorStyle::kOpenAi);
    out += kDoneEvent;
  }

 private:
  static void append(std::string& out, const ReplyHead& head, const ChoiceState& state, const PromptOutput& prompt,
                     const Finish* finish, const Timings& timings, std::string_view more) {
    out += R"({"text":)";
    append_json_string(out, state.text);
    out += R"(,"output_ids":)";
    append_ids(out, state.ids);
    out += R"(,"meta_info":{"id":)";
    append_json_string(out, head.id);
    out += R"(,"finish_reason":)";
    append_finish(out, finish, state.ids.size());
    fmt::format_to(std::back_inserter(out),
                   R"(,"prompt_tokens":{},"completion_tokens":{},"cached_tokens":{},"weight_version":"default",)"
                   R"("e2e_latency":{})",
                   prompt.token_ids.size(), state.ids.size(), timings.cache_n,
                   (timings.prompt_ms + timings.predicted_ms) / kMsPerSecond);
    if (!state.logprobs.empty()) {
      out += R"(,"output_token_logprobs":)";
      append_triples(out, state.logprobs);
    }
    out += '}';
    out += more;
    out += '}';
  }

  bool many_;
  std::vector<ChoiceState> states_;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_sglang_format(bool many) { return std::make_unique<SglangFormat>(many); }

}  // namespace millrace::api
