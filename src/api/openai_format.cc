#include "api/openai_format.h"

#include <optional>
#include <vector>

#include "api/chunks.h"

namespace millrace::api {
namespace {

class OpenAiFormat final : public ReplyFormat {
 public:
  OpenAiFormat(ReplyKind kind, const FormatOptions& options) : kind_(kind), options_(options) {}

  std::string_view id_prefix() const override { return kind_ == ReplyKind::kChat ? "chatcmpl-" : "cmpl-"; }
  ErrorStyle error_style() const override { return options_.error_style; }
  std::string whole(const ReplyParts& parts) override {
    return kind_ == ReplyKind::kChat ? chat_reply(parts) : completion_reply(parts);
  }

  // Chat: the role chunks.
  void begin(std::string& out, const StreamView& view) override {
    chunks_.emplace(kind_, view.head, view.params);
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
    bool shown = !piece.text.empty() || !piece.logprobs.empty() ||
                 (!piece.token_ids.empty() && view.params.output.return_token_ids);
    if (shown) {
      Delta delta{.text = piece.text, .logprobs = piece.logprobs, .token_ids = piece.token_ids, .running = running};
      chunks_->append_delta(out, piece.choice, delta);
    }
    if (piece.finish != nullptr) {
      chunks_->append_finish(out, piece.choice, *piece.finish, options_.timings ? piece.timings : nullptr, running);
    }
  }

  // The usage chunk, if asked for, and the end mark.
  void end(std::string& out, const StreamView& view) override {
    if (view.params.stream.include_usage || options_.force_include_usage) chunks_->append_usage(out, view.usage);
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

  ReplyKind kind_;
  FormatOptions options_;
  std::optional<ChunkWriter> chunks_;
  std::vector<bool> begun_;  // by choice
};

}  // namespace

std::unique_ptr<ReplyFormat> make_openai_format(ReplyKind kind, const FormatOptions& options) {
  return std::make_unique<OpenAiFormat>(kind, options);
}

}  // namespace millrace::api
