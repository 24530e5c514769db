#include "api/ollama_format.h"

#include <fmt/core.h>

#include <chrono>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "api/json_text.h"
#include "api/ollama.h"
#include "base/json.h"

namespace millrace::api {
namespace {

constexpr double kNanosPerMilli = 1e6;

int64_t now_ns() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

int64_t nanos(double ms) { return static_cast<int64_t>(ms * kNanosPerMilli); }

void append_logprob_entry(std::string& out, const TokenText& token) {
  out += R"({"token":)";
  append_json_string(out, token.text);
  out += R"(,"logprob":)";
  append_logprob(out, token.logprob);
  out += R"(,"bytes":[)";
  for (size_t i = 0; i < token.bytes.size(); ++i) {
    fmt::format_to(std::back_inserter(out), "{}{}", i > 0 ? "," : "", static_cast<unsigned char>(token.bytes[i]));
  }
  out += ']';
}

void append_logprobs(std::string& out, std::span<const PositionText> positions) {
  if (positions.empty()) return;
  out += R"(,"logprobs":[)";
  for (const PositionText& position : positions) {
    if (&position != positions.data()) out += ',';
    append_logprob_entry(out, position.chosen);
    out += R"(,"top_logprobs":[)";
    for (const TokenText& token : position.top) {
      if (&token != position.top.data()) out += ',';
      append_logprob_entry(out, token);
      out += '}';
    }
    out += "]}";
  }
  out += ']';
}

class OllamaFormat final : public ReplyFormat {
 public:
  OllamaFormat(OllamaReply reply, bool with_context)
      : reply_(reply), with_context_(with_context), begin_ns_(now_ns()) {}

  std::string_view id_prefix() const override { return "ollama-"; }
  ErrorStyle error_style() const override { return ErrorStyle::kOllama; }
  ReplyHeaders stream_headers() const override { return {.content_type = "application/x-ndjson", .more = {}}; }
  std::string_view keep_alive() const override { return {}; }  // every line is an object

  std::string whole(const ReplyParts& parts) override {
    const ChoiceOutput& choice = parts.choices.front();
    std::string out;
    std::vector<const CallPiece*> calls;
    for (const OutputPart& part : choice.parts) {
      if (part.kind == PartKind::kCall) calls.push_back(&part.call);
    }
    append_text(out, parts.head, choice.text, choice.reasoning, calls);
    append_logprobs(out, choice.logprobs);
    append_end(out, {choice.finish, choice.timings, parts.prompts.front(), choice.token_ids});
    return out;
  }

  void begin(std::string&, const StreamView&) override {}
  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    if (with_context_) ids_.insert(ids_.end(), piece.token_ids.begin(), piece.token_ids.end());
    if (piece.call != nullptr) collect(piece);
    if (piece.call == nullptr || piece.finish != nullptr) send_calls(out, view);
    if (!piece.text.empty() || !piece.reasoning.empty() || !piece.logprobs.empty()) {
      append_text(out, view.head, piece.text, piece.reasoning, {});
      append_logprobs(out, piece.logprobs);
      out += R"(,"done":false})";
      out += '\n';
    }
    if (piece.finish == nullptr) return;
    append_text(out, view.head, "", "", {});
    append_end(out, {*piece.finish, *piece.timings, view.prompt_of(piece.choice), ids_});
    out += '\n';
  }
  void end(std::string&, const StreamView&) override {}
  void fail(std::string& out, const ApiError& error) override { out += error_event(error, ErrorStyle::kOllama); }

 private:
  // A call is sent whole: its arguments are an object here.
  void collect(const Piece& piece) {
    if (!piece.call->name.empty()) {
      calls_.push_back(*piece.call);
    } else if (!calls_.empty()) {
      calls_.back().arguments += piece.call->arguments;
    }
  }

  void send_calls(std::string& out, const StreamView& view) {
    for (const CallPiece& call : std::exchange(calls_, {})) {
      const CallPiece* one = &call;
      append_text(out, view.head, "", "", std::span(&one, 1));
      out += R"(,"done":false})";
      out += '\n';
    }
  }

  // Calls that were cut off are text.
  void append_text(std::string& out, const ReplyHead& head, std::string_view content, std::string_view thinking,
                   std::span<const CallPiece* const> calls) const {
    std::string text(content);
    std::string shown;
    for (const CallPiece* call : calls) {
      if (!is_object(call->arguments)) {
        text += call->arguments;
        continue;
      }
      shown += shown.empty() ? R"({"id":)" : R"(,{"id":)";
      append_json_string(shown, call->id);
      fmt::format_to(std::back_inserter(shown), R"(,"function":{{"index":{},"name":)", call->index);
      append_json_string(shown, call->name);
      shown += R"(,"arguments":)" + call->arguments + "}}";
    }
    out += R"({"model":)";
    append_json_string(out, head.model);
    fmt::format_to(std::back_inserter(out), R"(,"created_at":"{}",)", rfc3339(now_ns()));
    out += reply_ == OllamaReply::kChat ? R"("message":{"role":"assistant","content":)" : R"("response":)";
    append_json_string(out, text);
    if (!thinking.empty()) {
      out += R"(,"thinking":)";
      append_json_string(out, thinking);
    }
    if (!shown.empty()) out += R"(,"tool_calls":[)" + shown + ']';
    if (reply_ == OllamaReply::kChat) out += '}';
  }

  struct End {
    const Finish& finish;
    const Timings& timings;
    const PromptOutput& prompt;
    std::span<const TokenId> answer;
  };
  void append_end(std::string& out, const End& end) const {
    const Timings& timings = end.timings;
    fmt::format_to(std::back_inserter(out), R"(,"done":true,"done_reason":"{}")",
                   end.finish.kind == FinishKind::kLength ? "length" : "stop");
    if (with_context_) {
      std::vector<TokenId> all = end.prompt.token_ids;
      all.insert(all.end(), end.answer.begin(), end.answer.end());
      out += R"(,"context":)";
      append_ids(out, all);
    }
    fmt::format_to(std::back_inserter(out),
                   R"(,"total_duration":{},"load_duration":0,"prompt_eval_count":{},"prompt_eval_duration":{},)"
                   R"("eval_count":{},"eval_duration":{}}})",
                   now_ns() - begin_ns_, end.prompt.token_ids.size(), nanos(timings.prompt_ms), timings.predicted_n,
                   nanos(timings.predicted_ms));
  }

  OllamaReply reply_;
  bool with_context_;
  int64_t begin_ns_;
  std::vector<TokenId> ids_;      // of a streamed answer so far
  std::vector<CallPiece> calls_;  // not sent yet
};

}  // namespace

std::unique_ptr<ReplyFormat> make_ollama_format(OllamaReply reply, bool with_context) {
  return std::make_unique<OllamaFormat>(reply, with_context);
}

}  // namespace millrace::api
