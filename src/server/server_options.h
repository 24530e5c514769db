// What `serve` can be told about its HTTP side. Plain data with the defaults of API.md 10.1.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "api/compat.h"
#include "api/errors.h"
#include "api/output.h"
#include "base/limits.h"
#include "flow/constraint.h"
#include "server/kv_publisher.h"
#include "server/tls.h"
#include "server/trace_exporter.h"

namespace millrace::server {

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;               // 0: any free port (see HttpServer::port)
  std::string uds;                    // path of a Unix socket to listen on instead of host and port; empty: none
  std::vector<std::string> api_keys;  // empty: open
  size_t n_gateway_keys = 0;          // the last so many of api_keys: their requests may name a tenant
  std::vector<std::string> admin_keys;
  std::vector<std::string> watched_files;  // a change of one of them is taken as SIGHUP
  TlsOptions tls;
  TraceOptions traces;
  std::vector<std::string> quiet_endpoints;  // not in the access log
  std::vector<std::string> allowed_origins;  // CORS; "*" = any, "localhost" = pages of this machine
  std::vector<std::string> tags;             // of the model, in /v1/models
  std::string root_path;                     // prefix stripped from every path
  std::string version = "0.1.0";
  std::string commit = "unknown";
  api::Compat compat = api::Compat::kOpenAi;
  api::ErrorStyle error_style = api::ErrorStyle::kOpenAi;
  Limits limits;
  uint32_t n_io_threads = 1;
  uint32_t sse_header_delay_ms = 1000;  // the status line of a stream waits this long for the first event
  uint32_t sse_keep_alive_ms = 15000;   // silence before a comment line; 0 = never
  uint32_t stream_interval = 1;         // least tokens of an event of a stream
  uint32_t status_line_s = 10;          // seconds between status lines in the log; 0 = none
  bool allow_open = false;              // a bind beyond loopback without a key
  bool open_bind_warns = false;         // the same, but admin routes keep asking for a key
  bool metrics_auth = false;            // /metrics and /load need a key
  bool strict_fields = false;
  bool trust_request_chat_template = false;
  bool force_include_usage = false;
  bool request_metrics = false;  // /v1 replies carry `metrics`
  bool hidden_metrics = false;   // /metrics has the names of older vLLM, too
  bool llama_metrics = false;    // and those of llama-server, which it has under that profile anyway
  // Of answers to requests without one; any_whitespace also where requests say nothing of it.
  flow::ConstraintSpec constraint = {};
  api::ReasoningField reasoning_field = api::ReasoningField::kBoth;
  bool timings = true;
  bool ui = true;             // the web page at /
  bool metrics_route = true;  // these two: 501 when a profile gates them and no flag opened them
  bool slots_route = true;
  bool access_log = false;  // a line for each request
  bool verbose = false;     // whole replies carry __verbose
  KvPublisherConfig kv_events;
  std::function<KvEventCounts()> kv_event_counts;  // of the process; empty: nothing is published
};

}  // namespace millrace::server
