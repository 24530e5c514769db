#include <fmt/core.h>

#include <iterator>
#include <string>
#include <utility>

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

// A tensor of the answers' texts: in the JSON, or behind it as Triton's binary tensor data (each text behind its length
// as a little-endian uint32).
class KserveInferFormat final : public ReplyFormat {
 public:
  KserveInferFormat(std::string id, bool binary) : id_(std::move(id)), binary_(binary) {}

  std::string_view id_prefix() const override { return "kserve-"; }
  ErrorStyle error_style() const override { return ErrorStyle::kKserve; }

  std::string whole(const ReplyParts& parts) override {
    std::string out = "{";
    if (!id_.empty()) {
      out += R"("id":)";
      append_json_string(out, id_);
      out += ',';
    }
    out += R"("model_name":)";
    append_json_string(out, parts.head.model);
    fmt::format_to(std::back_inserter(out),
                   R"(,"model_version":"1","outputs":[{{"name":"text_output","datatype":"BYTES","shape":[{}],)",
                   parts.choices.size());
    if (!binary_) {
      out += R"("data":[)";
      for (const ChoiceOutput& choice : parts.choices) {
        if (&choice != parts.choices.data()) out += ',';
        append_json_string(out, choice.text);
      }
      return out += "]}]}";
    }
    std::string tensor;
    for (const ChoiceOutput& choice : parts.choices) {
      auto length = static_cast<uint32_t>(choice.text.size());
      for (int shift = 0; shift < 32; shift += 8) tensor += static_cast<char>(length >> shift & 0xff);
      tensor += choice.text;
    }
    fmt::format_to(std::back_inserter(out), R"("parameters":{{"binary_data_size":{}}}}}]}})", tensor.size());
    json_bytes_ = out.size();
    return out += tensor;
  }
  ReplyHeaders whole_headers() const override {
    if (!binary_) return {};
    return {.content_type = kBinaryType, .more = {{"Inference-Header-Content-Length", std::to_string(json_bytes_)}}};
  }

  // infer answers whole: `stream` is not among the fields that reach the request.
  void begin(std::string&, const StreamView&) override {}
  void piece(std::string&, const StreamView&, const Piece&) override {}
  void end(std::string&, const StreamView&) override {}
  void fail(std::string& out, const ApiError& error) override { out += error_body(error, ErrorStyle::kKserve); }

 private:
  std::string id_;
  bool binary_;
  size_t json_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ReplyFormat> make_kserve_format(bool details) { return std::make_unique<KserveFormat>(details); }

std::unique_ptr<ReplyFormat> make_kserve_infer_format(std::string id, bool binary) {
  return std::make_unique<KserveInferFormat>(std::move(id), binary);
}

}  // namespace millrace::api
