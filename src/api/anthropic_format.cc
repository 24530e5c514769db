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
  std::string_view reason = finish.kind == FinishKind::kLength  ? "max_tokens"
                            : finish.kind == FinishKind::kCalls ? "tool_use"
                            : word != nullptr                   ? "stop_sequence"
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

// Their ids of calls begin so; those of models with ids of their own stay.
std::string tool_use_id(std::string_view id) {
  constexpr std::string_view kOurs = "call_";
  return id.starts_with(kOurs) ? fmt::format("toolu_{}", id.substr(kOurs.size())) : std::string(id);
}

// {"type":"text",...}, {"type":"thinking",...} or {"type":"tool_use",...}; a call that was cut off is text.
void append_block(std::string& out, const OutputPart& part) {
  if (part.kind == PartKind::kCall && is_object(part.call.arguments)) {
    out += R"({"type":"tool_use","id":)";
    append_json_string(out, tool_use_id(part.call.id));
    out += R"(,"name":)";
    append_json_string(out, part.call.name);
    out += R"(,"input":)";
    out += part.call.arguments;
  } else if (part.kind == PartKind::kReasoning) {
    out += R"({"type":"thinking","thinking":)";
    append_json_string(out, part.text);
    out += R"(,"signature":"")";
  } else {
    out += R"({"type":"text","text":)";
    append_json_string(out, part.kind == PartKind::kCall ? part.call.arguments : part.text);
  }
  out += '}';
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
    out += R"(,"type":"message","role":"assistant","content":[)";
    for (const OutputPart& part : choice.parts) {
      if (&part != choice.parts.data()) out += ',';
      append_block(out, part);
    }
    if (choice.parts.empty()) append_block(out, OutputPart{});
    out += R"(],"model":)";
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
  }

  void piece(std::string& out, const StreamView&, const Piece& piece) override {
    if (piece.call != nullptr) {
      if (!piece.call->name.empty()) open(out, PartKind::kCall, piece.call);
      delta(out, "input_json_delta", "partial_json", piece.call->arguments);
    }
    if (!piece.reasoning.empty()) {
      open(out, PartKind::kReasoning, nullptr);
      delta(out, "thinking_delta", "thinking", piece.reasoning);
    }
    if (!piece.text.empty()) {
      open(out, PartKind::kContent, nullptr);
      delta(out, "text_delta", "text", piece.text);
    }
    if (piece.finish != nullptr) finish_ = *piece.finish;
  }

  void end(std::string& out, const StreamView& view) override {
    if (index_ < 0) open(out, PartKind::kContent, nullptr);
    close(out);
    std::string members = R"(,"delta":{)";
    append_stop(members, finish_);
    members += R"(},"usage":)";
    append_usage(members, view.usage, view.usage.completion_tokens);
    append_event(out, "message_delta", members);
    append_event(out, "message_stop", "");
  }

  void fail(std::string& out, const ApiError& error) override { out += error_event(error, ErrorStyle::kAnthropic); }

 private:
  // The block that a piece belongs to: the one that is open, or the next one. Every call has its own.
  void open(std::string& out, PartKind kind, const CallPiece* call) {
    if (index_ >= 0 && kind_ == kind && call == nullptr) return;
    if (index_ >= 0) close(out);
    ++index_;
    kind_ = kind;
    std::string members = fmt::format(R"(,"index":{},"content_block":)", index_);
    OutputPart part;
    part.kind = kind;
    if (call != nullptr) part.call = {.index = 0, .id = call->id, .name = call->name, .arguments = "{}"};
    append_block(members, part);
    append_event(out, "content_block_start", members);
  }
  void close(std::string& out) const {
    if (kind_ == PartKind::kReasoning) delta(out, "signature_delta", "signature", "");
    append_event(out, "content_block_stop", fmt::format(R"(,"index":{})", index_));
  }
  void delta(std::string& out, std::string_view type, std::string_view key, std::string_view text) const {
    std::string members = fmt::format(R"(,"index":{},"delta":{{"type":"{}","{}":)", index_, type, key);
    append_json_string(members, text);
    members += '}';
    append_event(out, "content_block_delta", members);
  }

  Finish finish_;
  int index_ = -1;  // of the open block
  PartKind kind_ = PartKind::kContent;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_anthropic_format(const FormatOptions& options) {
  return std::make_unique<AnthropicFormat>(options);
}

}  // namespace millrace::api
