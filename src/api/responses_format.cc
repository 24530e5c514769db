#include "api/responses_format.h"

#include <fmt/core.h>

#include <iterator>
#include <string>
#include <utility>

#include "api/json_object.h"
#include "api/json_text.h"

namespace millrace::api {
namespace {

// Repeated in the response, with what they are when absent.
Json echo_of(const Json& body) {
  auto or_else = [&](std::string_view name, const Json& fallback) {
    const Json* value = body.get(name);
    return value == nullptr ? fallback : *value;
  };
  return json_object({{"instructions", or_else("instructions", Json())},
                      {"max_output_tokens", or_else("max_output_tokens", Json())},
                      {"metadata", or_else("metadata", Json::object())},
                      {"parallel_tool_calls", or_else("parallel_tool_calls", true)},
                      {"previous_response_id", Json()},
                      {"reasoning", or_else("reasoning", json_object({{"effort", Json()}, {"summary", Json()}}))},
                      {"store", false},
                      {"temperature", or_else("temperature", 1.0)},
                      {"text", or_else("text", json_object({{"format", json_object({{"type", "text"}})}}))},
                      {"tool_choice", or_else("tool_choice", "auto")},
                      {"tools", or_else("tools", Json::array())},
                      {"top_p", or_else("top_p", 1.0)},
                      {"truncation", "disabled"},
                      {"service_tier", "auto"},
                      {"user", or_else("user", Json())}});
}

Json usage_of(const Usage& usage) {
  auto number = [](uint64_t n) { return Json(static_cast<int64_t>(n)); };
  return json_object({{"input_tokens", number(usage.prompt_tokens)},
                      {"input_tokens_details", json_object({{"cached_tokens", number(usage.cached_tokens)}})},
                      {"output_tokens", number(usage.completion_tokens)},
                      {"output_tokens_details", json_object({{"reasoning_tokens", number(usage.reasoning_tokens)}})},
                      {"total_tokens", number(usage.prompt_tokens + usage.completion_tokens)}});
}

Json text_part(std::string_view text) {
  return json_object(
      {{"type", "output_text"}, {"text", text}, {"annotations", Json::array()}, {"logprobs", Json::array()}});
}

class ResponsesFormat final : public ReplyFormat {
 public:
  ResponsesFormat(const Json& body, const FormatOptions& options) : echo_(echo_of(body)), options_(options) {}

  std::string_view id_prefix() const override { return "resp_"; }
  ErrorStyle error_style() const override { return options_.error_style; }

  std::string whole(const ReplyParts& parts) override {
    const ChoiceOutput& choice = parts.choices.front();
    finish_ = choice.finish;
    for (const OutputPart& part : choice.parts) done_.push_back(item(parts.head, part, true));
    if (choice.parts.empty()) done_.push_back(item(parts.head, OutputPart{}, true));
    return response(parts.head, "", &parts.usage).dump();
  }

  void begin(std::string& out, const StreamView& view) override {
    event(out, "response.created", json_object({{"response", response(view.head, "in_progress", nullptr)}}));
    event(out, "response.in_progress", json_object({{"response", response(view.head, "in_progress", nullptr)}}));
    if (view.params.output.return_progress) {
      auto total = static_cast<int64_t>(view.prompts.front().token_ids.size());
      Json progress = json_object({{"total", total}, {"cache", 0}, {"processed", total}, {"time_ms", 0}});
      event(out, "response.in_progress",
            json_object({{"response", response(view.head, "in_progress", nullptr)}, {"prompt_progress", progress}}));
    }
  }

  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    if (piece.call != nullptr) {
      if (!piece.call->name.empty()) open(out, view.head, PartKind::kCall, piece.call);
      delta(out, view, piece, "response.function_call_arguments.delta", piece.call->arguments);
    }
    if (!piece.reasoning.empty()) {
      open(out, view.head, PartKind::kReasoning, nullptr);
      delta(out, view, piece, "response.reasoning_text.delta", piece.reasoning);
    }
    if (!piece.text.empty()) {
      open(out, view.head, PartKind::kContent, nullptr);
      delta(out, view, piece, "response.output_text.delta", piece.text);
    }
    if (piece.finish == nullptr) return;
    finish_ = *piece.finish;
    timings_ = *piece.timings;
  }

  void end(std::string& out, const StreamView& view) override {
    if (!is_open_ && done_.size() == 0) open(out, view.head, PartKind::kContent, nullptr);
    close(out, view.head);
    Json last = json_object({{"response", response(view.head, "", &view.usage)}});
    if (options_.timings) set_timings(last, timings_);
    event(out, finish_.kind == FinishKind::kLength ? length_event() : "response.completed", last);
  }

  void fail(std::string& out, const ApiError& error) override {
    Json failure = json_object({{"code", error_slug(error.error.code)}, {"message", repair_utf8(error.error.message)}});
    event(out, "response.failed",
          json_object({{"response", json_object({{"object", "response"}, {"status", "failed"}, {"error", failure}})}}));
  }

 private:
  // llama-server, whose clients read timings there, says completed for both.
  std::string_view length_event() const {
    return options_.timings_on_usage ? "response.completed" : "response.incomplete";
  }
  // The first message has the id of the response; other items, one of their own.
  std::string item_id(const ReplyHead& head, PartKind kind) const {
    std::string_view base = std::string_view(head.id).substr(head.id.find('_') + 1);
    std::string_view prefix = kind == PartKind::kCall ? "fc_" : kind == PartKind::kReasoning ? "rs_" : "msg_";
    bool first = kind == PartKind::kContent && !any_message_;
    return first ? fmt::format("{}{}", prefix, base) : fmt::format("{}{}_{}", prefix, base, done_.size());
  }

  // Whole, or as it is when it begins.
  Json item(const ReplyHead& head, const OutputPart& part, bool ended) {
    bool cut = finish_.kind == FinishKind::kLength;
    std::string_view status = !ended ? "in_progress" : cut ? "incomplete" : "completed";
    std::string id = item_id(head, part.kind);
    if (ended) any_message_ = any_message_ || part.kind == PartKind::kContent;
    if (part.kind == PartKind::kCall) {
      return json_object({{"id", id},
                          {"type", "function_call"},
                          {"status", status},
                          {"call_id", part.call.id},
                          {"name", part.call.name},
                          {"arguments", part.call.arguments}});
    }
    if (part.kind == PartKind::kReasoning) {
      Json text = json_object({{"type", "reasoning_text"}, {"text", part.text}});
      return json_object({{"id", id},
                          {"type", "reasoning"},
                          {"status", status},
                          {"summary", Json::array()},
                          {"content", ended ? json_array({text}) : Json::array()}});
    }
    return json_object({{"id", id},
                        {"type", "message"},
                        {"role", "assistant"},
                        {"status", status},
                        {"content", ended ? json_array({text_part(part.text)}) : Json::array()}});
  }

  // The item that a piece belongs to: the one that is open, or the next one. Every call has its own.
  void open(std::string& out, const ReplyHead& head, PartKind kind, const CallPiece* call) {
    if (is_open_ && now_.kind == kind && call == nullptr) return;
    if (is_open_) close(out, head);
    is_open_ = true;
    now_ = {};
    now_.kind = kind;
    if (call != nullptr) now_.call = {.index = 0, .id = call->id, .name = call->name, .arguments = {}};
    item_id_ = item_id(head, kind);
    Json begun = json_object({{"output_index", output_index()}, {"item", item(head, now_, false)}});
    event(out, "response.output_item.added", begun);
    if (kind == PartKind::kContent) event(out, "response.content_part.added", at_part("part", text_part("")));
  }

  void delta(std::string& out, const StreamView& view, const Piece& piece, std::string_view name,
             std::string_view text) {
    now_.text += piece.call == nullptr ? text : std::string_view();
    if (piece.call != nullptr) now_.call.arguments += text;
    if (text.empty()) return;
    Json members = at_part("delta", text);
    if (now_.kind == PartKind::kContent) members.set("logprobs", Json::array());
    if (view.params.output.timings_per_token) set_timings(members, *piece.timings);
    event(out, name, members);
  }

  void close(std::string& out, const ReplyHead& head) {
    if (!is_open_) return;
    is_open_ = false;
    if (now_.kind == PartKind::kCall) {
      Json done = at_part("arguments", now_.call.arguments);
      done.set("name", now_.call.name);
      event(out, "response.function_call_arguments.done", done);
    } else if (now_.kind == PartKind::kReasoning) {
      event(out, "response.reasoning_text.done", at_part("text", now_.text));
    } else {
      Json done = at_part("text", now_.text);
      done.set("logprobs", Json::array());
      event(out, "response.output_text.done", done);
      event(out, "response.content_part.done", at_part("part", text_part(now_.text)));
    }
    Json whole = item(head, now_, true);
    event(out, "response.output_item.done", json_object({{"output_index", output_index()}, {"item", whole}}));
    done_.push_back(std::move(whole));
  }

  int64_t output_index() const { return static_cast<int64_t>(done_.size()); }

  static void set_timings(Json& event, const Timings& timings) {
    std::string text;
    append_timings_object(text, timings);
    if (auto parsed = parse_json(text); parsed.ok()) event.set("timings", std::move(parsed).value());
  }

  Json at_part(std::string_view name, Json value) const {
    Json out = json_object({{"item_id", item_id_}, {"output_index", output_index()}});
    if (now_.kind != PartKind::kCall) out.set("content_index", 0);
    out.set(name, std::move(value));
    return out;
  }

  // status empty: that of the finish.
  Json response(const ReplyHead& head, std::string_view status, const Usage* usage) const {
    bool cut = status.empty() && finish_.kind == FinishKind::kLength;
    bool ended = status.empty();
    Json out = json_object({{"id", head.id},
                            {"object", "response"},
                            {"created_at", head.created},
                            {"status", !ended ? status
                                       : cut  ? "incomplete"
                                              : "completed"},
                            {"error", Json()},
                            {"incomplete_details", cut ? json_object({{"reason", "max_output_tokens"}}) : Json()},
                            {"model", head.model},
                            {"output", ended ? done_ : Json::array()},
                            {"usage", usage == nullptr ? Json() : usage_of(*usage)}});
    for (const auto& member : echo_.as_object().members) out.set(member.first, member.second);
    return out;
  }

  void event(std::string& out, std::string_view name, const Json& members) {
    fmt::format_to(std::back_inserter(out), "event: {0}\ndata: {{\"type\":\"{0}\",\"sequence_number\":{1},", name,
                   sequence_++);
    out += std::string_view(members.dump()).substr(1);
    out += "\n\n";
  }

  Json echo_;
  FormatOptions options_;
  Json done_ = Json::array();  // items that are whole
  OutputPart now_;             // the item that is open
  std::string item_id_;
  bool is_open_ = false;
  bool any_message_ = false;
  Finish finish_;
  Timings timings_;
  int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_responses_format(const Json& body, const FormatOptions& options) {
  return std::make_unique<ResponsesFormat>(body, options);
}

}  // namespace millrace::api
