#include "server/request_trace.h"

#include <chrono>
#include <utility>

namespace millrace::server {
namespace {

int64_t now_unix_ns() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

double seconds(Tick ticks) { return static_cast<double>(ticks) / static_cast<double>(kSecond); }

std::string finish_name(instance::ChoiceOutcome outcome) {
  switch (outcome) {
    case instance::ChoiceOutcome::kStop:
      return "stop";
    case instance::ChoiceOutcome::kLength:
      return "length";
    case instance::ChoiceOutcome::kAbort:
      return "abort";
    case instance::ChoiceOutcome::kError:
      break;
  }
  return "error";
}

// API.md 7.6; the names of the conventions, and those vLLM had before them.
void add_request(Span& span, const api::CommonParams& params, const std::string& request_id) {
  auto& out = span.attributes;
  const flow::SamplingParams& sampling = params.sampling;
  out.emplace_back("gen_ai.provider.name", "millrace");
  out.emplace_back("gen_ai.request.model", params.model);
  out.emplace_back("gen_ai.response.model", params.model);
  out.emplace_back("gen_ai.request.id", request_id);
  out.emplace_back("gen_ai.request.temperature", static_cast<double>(sampling.temperature));
  out.emplace_back("gen_ai.request.top_p", static_cast<double>(sampling.top_p));
  out.emplace_back("gen_ai.request.n", int64_t{params.n});
  if (params.max_tokens) out.emplace_back("gen_ai.request.max_tokens", *params.max_tokens);
}

void add_usage(Span& span, const api::Usage& usage) {
  auto input = static_cast<int64_t>(usage.prompt_tokens);
  auto output = static_cast<int64_t>(usage.completion_tokens);
  span.attributes.emplace_back("gen_ai.usage.input_tokens", input);
  span.attributes.emplace_back("gen_ai.usage.output_tokens", output);
  span.attributes.emplace_back("gen_ai.usage.prompt_tokens", input);
  span.attributes.emplace_back("gen_ai.usage.completion_tokens", output);
}

void add_times(Span& span, const flow::RequestTimes& times) {
  auto& out = span.attributes;
  Tick first = times.first_token > 0 ? times.first_token : times.finished;
  out.emplace_back("gen_ai.latency.time_in_queue", seconds(times.first_scheduled - times.arrival));
  out.emplace_back("gen_ai.latency.time_in_model_prefill", seconds(first - times.first_scheduled));
  out.emplace_back("gen_ai.latency.time_in_model_decode", seconds(times.finished - first));
  out.emplace_back("gen_ai.latency.time_in_model_inference", seconds(times.finished - times.first_scheduled));
}

}  // namespace

RequestTrace::RequestTrace(ServerContext& context, Metrics& metrics, const HttpRequest& request,
                           std::string_view operation)
    : context_(&context),
      metrics_(&metrics),
      operation_(operation),
      begin_unix_ns_(now_unix_ns()),
      wanted_(context.traces.wanted()) {
  if (!wanted_) return;
  const std::string* header = request.header("traceparent");
  std::optional<TraceParent> parent = header == nullptr ? std::nullopt : parse_traceparent(*header);
  constexpr size_t kTraceDigits = 32;
  parent_ = parent ? *parent : TraceParent{.trace_id = random_hex(kTraceDigits), .span_id = {}};
  wanted_ = parent_.sampled;
}

void RequestTrace::on_first_token(Tick since_arrival) {
  if (!first_token_) first_token_ = since_arrival;
  metrics_->on_first_token(since_arrival);
}

void RequestTrace::on_token_gap(Tick gap) { metrics_->on_token_gap(gap); }

void RequestTrace::on_late_token() { metrics_->on_late_token(); }

void RequestTrace::on_choice(const instance::ChoiceStats& stats) {
  if (!choice_) choice_ = stats;
  metrics_->on_choice(stats);
}

void RequestTrace::on_admitted(uint32_t n) { metrics_->on_admitted(n); }

void RequestTrace::on_text_queue_full() { metrics_->on_text_queue_full(); }

void RequestTrace::on_ttft_ratio(double predicted_over_actual) { metrics_->on_ttft_ratio(predicted_over_actual); }

void RequestTrace::finish(const instance::Session& session, const std::string& request_id) {
  if (!std::exchange(wanted_, false)) return;
  constexpr size_t kSpanDigits = 16;
  Span span{.parent = parent_,
            .span_id = random_hex(kSpanDigits),
            .begin_unix_ns = begin_unix_ns_,
            .end_unix_ns = now_unix_ns(),
            .attributes = {}};
  span.attributes.emplace_back("gen_ai.operation.name", std::string(operation_));
  add_request(span, session.job().params(), request_id);
  add_usage(span, session.usage());
  if (first_token_) span.attributes.emplace_back("gen_ai.latency.time_to_first_token", seconds(*first_token_));
  constexpr double kNanos = 1e9;
  span.attributes.emplace_back("gen_ai.latency.e2e",
                               static_cast<double>(span.end_unix_ns - span.begin_unix_ns) / kNanos);
  bool timed = choice_ && choice_->outcome != instance::ChoiceOutcome::kAbort && choice_->times.first_scheduled > 0;
  if (timed) add_times(span, choice_->times);
  if (choice_) {
    span.attributes.emplace_back("gen_ai.response.finish_reasons",
                                 std::vector<std::string>{finish_name(choice_->outcome)});
  }
  span.attributes.emplace_back("server.address", context_->options.host);
  span.attributes.emplace_back("server.port", int64_t{context_->options.port});
  if (session.phase() == instance::SessionPhase::kFailed) {
    span.failed = true;
    span.attributes.emplace_back("error.type", std::string(error_slug(session.error().error.code)));
  }
  context_->traces.add(std::move(span));
}

}  // namespace millrace::server
