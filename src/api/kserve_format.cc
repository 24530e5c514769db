#include <fmt/core.h>

#include <iterator>
#include <string>

#include "api/chunks.h"
#include "api/json_text.h"
#include "api/native_format.h"
#include "base/json.h"

namespace millrace::api {
namespace {

class KserveFormat final : public ReplyFormat {
 public:
  explicit KserveFormat(bool details) : details_(details) {}

  std::string_view id_prefix() const override { return "kserve-"; }
  ErrorStyle error_style() const override { return ErrorStyle::kKserve; }

  std::string whole(const ReplyParts& parts) override {
    const ChoiceOutput& choice = parts.choices.front();
    std::string out;
    append(out, parts.head, choice.text, details_ ? &choice.finish : nullptr, choice.logprobs);
    return out;
  }
  void begin(std::string&, const StreamView&) override {}
  void piece(std::string& out, const StreamView& view, const Piece& piece) override {
    if (piece.text.empty() && piece.finish == nullptr) return;
    out += kEventPrefix;
    append(out, view.head, piece.text, details_ ? piece.finish : nullptr, piece.logprobs);
    out += kEventEnd;
  }
  void end(std::string&, const StreamView&) override {}
  void fail(std::string& out, const ApiError& error) override { out += error_event(error, ErrorStyle::kKserve); }

 private:
  static void append(std::string& out, const ReplyHead& head, std::string_view text, const Finish* finish,
                     std::span<const PositionText> positions) {
    out += R"({"text_output":)";
    append_json_string(out, text);
    out += R"(,"model_name":)";
    append_json_string(out, head.model);
    out += R"(,"model_version":"1")";
    if (finish != nullptr) {
      fmt::format_to(std::back_inserter(out), R"(,"details":{{"finish_reason":"{}","logprobs":[)",
                     finish->kind == FinishKind::kLength                   ? "length"
                     : std::holds_alternative<std::string>(finish->reason) ? "stop_sequence"
                                                                           : "eos_token");
      for (const PositionText& position : positions) {
        if (&position != positions.data()) out += ',';
        fmt::format_to(std::back_inserter(out), R"({{"id":{},"text":)", position.chosen.id);
        append_json_string(out, position.chosen.text);
        out += R"(,"logprob":)";
        append_logprob(out, position.chosen.logprob);
        out += R"(,"special":false})";
      }
      out += "]}";
    }
    out += '}';
  }

  bool details_;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_kserve_format(bool details) { return std::make_unique<KserveFormat>(details); }

}  // namespace millrace::api
