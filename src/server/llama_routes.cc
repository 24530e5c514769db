#include "server/llama_routes.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "api/completions.h"
#include "api/json_object.h"
#include "api/llama.h"
#include "base/macros.h"
#include "server/handlers.h"
#include "server/model_choice.h"

namespace millrace::server {
namespace {

using api::json_object;
using instance::Instance;

Error not_supported(std::string message) { return Error{ErrorCode::kNotSupported, std::move(message), ""}; }

// What a request that says nothing would be answered with.
Result<api::CommonParams> default_params(const ServerContext& context, const Instance& instance) {
  api::ParseContext parse = parse_context(context, instance);
  parse.dialect = &api::kLlamaDefaults;
  api::CompletionRequest request;
  TRY(api::read_native_fields(Json::object(), parse, request));
  return std::move(request.common);
}

std::string token_text(const text::Tokenizer& tokenizer, TokenId id) {
  return id == kNoToken ? std::string() : tokenizer.token_text(id);
}

Json template_caps(const std::string& source) {
  auto mentions = [&](std::string_view word) { return source.find(word) != std::string::npos; };
  return json_object({{"supports_system_role", mentions("system")},
                      {"supports_tools", mentions("tools")},
                      {"supports_tool_calls", mentions("tool_calls")},
                      {"supports_preserve_reasoning", mentions("reasoning_content")}});
}

// Of a server with several models, when the request names none.
std::string router_props(const ServerContext& context) {
  const instance::ModelSetOptions& options = context.models->options();
  return json_object({{"role", "router"},
                      {"max_instances", static_cast<int64_t>(options.most_loaded)},
                      {"models_autoload", options.autoload},
                      {"model_alias", options.default_name},
                      {"model_path", ""},
                      {"modalities", json_object({{"vision", false}, {"audio", false}})},
                      {"endpoint_slots", context.options.slots_route},
                      {"endpoint_props", false},
                      {"endpoint_metrics", context.options.metrics_route},
                      {"build_info", "b" + context.options.version}})
      .dump();
}

Result<std::string> props(ServerContext& context, const HttpRequest& request) {
  std::string name = query_value(request.query, "model");
  if (context.models != nullptr && name.empty()) return router_props(context);
  instance::ModelUse use = TRY(context.loaded_model(name));
  Instance* instance = use.instance();
  const instance::InstanceFacts& facts = instance->facts();
  const text::Tokenizer& tokenizer = instance->text_parts().tokenizer;
  api::CommonParams params = TRY(default_params(context, *instance));
  const auto& chat_template = instance->text_parts().chat_template;
  std::string source = chat_template ? chat_template->source() : std::string();
  Json settings = json_object({{"id", 0},
                               {"id_task", -1},
                               {"n_ctx", facts.max_len},
                               {"speculative", false},
                               {"is_processing", false},
                               {"params", api::llama_settings(params, {.max_len = facts.max_len, .eos_token_ids = {}})},
                               {"prompt", ""},
                               {"next_token", Json::object()}});
  Json body = json_object({{"default_generation_settings", std::move(settings)},
                           {"total_slots", int64_t{instance->max_seqs()}},
                           {"model_alias", facts.served_names.front()},
                           {"model_ftype", facts.weight_format},
                           {"model_path", facts.file_name},
                           {"modalities", json_object({{"vision", false}, {"audio", false}})},
                           {"media_marker", ""},
                           {"endpoint_slots", context.options.slots_route},
                           {"endpoint_props", false},
                           {"endpoint_metrics", context.options.metrics_route},
                           {"chat_template", source},
                           {"chat_template_caps", template_caps(source)},
                           {"bos_token", token_text(tokenizer, tokenizer.bos())},
                           {"eos_token", token_text(tokenizer, tokenizer.eos())},
                           {"build_info", "b" + context.options.version},
                           {"is_sleeping", false}});
  return body.dump();
}

// The first slots are those of the running sequences.
Result<std::string> slots(ServerContext& context, const HttpRequest& request) {
  if (!context.options.slots_route) {
    return not_supported("This server does not support slots endpoint. Start it with `--slots`");
  }
  instance::ModelUse use = TRY(context.loaded_model(query_value(request.query, "model")));
  Instance* instance = use.instance();
  engine::EngineStats stats = instance->stats();
  bool full = stats.n_running >= instance->max_seqs();
  if (full && request.query.find("fail_on_no_slot=1") != std::string::npos) {
    return Error{ErrorCode::kQueueFull, "no slot available", ""};
  }
  Json body = Json::array();
  for (uint32_t i = 0; i < instance->max_seqs(); ++i) {
    body.push_back(json_object({{"id", int64_t{i}},
                                {"n_ctx", instance->facts().max_len},
                                {"speculative", false},
                                {"is_processing", i < stats.n_running}}));
  }
  return body.dump();
}

Result<std::string> lora_adapters(ServerContext& context, const HttpRequest& request) {
  TRY(context.loaded_model(query_value(request.query, "model")));
  if (request.method == "POST") return not_supported("LoRA adapters are not supported");
  return std::string("[]");
}

struct LlamaMetric {
  std::string_view name;
  std::string_view type;
  std::string_view help;
  double value = 0;
};

double rate(double count, double seconds) { return seconds > 0 ? count / seconds : 0.0; }

}  // namespace

HttpReply llama_answer(ServerContext& context, const HttpRequest& request, const Route& route) {
  Result<std::string> body = std::string();
  if (route.id == RouteId::kProps && request.method == "POST") {
    body = not_supported("This server does not support changing global properties");
  } else if (route.id == RouteId::kProps) {
    body = props(context, request);
  } else if (route.id == RouteId::kSlots) {
    body = slots(context, request);
  } else {
    body = lora_adapters(context, request);
  }
  return body.ok() ? json_reply(std::move(body).value()) : context.error_reply({body.error()}, route.errors);
}

std::string llama_metrics(const Metrics& metrics, const Instance& instance) {
  engine::EngineStats stats = instance.stats();
  auto number = [](uint64_t value) { return static_cast<double>(value); };
  double cached = number(std::min(stats.prefix_hit_tokens, stats.prompt_tokens));
  double computed = number(stats.prompt_tokens) - cached;
  double generated = number(stats.generated_tokens);
  double prompt_s = metrics.value(MetricId::kPrefillTime);
  double decode_s = metrics.value(MetricId::kDecodeTime);
  const std::array<LlamaMetric, 15> rows = {{
      {"prompt_tokens_total", "counter", "Number of prompt tokens processed, excluding cached tokens", computed},
      {"prompt_tokens_cached_total", "counter", "Number of prompt tokens reused from the cache", cached},
      {"prompt_seconds_total", "counter", "Total time spent processing prompts", prompt_s},
      {"tokens_predicted_total", "counter", "Number of generation tokens processed", generated},
      {"tokens_predicted_seconds_total", "counter", "Total time spent generating tokens", decode_s},
      {"n_decode_total", "counter", "Total number of steps", number(stats.n_steps)},
      {"n_tokens_max", "counter", "Largest observed sequence length", number(metrics.longest_sequence())},
      {"spec_decode_num_draft_tokens_total", "counter", "Draft tokens generated", 0},
      {"spec_decode_num_accepted_tokens_total", "counter", "Draft tokens accepted", 0},
      {"spec_decode_num_drafts_total", "counter", "Verification steps", 0},
      {"prompt_tokens_seconds", "gauge", "Average prompt throughput in tokens/s", rate(computed, prompt_s)},
      {"predicted_tokens_seconds", "gauge", "Average generation throughput in tokens/s", rate(generated, decode_s)},
      {"requests_processing", "gauge", "Number of requests processing", number(stats.n_running)},
      {"requests_deferred", "gauge", "Number of requests deferred", number(stats.n_waiting)},
      {"n_busy_slots_per_decode", "gauge", "Average number of sequences that got a token per step",
       rate(generated, number(stats.n_steps))},
  }};
  std::string out;
  for (const LlamaMetric& row : rows) {
    fmt::format_to(std::back_inserter(out), "# HELP llamacpp:{0} {1}\n# TYPE llamacpp:{0} {2}\nllamacpp:{0} {3}\n",
                   row.name, row.help, row.type, row.value);
  }
  return out;
}

}  // namespace millrace::server
