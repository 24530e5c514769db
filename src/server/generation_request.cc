#include "server/generation_request.h"

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "api/anthropic.h"
#include "api/dialect.h"
#include "api/fields.h"
#include "api/kserve_infer.h"
#include "api/llama.h"
#include "api/native.h"
#include "api/ollama.h"
#include "api/pooling.h"
#include "api/responses.h"
#include "base/macros.h"
#include "server/connection.h"
#include "server/handlers.h"
#include "server/model_choice.h"
#include "server/text_work.h"

namespace millrace::server {
namespace asio = boost::asio;
namespace {

// What GET /health_generate asks.
constexpr const char* kOneToken =
    R"({"prompt":[0],"max_tokens":1,"temperature":0,"ignore_eos":true,"cache_prompt":false})";

// X-Request-Timeout-Ms; the smaller of header and field wins.
Result<void> apply_timeout_header(const HttpRequest& request, const Limits& limits, api::CallerParams& caller) {
  const std::string* text = request.header("x-request-timeout-ms");
  if (text == nullptr) return {};
  constexpr double kMsPerSecond = 1000.0;
  int64_t ms = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), ms);
  int64_t max_s = limits[LimitId::kRequestTimeoutSeconds];
  if (error != std::errc() || end != text->data() + text->size() || ms < 1 || ms > max_s * 1000) {
    return Error{ErrorCode::kInvalidValue,
                 fmt::format("X-Request-Timeout-Ms must be an integer in 1..{}", max_s * 1000), ""};
  }
  double seconds = static_cast<double>(ms) / kMsPerSecond;
  if (!caller.timeout_s || seconds < *caller.timeout_s) caller.timeout_s = seconds;
  return {};
}

api::FormatOptions format_options(const ServerOptions& options) {
  return {.error_style = options.error_style,
          .force_include_usage = options.force_include_usage,
          .timings = options.timings,
          .timings_on_usage = options.compat == api::Compat::kLlamaServer,
          .metrics = options.request_metrics,
          .null_role = api::compat_profile(options.compat).null_role,
          .reasoning_field = options.reasoning_field};
}

api::DialectParser parser_of(RouteId route) {
  switch (route) {
    case RouteId::kChat:
      return api::parse_openai_chat;
    case RouteId::kLlamaCompletion:
      return api::parse_llama_completion;
    case RouteId::kInfill:
      return api::parse_llama_infill;
    case RouteId::kResponses:
      return api::parse_responses;
    case RouteId::kGenerate:
      return api::parse_generate;
    case RouteId::kInvocations:
      return api::parse_invocation;
    case RouteId::kTgiRoot:
      return api::parse_tgi_root;
    case RouteId::kTgiStream:
      return api::parse_tgi_stream;
    case RouteId::kKserveGenerate:
      return api::parse_kserve;
    case RouteId::kKserveStream:
      return api::parse_kserve_stream;
    case RouteId::kKserveInfer:
      return api::parse_kserve_infer;
    case RouteId::kMessages:
      return api::parse_anthropic;
    case RouteId::kOllamaGenerate:
      return api::parse_ollama_generate;
    case RouteId::kOllamaChat:
      return api::parse_ollama_chat;
    case RouteId::kEmbeddings:
      return api::parse_embeddings;
    case RouteId::kPooling:
      return api::parse_pooling;
    case RouteId::kScore:
      return api::parse_score;
    case RouteId::kClassify:
      return api::parse_classify;
    case RouteId::kRerank:
      return api::parse_rerank;
    case RouteId::kCohereEmbed:
      return api::parse_cohere_embed;
    case RouteId::kLlamaEmbedding:
      return api::parse_llama_embedding;
    case RouteId::kOllamaEmbed:
      return api::parse_ollama_embed;
    case RouteId::kOllamaEmbeddings:
      return api::parse_ollama_embeddings;
    case RouteId::kSglangEncode:
      return api::parse_sglang_encode;
    default:
      return api::parse_openai_completion;
  }
}

// The body of KServe's infer: JSON of Inference-Header-Content-Length bytes, and tensors behind it.
Result<Json> parse_tensors(const ServerContext& context, const HttpRequest& request, std::string bytes) {
  const Limits& limits = context.options.limits;
  const std::string* text = request.header("inference-header-content-length");
  if (text == nullptr) return api::parse_body(bytes, limits);
  size_t n_json = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), n_json);
  if (error != std::errc() || end != text->data() + text->size() || n_json > bytes.size()) {
    return Error{
        ErrorCode::kInvalidValue,
        fmt::format("Inference-Header-Content-Length must be an integer in 0..{}, the length of the body, got {}",
                    bytes.size(), quote_for_message(*text)),
        ""};
  }
  std::string tensors = bytes.substr(n_json);
  bytes.resize(n_json);
  Json body = TRY(api::parse_body(bytes, limits));
  return api::with_tensor_bytes(body, tensors, limits);
}

// Takes the body out of the request. Thread: IO or a text worker.
Result<GenerationRequest> read_now(const ServerContext& context, const instance::Instance& instance,
                                   HttpRequest& request, const Route& route) {
  GenerationRequest out;
  instance::Job& job = out.job;
  job.arrival = instance.clock().now();
  job.body_bytes = request.body.size();
  std::string bytes = std::exchange(request.body, {});
  if (route.id == RouteId::kHealthGenerate) bytes = kOneToken;
  Json body = TRY(route.id == RouteId::kKserveInfer ? parse_tensors(context, request, std::move(bytes))
                                                    : api::parse_body(bytes, context.options.limits));
  api::ParseContext parse = parse_context(context, instance);
  const std::string* session = request.header("x-session-id");
  if (session != nullptr && is_visible_id(*session)) parse.session_id = *session;
  if (std::string_view model = model_of_path(request.path, context.options.root_path); !model.empty()) {
    body.set("model", model);
  }
  api::FormatOptions format = format_options(context.options);
  format.error_style = route.errors.value_or(format.error_style);
  api::DialectRequest parsed = TRY(parser_of(route.id)(body, parse, format));
  job.body = std::move(parsed.body);
  out.format = std::move(parsed.format);
  out.instant = std::move(parsed.instant);
  if (context.options.verbose) job.params().output.verbose = true;
  if (job.params().output.verbose) job.params().output.return_prompt_text = true;
  const std::string* id = request.header("x-request-id");
  if (id != nullptr && is_visible_id(*id)) job.params().caller.request_id = *id;
  TRY(apply_timeout_header(request, context.options.limits, job.params().caller));
  return out;
}

}  // namespace

asio::awaitable<Result<GenerationRequest>> read_request(Connection& connection, instance::Instance& instance,
                                                        HttpRequest& request, const Route& route) {
  const ServerContext& context = connection.context();
  if (request.body.size() < kInlineBodyBytes) co_return read_now(context, instance, request, route);
  Result<GenerationRequest> read = Error{};
  Result<void> done = co_await run_on_text_worker(connection, instance, request.body.size(),
                                                  [&] { read = read_now(context, instance, request, route); });
  if (!done.ok()) co_return done.take_error();
  co_return read;
}

}  // namespace millrace::server
