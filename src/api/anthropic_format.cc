#include "api/anthropic_format.h"

#include <fmt/core.h>

#include <iterator>
#include <optional>

#include "api/json_text.h"
#include "base/json.h"

namespace millrace::api {
namespace {

constexpr std::string_view kPing = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

void append_usage(std::string& out, const Usage& usage, uint64_t n_output) {
  fmt::format_to(
      std::back_inserter(out),
      R"({{"input_tokens":{},"output_tokens":{},"cache_creation_input_tokens":0,"cache_read_input_tokens":{}}})",
      usage.prompt_tokens - std::min(usage.cached_tokens, usage.prompt_tokens), n_output, usage.cached_tokens);
}

// "stop_reason":...,"stop_sequence":...
void append_stop(std::string& out, const Finish& finish) {
  const auto* word = std::get_if<std::string>(&finish.reason);
  std::string_view reason = finish.kind == FinishKind::kLength ? "max_tokens"
                            : word != nullptr                  ? "stop_sequence"
                                                               : "end_turn";
  fmt::format_to(std::back_inserter(out), R"("stop_reason":"{}","stop_sequence":)", reason);
  if (word == nullptr) {
    out += "null";
  } else {
    append_json_lossy(out, *word);
  }
}

void append_event(std::string& out, std::string_view name, std::string_view members) {
  fmt::format_to(std::back_inserter(out), "event: {0}\ndata: {{\"type\":\"{0}\"{1}}}\n\n", name, members);
}

class AnthropicFormat final : public ReplyFormat {
 public:
  explicit AnthropicFormat(const FormatOptions&) {}

  std::string_view id_prefix() const override { return "msg_"; }
  ErrorStyle error_style() const override { return ErrorStyle::kAnthropic; }
  std::string_view keep_alive() const override { return kPing; }

  std::string whole(const ReplyParts& parts) override {
    const ChoiceOutput& choice = parts.choices.front();
    std::string out = R"({"id":)";
    append_json_string(out, parts.head.id);
    out += R"(,"type":"message","role":"assistant","content":[{"type":"text","text":)";
    append_json_string(out, choice.text);
    out += R"(}],"model":)";
    append_json_string(out, parts.head.model);
    out += ',';
    append_stop(out, choice.finish);
    out += R"(,"usage":)";
    append_usage(out, parts.usage, parts.usage.completion_tokens);
    out += '}';
    return out;
  }

  void begin(std::string& out, const StreamView& view) override {
    std::string members = R"(,"message":{"id":)";
    append_json_string(members, view.head.id);
    members += R"(,"type":"message","role":"assistant","content":[],"model":)";
    append_json_string(members, view.head.model);
    members += R"(,"stop_reason":null,"stop_sequence":null,"usage":)";
    append_usage(members, view.usage, 0);
    members += '}';
    append_event(out, "message_start", members);
    append_event(out, "content_block_start", R"(,"index":0,"content_block":{"type":"text","text":""})");
  }

  void piece(std::string& out, const StreamView&, const Piece& piece) override {
    if (!piece.text.empty()) {
      std::string members = R"(,"index":0,"delta":{"type":"text_delta","text":)";
      append_json_string(members, piece.text);
      members += '}';
      append_event(out, "content_block_delta", members);
    }
    if (piece.finish != nullptr) finish_ = *piece.finish;
  }

  void end(std::string& out, const StreamView& view) override {
    append_event(out, "content_block_stop", R"(,"index":0)");
    std::string members = R"(,"delta":{)";
    append_stop(members, finish_);
    members += R"(},"usage":)";
    append_usage(members, view.usage, view.usage.completion_tokens);
    append_event(out, "message_delta", members);
    append_event(out, "message_stop", "");
  }

  void fail(std::string& out, const ApiError& error) override { out += error_event(error, ErrorStyle::kAnthropic); }

 private:
  Finish finish_;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_anthropic_format(const FormatOptions& options) {
  return std::make_unique<AnthropicFormat>(options);
}

}  // namespace millrace::api
