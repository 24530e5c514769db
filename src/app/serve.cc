// millrace serve: a model over the OpenAI API. Wires flags to server::ServerOptions and instance::InstanceOptions.
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <optional>
#include <set>

#include "app/answer_flags.h"
#include "app/build_info.h"
#include "app/commands.h"
#include "app/compat_flags.h"
#include "app/constraint_flags.h"
#include "app/flags.h"
#include "app/llama_environment.h"
#include "app/model_flags.h"
#include "app/one_of.h"
#include "app/serve_plan.h"
#include "app/trace_flags.h"
#include "base/file.h"
#include "base/macros.h"
#include "server/http_server.h"
#include "server/info_routes.h"
#include "server/kv_publisher.h"

namespace millrace::app {
namespace {

constexpr uint64_t kMaxKeyFileBytes = 64 * 1024;
constexpr uint32_t kDefaultSeqs = 256;  // ModelFlags::max_num_seqs: nobody asked for a number of slots

std::string style_name(api::ErrorStyle style) {
  return style == api::ErrorStyle::kVllm ? "vllm" : style == api::ErrorStyle::kLlama ? "llama" : "openai";
}

std::vector<std::string> split(std::string_view list, char separator) {
  std::vector<std::string> out;
  while (!list.empty()) {
    size_t cut = std::min(list.find(separator), list.size());
    if (cut > 0) out.emplace_back(list.substr(0, cut));
    list.remove_prefix(std::min(cut + 1, list.size()));
  }
  return out;
}

struct ServeFlags {
  explicit ServeFlags(const api::CompatProfile& of)
      : profile(&of),
        models(default_models_flags(of)),
        host(of.host),
        port(of.port),
        error_style(style_name(of.errors)),
        sse_keep_alive_s(of.keep_alive_s) {}

  const api::CompatProfile* profile;
  ModelFlags model;
  ModelsFlags models;
  std::string compat = "openai";  // read by profile_of_args() before the others
  std::string host;
  int64_t port;
  std::string uds;
  std::vector<std::string> api_keys;
  std::string api_key_file;
  std::vector<std::string> gateway_keys;
  std::vector<std::string> admin_keys;
  std::vector<std::string> origins;
  server::TlsOptions tls;
  int64_t ssl_cert_reqs = 0;
  bool ssl_refresh = false;
  bool access_log = true;
  std::string quiet_endpoints = "/health,/health/live,/health/ready,/metrics,/ping,/load";
  std::string log_format = "text";
  std::string traces_endpoint;
  std::string record_events;
  std::string kv_events;
  std::string root_path;
  std::string sandbox = "auto";
  std::string error_style;
  int64_t sse_header_delay_ms = 1000;
  int64_t sse_keep_alive_s;
  int64_t stream_interval = 1;
  int64_t io_threads = 1;
  bool allow_open = false;
  bool metrics_auth = false;
  bool strict_fields = false;
  bool trust_template = false;
  bool force_include_usage = false;
  bool request_metrics = false;
  AnswerFlags answers;
  ConstraintFlags constraints;
  std::string metrics_compat;
  bool hidden_metrics = false;
  bool timings = true;
  bool ui = true;
  bool metrics = false;  // these three matter under llama-server's profile only
  bool slots = true;
  bool kv_unified = false;
  std::vector<std::string> tags;
  int64_t seed = -1;        // -1: each request its own
  int64_t n_predict = -1;   // default of requests; -1: the dialect's
  double temperature = -1;  // these four: defaults of requests; -1: the model's
  double top_p = -1;
  double min_p = -1;
  int64_t top_k = -1;
  std::deque<int64_t> limits;  // one value per row of limit_table(), addresses stable
};

// What other servers call it, too.
std::string flag_names(const Limit& row) {
  return std::string(row.flag) + (row.id == LimitId::kDrainSeconds ? ",--drain-timeout" : "");
}

std::string limit_help(const Limit& row) {
  return fmt::format("{} ({}, at most {}{})", row.name, row.unit, row.hard_max,
                     row.id == LimitId::kTopLogprobs ? "; -1 = all tokens, which a request asks for by -1" : "");
}

// The value as Limits has it.
Result<int64_t> limit_value(const Limit& row, int64_t value) {
  if (row.id != LimitId::kTopLogprobs || value > 0) return value;
  if (value == -1) return row.hard_max;  // no vocabulary is larger
  return Error{ErrorCode::kUsage,
               fmt::format("{} = {}: must be 1..{} {}, or -1 for all tokens", row.flag, value, row.hard_max, row.unit),
               std::string(row.flag)};
}

void declare(FlagSet& set, ServeFlags& f) {
  if (f.profile->id == api::Compat::kLlamaServer) set.read_also(llama_environment());
  set.add("--compat", &f.compat,
          "openai | vllm | llama-server | ollama | tgi | sglang: whose habits to follow; llama-server's "
          "LLAMA_ARG_<NAME> are "
          "read under its own");
  declare_model_flags(set, f.model);
  declare_models_flags(set, f.models);
  set.add("--host", &f.host, "address to listen on; beyond loopback needs a key or --allow-open");
  set.add("-p,--port", &f.port, "port; 0 = any free one", {0, 65535});
  set.add("--uds", &f.uds, "path of a Unix socket to listen on; --host and --port are then not used");
  set.add("--api-key", &f.api_keys, "repeatable; also MILLRACE_API_KEY, VLLM_API_KEY, LLAMA_API_KEY");
  set.add("--api-key-file", &f.api_key_file, "one key a line; read again when it changes, and on SIGHUP");
  set.add("--ssl-certfile,--ssl-cert-file", &f.tls.certfile, "PEM certificate chain: HTTPS instead of HTTP");
  set.add("--ssl-keyfile,--ssl-key-file", &f.tls.keyfile, "PEM key; default: in --ssl-certfile");
  set.add("--ssl-ca-certs", &f.tls.ca_certs, "PEM certificates that sign those of clients");
  set.add("--ssl-cert-reqs", &f.ssl_cert_reqs, "certificates of clients: 0 none, 1 checked, 2 needed", {0, 2});
  set.add("--enable-ssl-refresh", &f.ssl_refresh, "new files of certificate and key are taken as they appear");
  set.add("--access-log", &f.access_log, "a line in the log for each request");
  set.add("--disable-access-log-for-endpoints", &f.quiet_endpoints, "paths without one, separated by commas");
  set.add("--log-format", &f.log_format, "text | json");
  set.add(
      "--otlp-traces-endpoint", &f.traces_endpoint,
      "URL that takes traces (OTLP, HTTP, JSON), as http://localhost:4318/v1/traces; also OTEL_EXPORTER_OTLP_ENDPOINT");
  set.add("--gateway-api-key", &f.gateway_keys, "a key whose requests may name their tenant by header, repeatable");
  set.add("--admin-api-key", &f.admin_keys, "for admin routes, repeatable");
  set.add("--allow-open", &f.allow_open, "listen beyond loopback without a key");
  set.add("--record-events", &f.record_events, "file for the engine's inputs, prompts too; see simulate --replay");
  set.add("--kv-events-config", &f.kv_events, "JSON as in vLLM: publish what the prefix cache holds over ZeroMQ");
  set.add("--allowed-origins,--cors-origins", &f.origins, "CORS origins, * = any");
  set.add("--root-path,--api-prefix", &f.root_path, "prefix stripped from every path");
  set.add("--error-style", &f.error_style, "openai | vllm | llama");
  set.add("--sse-header-delay-ms", &f.sse_header_delay_ms,
          "how long the status line of a stream waits for the first token", {0, 600'000});
  set.add("--stream-interval", &f.stream_interval,
          "least tokens of an event of a stream, but for the first and the last", {1, 1024});
  set.add("--sse-keep-alive-interval,--sse-ping-interval", &f.sse_keep_alive_s,
          "seconds of silence before a comment line; 0 = off", {0, 86400});
  set.add(
      "--sandbox", &f.sandbox,
      "auto | on | off: once the models are loaded no program can be started, and no socket opened but for traces and "
      "KV events; on: not served without");
  set.add("--io-threads,--threads-http", &f.io_threads, "threads for sockets", {1, 64});
  set.add("--metrics-auth", &f.metrics_auth, "/metrics and /load need a key");
  set.add("--strict-fields", &f.strict_fields, "an unknown field is an error");
  set.add("--trust-request-chat-template", &f.trust_template, "requests may bring a chat template");
  add_answer_flags(set, f.answers);
  add_constraint_flags(set, f.constraints);
  set.add("--metrics-compat", &f.metrics_compat,
          "vllm | llamacpp, separated by commas; llamacpp, which --compat llama-server implies, puts llama-server's "
          "names in "
          "/metrics before vLLM's, which are always there (not where several models are served)");
  set.add("--show-hidden-metrics", &f.hidden_metrics, "vLLM metrics under the names of older versions, too");
  set.add("--enable-force-include-usage", &f.force_include_usage, "every stream ends with a usage chunk");
  set.add("--enable-per-request-metrics", &f.request_metrics, "metrics in /v1 replies with n = 1");
  set.add("--timings", &f.timings, "timings in replies");
  set.add("--ui,--webui", &f.ui, "the web page at /");
  set.add("--metrics", &f.metrics, "under --compat llama-server: opens /metrics");
  set.add("--slots", &f.slots, "under --compat llama-server: /slots answers");
  set.add("--kv-unified", &f.kv_unified, "under --compat llama-server: -c is the context of each sequence, not of all");
  set.add("--tags", &f.tags, "tags of the model in /v1/models");
  set.add("-s,--seed", &f.seed, "default of requests; -1 = each its own", {-1, INT64_MAX});
  set.add("-n,--n-predict,--predict", &f.n_predict, "output tokens of requests that name none; -1 = the dialect's",
          {-1, INT32_MAX});
  set.add("--temperature,--temp", &f.temperature, "default of requests; -1 = the model's", {-1, 100});
  set.add("--top-p", &f.top_p, "default of requests; -1 = the model's", {-1, 1});
  set.add("--min-p", &f.min_p, "default of requests; -1 = the model's", {-1, 1});
  set.add("--top-k", &f.top_k, "default of requests; 0 = off, -1 = the model's", {-1, INT32_MAX});
  for (const Limit& row : limit_table()) {
    f.limits.push_back(row.default_value);
    if (row.flag.empty()) continue;
    set.add(flag_names(row), &f.limits.back(), limit_help(row),
            {row.id == LimitId::kTopLogprobs ? -1 : 1, row.hard_max});
  }
}

Result<std::vector<std::string>> keys_of(const ServeFlags& f) {
  std::vector<std::string> keys = f.api_keys;
  for (const char* name : {"VLLM_API_KEY", "LLAMA_API_KEY"}) {
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0' && keys.empty())
      keys.emplace_back(value);
  }
  if (!f.api_key_file.empty()) {
    auto read = read_file(f.api_key_file, kMaxKeyFileBytes);
    if (!read.ok()) return Error{ErrorCode::kUsage, read.error().message, "--api-key-file"};
    std::string_view text = *read;
    size_t n_given = keys.size();
    while (!text.empty()) {
      size_t end = std::min(text.find('\n'), text.size());
      std::string_view line = text.substr(0, end);
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      if (!line.empty()) keys.emplace_back(line);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    // else a file cut short would open the server to everybody
    if (keys.size() == n_given) return Error{ErrorCode::kUsage, f.api_key_file + " holds no key", "--api-key-file"};
  }
  for (const std::string& key : keys) {
    if (key.empty()) return Error{ErrorCode::kUsage, "--api-key is empty: nobody could enter", "--api-key"};
  }
  return keys;
}

Result<void> set_tls(const ServeFlags& f, server::ServerOptions& out) {
  if (f.tls.certfile.empty() && !(f.tls.keyfile.empty() && f.tls.ca_certs.empty())) {
    return Error{ErrorCode::kUsage, "--ssl-keyfile and --ssl-ca-certs need --ssl-certfile", "--ssl-certfile"};
  }
  out.tls = f.tls;
  out.tls.cert_reqs = static_cast<int>(f.ssl_cert_reqs);
  if (!f.ssl_refresh) return {};
  for (const std::string& path : {f.tls.certfile, f.tls.keyfile, f.tls.ca_certs}) {
    if (!path.empty()) out.watched_files.push_back(path);
  }
  return {};
}

// Without the default constraint, whose file is read at the start only.
Result<server::ServerOptions> server_options(const ServeFlags& f) {
  server::ServerOptions out;
  out.error_style = TRY(one_of<api::ErrorStyle>(
      "--error-style", f.error_style,
      {{"openai", api::ErrorStyle::kOpenAi}, {"vllm", api::ErrorStyle::kVllm}, {"llama", api::ErrorStyle::kLlama}}));
  out.compat = f.profile->id;
  out.metrics_route = f.metrics || !f.profile->gated;
  out.slots_route = f.slots;
  out.verbose = f.model.verbose && f.profile->gated;
  out.host = f.host;
  out.port = static_cast<uint16_t>(f.port);
  out.uds = f.uds;
  out.api_keys = TRY(keys_of(f));
  out.api_keys.insert(out.api_keys.end(), f.gateway_keys.begin(), f.gateway_keys.end());
  out.n_gateway_keys = f.gateway_keys.size();
  out.admin_keys = f.admin_keys;
  out.allowed_origins = f.origins;
  if (f.origins.empty() && f.profile->gated) out.allowed_origins = {"*"};  // llama-server's default
  out.root_path = f.root_path;
  TRY(set_tls(f, out));
  out.traces = TRY(trace_options(f.traces_endpoint));
  if (!f.api_key_file.empty()) out.watched_files.push_back(f.api_key_file);
  out.access_log = f.access_log;
  out.quiet_endpoints = split(f.quiet_endpoints, ',');
  out.version = build_version();
  out.commit = build_commit();
  out.n_io_threads = static_cast<uint32_t>(f.io_threads);
  out.sse_header_delay_ms = static_cast<uint32_t>(f.sse_header_delay_ms);
  out.stream_interval = static_cast<uint32_t>(f.stream_interval);
  out.sse_keep_alive_ms = static_cast<uint32_t>(f.sse_keep_alive_s * 1000);
  out.allow_open = f.allow_open;
  out.open_bind_warns = f.profile->open_bind;
  for (const std::string& joined : f.tags) {
    for (std::string& tag : split(joined, ',')) out.tags.push_back(std::move(tag));
  }
  out.metrics_auth = f.metrics_auth;
  out.strict_fields = f.strict_fields;
  out.trust_request_chat_template = f.trust_template;
  out.force_include_usage = f.force_include_usage;
  out.request_metrics = f.request_metrics;
  out.hidden_metrics = f.hidden_metrics;
  for (const std::string& pack : split(f.metrics_compat, ',')) {
    if (pack != "vllm" && pack != "llamacpp") {
      return Error{ErrorCode::kUsage,
                   fmt::format("--metrics-compat = {}: must be of vllm and llamacpp", quote_for_message(pack)),
                   "--metrics-compat"};
    }
    out.llama_metrics = out.llama_metrics || pack == "llamacpp";
  }
  out.reasoning_field = TRY(reasoning_field(f.answers));
  out.ui = f.ui;
  out.timings = f.timings;
  size_t i = 0;
  for (const Limit& row : limit_table()) {
    const int64_t value = TRY(limit_value(row, f.limits[i++]));
    if (value != row.default_value) TRY(out.limits.set(row.id, value));
  }
  return out;
}

// llama-server divides the context among its slots, and joins all names by commas into one model.
void follow_llama(const ServeFlags& f, instance::InstanceOptions& out) {
  if (out.max_model_len > 0 && out.max_num_seqs < kDefaultSeqs && !f.kv_unified) out.max_model_len /= out.max_num_seqs;
  std::set<std::string> names;
  for (const std::string& joined : out.served_names) {
    for (std::string& name : split(joined, ',')) names.insert(std::move(name));
  }
  out.served_names.assign(names.begin(), names.end());
}

Result<instance::InstanceOptions> model_options(const ServeFlags& f, const Limits& limits, bool needs_model) {
  instance::InstanceOptions out = TRY(instance_options(f.model, needs_model));
  if (f.profile->gated) follow_llama(f, out);
  out.answers = TRY(answer_rules(f.answers, f.profile->template_dates));
  out.limits = limits;
  out.record_events = f.record_events;
  api::SamplingDefaults& defaults = out.override_defaults;
  if (f.temperature >= 0) defaults.temperature = static_cast<float>(f.temperature);
  if (f.top_p >= 0) defaults.top_p = static_cast<float>(f.top_p);
  if (f.min_p >= 0) defaults.min_p = static_cast<float>(f.min_p);
  if (f.top_k >= 0) defaults.top_k = static_cast<int32_t>(f.top_k);
  if (f.seed >= 0) defaults.seed = f.seed;
  if (f.n_predict >= 0) defaults.max_tokens = f.n_predict;
  return out;
}

}  // namespace

Result<std::optional<ServePlan>> plan_serve(std::span<const std::string> args, bool access_log) {
  ServeFlags f(*TRY(profile_of_args(args)));
  f.access_log = access_log;
  FlagSet set("serve", "Serve a model over the OpenAI API.");
  declare(set, f);
  if (!TRY(set.parse(args))) return std::optional<ServePlan>();
  ServePlan plan{.server = TRY(server_options(f)), .model = {}};
  plan.server.constraint = TRY(default_constraint(f.constraints, plan.server.limits));
  if (!f.kv_events.empty()) plan.server.kv_events = TRY(server::parse_kv_events_config(f.kv_events));
  plan.several = TRY(models_plan(f.models, f.model, *f.profile));
  plan.model = TRY(model_options(f, plan.server.limits, !plan.several));
  if (plan.several && !(f.kv_events.empty() && f.record_events.empty())) {
    return Error{ErrorCode::kUsage, "--kv-events-config and --record-events are for a server with one model", ""};
  }
  plan.log_format =
      TRY(one_of<LogFormat>("--log-format", f.log_format, {{"text", LogFormat::kText}, {"json", LogFormat::kJson}}));
  plan.sandbox = TRY(one_of<Sandbox>("--sandbox", f.sandbox,
                                     {{"auto", Sandbox::kAuto}, {"on", Sandbox::kOn}, {"off", Sandbox::kOff}}));
  return std::optional<ServePlan>(std::move(plan));
}

Result<server::ServerOptions> options_for_reload(std::span<const std::string> args) {
  ServeFlags f(*TRY(profile_of_args(args)));
  FlagSet set("serve", "Serve a model over the OpenAI API.");
  declare(set, f);
  (void)TRY(set.parse(args));
  return server_options(f);
}

Result<void> check_serve_flags(std::span<const std::string> args) {
  TRY(plan_serve(args));
  return {};
}

// Models were fetched before this, and of those that load later the files are there. What sends traces and KV events
// connects again when it must.
Result<void> close_sandbox(const ServePlan& plan) {
  if (plan.sandbox == Sandbox::kOff) return {};
  SandboxRules rules{.sockets = !plan.server.traces.endpoint.empty() || plan.server.kv_events.enabled};
  Result<void> entered = enter_sandbox(rules);
  if (entered.ok() || plan.sandbox == Sandbox::kOn) return entered;
  LOG(LogLevel::kWarning, "served without it: {}", entered.error().message);
  return {};
}

Result<int> serve_command(std::span<const std::string> args) {
  std::optional<ServePlan> plan = TRY(plan_serve(args));
  if (!plan) return 0;
  set_log_format(plan->log_format);
  server::ServerParts parts{.reload = [&] { return options_for_reload(args); },
                            .on_loaded = [&plan] { return close_sandbox(*plan); }};
  if (plan->several) {
    parts.several = several_models(*plan->several, plan->model);
    return server::run_server(plan->server, std::move(parts));
  }
  std::unique_ptr<server::KvPublisher> publisher;
  if (plan->server.kv_events.enabled) {
    publisher = TRY(server::KvPublisher::open(plan->server.kv_events));
    plan->server.kv_event_counts = [&publisher] { return publisher->counts(); };
    plan->model.on_kv_events = [&publisher](std::span<flow::KvEvent> events) { publisher->publish(events); };
  }
  parts.load = [&](const instance::ProgressFn& go_on) {
    auto show = progress_printer();
    auto loaded = instance::Instance::load(plan->model, [&](const instance::LoadProgress& progress) {
      show(progress);
      return go_on(progress);
    });
    if (publisher != nullptr && loaded.ok()) {
      publisher->begin(server::kv_topic(plan->server, (*loaded)->facts().served_names.front()));
    }
    return loaded;
  };
  return server::run_server(plan->server, std::move(parts));
}

}  // namespace millrace::app
