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
                      {"output_tokens_details", json_object({{"reasoning_tokens", 0}})},
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
    text_ = choice.text;
    finish_ = choice.finish;
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
    Json item = json_object({{"id", message_id(view.head)},
                             {"type", "message"},
                             {"role", "assistant"},
                             {"status", "in_progress"},
                             {"content", Json::array()}});
    event(out, "response.output_item.added", json_object({{"output_index", 0}, {"item", std::move(item)}}));
    event(out, "response.content_part.added", at_part(view.head, {"part", text_part("")}));
  }

  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    text_ += piece.text;
    if (!piece.text.empty()) {
      Json delta = at_part(view.head, {"delta", piece.text});
      delta.set("logprobs", Json::array());
      if (view.params.output.timings_per_token) set_timings(delta, *piece.timings);
      event(out, "response.output_text.delta", delta);
    }
    if (piece.finish == nullptr) return;
    finish_ = *piece.finish;
    timings_ = *piece.timings;
  }

  void end(std::string& out, const StreamView& view) override {
    Json done = at_part(view.head, {"text", text_});
    done.set("logprobs", Json::array());
    event(out, "response.output_text.done", done);
    event(out, "response.content_part.done", at_part(view.head, {"part", text_part(text_)}));
    event(out, "response.output_item.done", json_object({{"output_index", 0}, {"item", message(view.head)}}));
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
  static std::string message_id(const ReplyHead& head) { return "msg_" + head.id.substr(head.id.find('_') + 1); }

  static void set_timings(Json& event, const Timings& timings) {
    std::string text;
    append_timings_object(text, timings);
    if (auto parsed = parse_json(text); parsed.ok()) event.set("timings", std::move(parsed).value());
  }

  static Json at_part(const ReplyHead& head, std::pair<std::string_view, Json> member) {
    Json out = json_object({{"item_id", message_id(head)}, {"output_index", 0}, {"content_index", 0}});
    out.set(member.first, std::move(member.second));
    return out;
  }

  Json message(const ReplyHead& head) const {
    bool cut = finish_.kind == FinishKind::kLength;
    return json_object({{"id", message_id(head)},
                        {"type", "message"},
                        {"role", "assistant"},
                        {"status", cut ? "incomplete" : "completed"},
                        {"content", json_array({text_part(text_)})}});
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
                            {"output", ended ? json_array({message(head)}) : Json::array()},
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
  std::string text_;
  Finish finish_;
  Timings timings_;
  int64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_responses_format(const Json& body, const FormatOptions& options) {
  return std::make_unique<ResponsesFormat>(body, options);
}

}  // namespace millrace::api
