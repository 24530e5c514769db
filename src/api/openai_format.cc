#include "api/openai_format.h"

#include <optional>
#include <utility>
#include <vector>

#include "api/chunks.h"
#include "api/dialect.h"
#include "api/json_text.h"
#include "base/macros.h"

namespace millrace::api {
namespace {

class OpenAiFormat final : public ReplyFormat {
 public:
  OpenAiFormat(ReplyKind kind, const FormatOptions& options, LlamaFacts facts)
      : kind_(kind), options_(options), facts_(std::move(facts)) {}

  std::string_view id_prefix() const override { return kind_ == ReplyKind::kChat ? "chatcmpl-" : "cmpl-"; }
  ErrorStyle error_style() const override { return options_.error_style; }
  std::string whole(const ReplyParts& parts) override {
    std::string out = kind_ == ReplyKind::kChat ? chat_reply(parts, options_.reasoning_field) : completion_reply(parts);
    if (options_.metrics && parts.params.n == 1 && parts.choices.size() == 1) {
      out.pop_back();
      out += R"(,"metrics":)";
      append_metrics_object(out, parts.choices.front().timings);
      out += '}';
    }
    if (parts.params.output.verbose && !parts.choices.empty()) add_verbose(out, parts);
    return out;
  }

  // Chat: the role chunks.
  void begin(std::string& out, const StreamView& view) override {
    chunks_.emplace(kind_, view.head, view.params, options_.null_role, options_.reasoning_field);
    begun_.assign(view.n_choices, false);
    if (kind_ == ReplyKind::kChat) {
      chunks_->append_roles(out, view.n_choices, view.prompts.empty() ? nullptr : &view.prompts.front(), &view.usage);
      return;
    }
    if (!view.params.output.return_token_ids) return;
    for (uint32_t i = 0; i < view.n_choices; ++i) chunks_->attach_prompt(i, view.prompt_of(i));
  }

  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    const Usage* running = &view.usage;
    if (!begun_[piece.choice]) begin_choice(out, view, piece.choice);
    // Tokens without text (the end token) matter only to those who asked for ids or logprobs.
    bool shown = !piece.text.empty() || !piece.reasoning.empty() || piece.call != nullptr || !piece.logprobs.empty() ||
                 (!piece.token_ids.empty() && view.params.output.return_token_ids);
    if (shown) {
      Delta delta{.text = piece.text,
                  .reasoning = piece.reasoning,
                  .call = piece.call,
                  .logprobs = piece.logprobs,
                  .token_ids = piece.token_ids,
                  .running = running};
      if (view.params.output.timings_per_token && piece.finish == nullptr) delta.timings = piece.timings;
      chunks_->append_delta(out, piece.choice, delta);
    }
    if (piece.finish != nullptr) {
      chunks_->append_finish(out, piece.choice, *piece.finish, options_.timings ? piece.timings : nullptr, running);
      last_timings_ = *piece.timings;
    }
  }

  // The usage chunk, if asked for, and the end mark.
  void end(std::string& out, const StreamView& view) override {
    if (view.params.stream.include_usage || options_.force_include_usage) {
      const bool one = view.params.n == 1 && view.n_choices == 1;
      const Timings* last = last_timings_ ? &*last_timings_ : nullptr;
      chunks_->append_usage(out, view.usage, options_.timings_on_usage ? last : nullptr,
                            options_.metrics && one ? last : nullptr);
    }
    out += kDoneEvent;
  }
  void fail(std::string& out, const ApiError& error) override {
    out += error_event(error, options_.error_style);
    out += kDoneEvent;
  }

 private:
  // With echo, the prompt comes first.
  void begin_choice(std::string& out, const StreamView& view, uint32_t choice) {
    begun_[choice] = true;
    if (!view.params.output.echo) return;
    const PromptOutput& prompt = view.prompt_of(choice);
    Delta delta{.text = prompt.text, .running = &view.usage};
    if (view.params.sampling.n_logprobs >= 0) delta.logprobs = prompt.logprobs;
    chunks_->append_delta(out, choice, delta);
  }

  // llama-server's native answer beside its OpenAI form.
  void add_verbose(std::string& out, const ReplyParts& parts) const {
    out.pop_back();
    out += R"(,"__verbose":)";
    const ChoiceOutput& choice = parts.choices.front();
    out += llama_answer(parts.params, facts_, parts.head, parts.prompts[choice.prompt_index], choice);
    out += '}';
  }

  ReplyKind kind_;
  FormatOptions options_;
  LlamaFacts facts_;
  std::optional<Timings> last_timings_;
  std::optional<ChunkWriter> chunks_;
  std::vector<bool> begun_;  // by choice
};

}  // namespace

std::unique_ptr<ReplyFormat> make_openai_format(ReplyKind kind, const FormatOptions& options, LlamaFacts facts) {
  return std::make_unique<OpenAiFormat>(kind, options, std::move(facts));
}

Result<DialectRequest> parse_openai_chat(const Json& body, const ParseContext& context, const FormatOptions& options) {
  ChatRequest request = TRY(parse_chat(body, context));
  return DialectRequest{.body = std::move(request),
                        .format = make_openai_format(ReplyKind::kChat, options, llama_facts(context))};
}

Result<DialectRequest> parse_openai_completion(const Json& body, const ParseContext& context,
                                               const FormatOptions& options) {
  CompletionRequest request = TRY(parse_completion(body, context));
  return DialectRequest{.body = std::move(request),
                        .format = make_openai_format(ReplyKind::kCompletion, options, llama_facts(context))};
}

}  // namespace millrace::api
