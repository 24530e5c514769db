#include "server/info_routes.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>

#include "api/json_object.h"
#include "base/macros.h"
#include "server/model_choice.h"

namespace millrace::server {
namespace {

using api::json_array;
using api::json_object;
using instance::Instance;

Json tgi_info(const ServerContext& context, const Instance& instance) {
  const instance::InstanceFacts& facts = instance.facts();
  return json_object({{"model_id", facts.served_names.front()},
                      {"model_sha", Json()},
                      {"model_pipeline_tag", "text-generation"},
                      {"max_concurrent_requests", context.options.limits[LimitId::kQueuedRequests]},
                      {"max_best_of", context.options.limits[LimitId::kN]},
                      {"max_stop_sequences", context.options.limits[LimitId::kStopStrings]},
                      {"max_input_tokens", facts.max_len - 1},
                      {"max_total_tokens", facts.max_len},
                      {"validation_workers", 2},
                      {"max_client_batch_size", 1},
                      {"router", "millrace"},
                      {"version", context.options.version},
                      {"sha", Json()},
                      {"docker_label", Json()}});
}

Json sglang_model(const Instance& instance) {
  const instance::InstanceFacts& facts = instance.facts();
  return json_object({{"model_path", facts.root},
                      {"tokenizer_path", facts.root},
                      {"is_generation", true},
                      {"weight_version", "default"},
                      {"preferred_sampling_params", Json()}});
}

Json sglang_server(const ServerContext& context, const Instance& instance) {
  Json out = sglang_model(instance);
  out.set("version", context.options.version);
  out.set("served_model_name", instance.facts().served_names.front());
  out.set("context_length", instance.facts().max_len);
  out.set("max_running_requests", int64_t{instance.max_seqs()});
  return out;
}

// One publisher per rank, of which there is one; none when no events are published.
Json kv_event_sources(const ServerContext& context, const Instance& instance) {
  const KvPublisherConfig& events = context.options.kv_events;
  Json sources = Json::array();
  if (events.enabled) {
    Json replay = events.replay_endpoint.empty() ? Json() : Json(events.replay_endpoint);
    sources.push_back(json_object({{"publisher", "zmq"},
                                   {"endpoint", events.endpoint},
                                   {"replay_endpoint", std::move(replay)},
                                   {"topic", kv_topic(context.options, instance.facts().served_names.front())},
                                   {"data_parallel_rank", 0},
                                   {"block_size", int64_t{instance.block_tokens()}},
                                   {"event_encoding", events.as_maps ? "map" : "array"}}));
  }
  return json_object({{"sources", std::move(sources)}});
}

Json tensor(std::string_view name) {
  return json_object({{"name", name}, {"datatype", "BYTES"}, {"shape", json_array({1})}});
}

// The model that the path or the query names.
std::string name_of(const ServerContext& context, const HttpRequest& request, const Route& route) {
  bool in_path = route.id == RouteId::kKserveModel || route.id == RouteId::kKserveModelReady;
  if (!in_path) return query_value(request.query, "model");
  std::string_view name = std::string_view(request.path).substr(context.options.root_path.size() + route.path.size());
  name.remove_suffix(route.suffix.size());
  return std::string(name.substr(0, name.find("/versions/")));
}

// /v2/models/NAME[/versions/N][/ready]: the name, when it is served.
Result<std::string> kserve_model(const ServerContext& context, const Instance& instance, const HttpRequest& request,
                                 const Route& route) {
  std::string name = name_of(context, request, route);
  const auto& served = instance.facts().served_names;
  if (std::find(served.begin(), served.end(), name) != served.end()) return name;
  return Error{ErrorCode::kModelNotFound, fmt::format("no model {}", quote_for_message(name)), "model"};
}

Result<std::string> info_body(ServerContext& context, const HttpRequest& request, const Route& route) {
  if (route.id == RouteId::kKserveServer) {
    return json_object({{"name", "millrace"},
                        {"version", context.options.version},
                        {"extensions", json_array({"generate", "binary_tensor_data"})}})
        .dump();
  }
  instance::ModelUse use = TRY(context.loaded_model(name_of(context, request, route)));
  Instance* instance = use.instance();
  if (route.id == RouteId::kKvEventSources) return kv_event_sources(context, *instance).dump();
  if (route.id == RouteId::kTgiInfo) return tgi_info(context, *instance).dump();
  if (route.id == RouteId::kSglangModelInfo) return sglang_model(*instance).dump();
  if (route.id == RouteId::kSglangServerInfo) return sglang_server(context, *instance).dump();
  std::string name = TRY(kserve_model(context, *instance, request, route));
  if (route.id == RouteId::kKserveModelReady) return json_object({{"name", name}, {"ready", true}}).dump();
  return json_object({{"name", name},
                      {"versions", json_array({"1"})},
                      {"platform", "millrace"},
                      {"inputs", json_array({tensor("text_input")})},
                      {"outputs", json_array({tensor("text_output")})}})
      .dump();
}

}  // namespace

std::string kv_topic(const ServerOptions& options, std::string_view model) {
  if (!options.kv_events.topic.empty()) return options.kv_events.topic;
  return fmt::format("kv@{}:{}@{}", options.host, options.port, model);
}

HttpReply info_answer(ServerContext& context, const HttpRequest& request, const Route& route) {
  Result<std::string> body = info_body(context, request, route);
  return body.ok() ? json_reply(std::move(body).value()) : context.error_reply({body.error()}, route.errors);
}

}  // namespace millrace::server
