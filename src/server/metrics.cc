#include "server/metrics.h"

#include <fmt/core.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/macros.h"
#include "instance/instance.h"

namespace millrace::server {
namespace {

constexpr Tick kSnapshotAge = 25 * kMillisecond;  // routers scrape about every 50 ms (API.md 7.1)
constexpr uint64_t kPredictedPrompts[] = {128, 512, 2048, 8192};

double seconds(Tick ticks) { return static_cast<double>(ticks) / static_cast<double>(kSecond); }

using Labels = std::vector<prometheus::ClientMetric::Label>;

prometheus::MetricType type_of(MetricKind kind) {
  switch (kind) {
    case MetricKind::kGauge:
      return prometheus::MetricType::Gauge;
    case MetricKind::kCounter:
      return prometheus::MetricType::Counter;
    case MetricKind::kHistogram:
      return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

prometheus::MetricFamily info_family(std::string name, std::string help) {
  prometheus::MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = prometheus::MetricType::Gauge;
  return family;
}

void add_info(prometheus::MetricFamily& family, Labels labels) {
  prometheus::ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  metric.gauge.value = 1.0;
}

// Dashboards made for vLLM before 0.11 ask for these.
void add_old_names(std::vector<prometheus::MetricFamily>& families) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"},
      {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}};
  for (const auto& [name, old_name] : kNames) {
    auto found = std::ranges::find(families, name, &prometheus::MetricFamily::name);
    CHECK(found != families.end(), "no metric {}", name);
    prometheus::MetricFamily copy = *found;
    copy.name = old_name;
    families.push_back(std::move(copy));
  }
}

// Gauges that add() moves up and down; the others are set from the engine.
bool is_counted_gauge(MetricId id) {
  return id == MetricId::kStreamsOpen || id == MetricId::kStreamsParked || id == MetricId::kConnectionsOpen;
}

Labels cache_labels(const instance::Instance& instance, const engine::EngineStats& stats) {
  const instance::InstanceFacts& facts = instance.facts();
  return {{"block_size", fmt::format("{}", instance.block_tokens())},
          {"cache_dtype", facts.kv_dtype},
          {"enable_prefix_caching", instance.prefix_cache() ? "True" : "False"},
          {"engine", "0"},
          {"kv_cache_memory_bytes", fmt::format("{}", facts.kv_bytes)},
          {"max_model_len", fmt::format("{}", facts.max_len)},
          {"num_cpu_blocks", "0"},
          {"num_gpu_blocks", fmt::format("{}", stats.kv_blocks_total)}};
}

}  // namespace

struct Metrics::Series {
  std::atomic<double> value{0.0};             // of a counter or gauge; sum of a histogram
  std::atomic<double> before{0.0};            // of a counter kept elsewhere: what earlier instances counted
  std::vector<std::atomic<uint64_t>> counts;  // of a histogram: one per bucket and one beyond
};

size_t bucket_of(std::span<const double> bounds, double value) {
  return static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) - bounds.begin());
}

std::vector<std::string_view> split_values(std::string_view values) {
  std::vector<std::string_view> out;
  while (true) {
    size_t bar = values.find('|');
    out.push_back(values.substr(0, bar));
    if (bar == std::string_view::npos) return out;
    values.remove_prefix(bar + 1);
  }
}

Metrics::Metrics() {
  for (const MetricRow& row : metric_table()) {
    auto& row_series = rows_.emplace_back();
    for (size_t i = 0; i < split_values(row.label_values).size(); ++i) {
      auto one = std::make_unique<Series>();
      if (row.kind == MetricKind::kHistogram) {
        one->counts = std::vector<std::atomic<uint64_t>>(metric_buckets(row.buckets).size() + 1);
      }
      row_series.push_back(std::move(one));
    }
  }
}

Metrics::~Metrics() = default;

Metrics::Series& Metrics::series(MetricId id, size_t label_idx) const {
  return *rows_[static_cast<size_t>(id)][label_idx];
}

void Metrics::add(MetricId id, double value, size_t label_idx) {
  series(id, label_idx).value.fetch_add(value, std::memory_order_relaxed);
}

void Metrics::set(MetricId id, double value, size_t label_idx) {
  series(id, label_idx).value.store(value, std::memory_order_relaxed);
}

void Metrics::raise_to(MetricId id, double value, size_t label_idx) {
  Series& one = series(id, label_idx);
  value += one.before.load(std::memory_order_relaxed);
  if (value > one.value.load(std::memory_order_relaxed)) one.value.store(value, std::memory_order_relaxed);
}

void Metrics::take(MetricId id, Durations& durations) {
  Series& one = series(id, 0);
  Durations::Taken taken = durations.take();
  for (size_t i = 0; i < taken.counts.size(); ++i) {
    one.counts[i].fetch_add(taken.counts[i], std::memory_order_relaxed);
  }
  one.value.fetch_add(taken.sum_s, std::memory_order_relaxed);
}

double Metrics::value(MetricId id, size_t label_idx) const {
  return series(id, label_idx).value.load(std::memory_order_relaxed);
}

void Metrics::observe(MetricId id, double value, size_t label_idx) {
  Series& one = series(id, label_idx);
  const MetricRow& row = metric_table()[static_cast<size_t>(id)];
  one.counts[bucket_of(metric_buckets(row.buckets), value)].fetch_add(1, std::memory_order_relaxed);
  one.value.fetch_add(value, std::memory_order_relaxed);
}

void Metrics::count_refusal(ErrorCode code) {
  // Places in the label lists of kAdmissionRejections and kRequestsShed.
  if (code == ErrorCode::kDeadlineUnreachable) {
    add(MetricId::kAdmissionRejections, 1, 2);
    add(MetricId::kRequestsShed, 1, 3);
  } else if (code == ErrorCode::kKvExhausted) {
    add(MetricId::kRequestsShed, 1, 4);
  } else if (code == ErrorCode::kDraining) {
    add(MetricId::kAdmissionRejections, 1, 3);
    add(MetricId::kRequestsShed, 1, 6);
  } else if (code == ErrorCode::kMemoryPressure) {
    add(MetricId::kRequestsShed, 1, 5);
  } else if (code == ErrorCode::kRateLimitExceeded || code == ErrorCode::kKeyConcurrency) {
    add(MetricId::kRequestsShed, 1, 7);
  }
}

void Metrics::on_first_token(Tick since_arrival) { observe(MetricId::kTtft, seconds(since_arrival)); }

void Metrics::on_token_gap(Tick gap) {
  observe(MetricId::kItl, seconds(gap));
  observe(MetricId::kItlFine, seconds(gap));
}

void Metrics::on_late_token() { add(MetricId::kItlViolations, 1); }

void Metrics::on_text_queue_full() { add(MetricId::kRequestsShed, 1, 2); }

void Metrics::take_kv_events(uint64_t n_sent, uint64_t n_dropped) {
  raise_to(MetricId::kKvEvents, static_cast<double>(n_sent), 0);
  raise_to(MetricId::kKvEvents, static_cast<double>(n_dropped), 1);
}

void Metrics::on_admitted(uint32_t n) { observe(MetricId::kParamsN, n); }

void Metrics::on_ttft_ratio(double predicted_over_actual) { observe(MetricId::kTtftRatio, predicted_over_actual); }

void Metrics::on_choice(const instance::ChoiceStats& stats) {
  add(MetricId::kRequestSuccess, 1, static_cast<size_t>(stats.outcome));
  tenants_.add(stats.tenant, uint64_t{stats.n_prompt} - std::min(stats.n_cached, stats.n_prompt) + stats.n_output);
  if (stats.outcome == instance::ChoiceOutcome::kAbort || stats.outcome == instance::ChoiceOutcome::kError) return;
  uint64_t length = uint64_t{stats.n_prompt} + stats.n_output;
  uint64_t longest = longest_.load();
  while (length > longest && !longest_.compare_exchange_weak(longest, length)) {
  }
  const flow::RequestTimes& times = stats.times;
  observe(MetricId::kE2e, seconds(times.finished - times.arrival));
  observe(MetricId::kQueueTime, seconds(times.first_scheduled - times.arrival));
  observe(MetricId::kRequestPromptTokens, stats.n_prompt);
  observe(MetricId::kRequestGenerationTokens, stats.n_output);
  observe(MetricId::kMaxGenerationTokens, stats.n_output);
  observe(MetricId::kParamsMaxTokens, stats.max_tokens);
  observe(MetricId::kPrefillComputed, stats.n_prompt - std::min(stats.n_cached, stats.n_prompt));
  observe(MetricId::kRequestPreemptions, stats.n_preempted);
  if (stats.last_token == 0) return;
  double decode_s = seconds(stats.last_token - times.first_token);
  observe(MetricId::kInferenceTime, seconds(stats.last_token - times.first_scheduled));
  observe(MetricId::kPrefillTime, seconds(times.first_token - times.first_scheduled));
  observe(MetricId::kDecodeTime, decode_s);
  if (stats.n_output > 1) observe(MetricId::kTimePerOutputToken, decode_s / (stats.n_output - 1));
}

void Metrics::on_step(const engine::StepRecord& record) {
  observe(MetricId::kIterationTokens, record.n_rows);
  size_t kind = record.n_prefill_rows == 0 ? 1u : record.n_decode_rows == 0 ? 0u : 2u;  // prefill|decode|mixed
  observe(MetricId::kStepTime, seconds(record.took), kind);
  if (record.predicted > 0 && record.took > 0) {
    observe(MetricId::kStepRatio, static_cast<double>(record.predicted) / static_cast<double>(record.took));
  }
  if (record.hung()) add(MetricId::kHungSteps, 1);
  if (record.n_rows == 0) return;
  uint32_t n_again = std::min(record.n_recomputed_rows, record.n_rows);
  uint32_t n_draft = std::min(record.n_draft_rows, record.n_rows - n_again);
  uint32_t n_decode = std::min(record.n_decode_rows, record.n_rows - n_again - n_draft);
  uint32_t n_prefill = record.n_rows - n_again - n_draft - n_decode;
  double row_s = seconds(record.took) / record.n_rows;
  add(MetricId::kRequestCost, row_s * n_prefill, 0);
  add(MetricId::kRequestCost, row_s * n_decode, 1);
  add(MetricId::kRequestCost, row_s * n_draft, 3);
  add(MetricId::kRequestCost, row_s * n_again, 4);
}

void Metrics::take_engine_numbers(instance::Instance& instance) {
  engine::EngineStats stats = instance.stats();
  const instance::LoadEstimate& estimate = instance.estimate();
  const instance::InstanceFacts& facts = instance.facts();
  auto number = [](uint64_t value) { return static_cast<double>(value); };
  set(MetricId::kRequestsRunning, stats.n_running);
  set(MetricId::kRequestsWaiting, stats.n_waiting);
  set(MetricId::kWaitingByReason, stats.n_waiting - std::min(stats.n_deferred, stats.n_waiting), 0);
  set(MetricId::kWaitingByReason, std::min(stats.n_deferred, stats.n_waiting), 1);
  set(MetricId::kSleepState, 1, 0);
  uint32_t used = stats.kv_blocks_active + stats.kv_blocks_cooling;
  set(MetricId::kKvUsage, stats.kv_blocks_total == 0 ? 0.0 : number(used) / number(stats.kv_blocks_total));
  raise_to(MetricId::kPromptTokens, number(stats.prompt_tokens));
  raise_to(MetricId::kGenerationTokens, number(stats.generated_tokens));
  raise_to(MetricId::kPreemptions, number(stats.n_preemptions));
  raise_to(MetricId::kPrefixQueries, number(stats.prefix_query_tokens));
  raise_to(MetricId::kPrefixHits, number(stats.prefix_hit_tokens));
  raise_to(MetricId::kPromptTokensBySource,
           number(stats.prompt_tokens - std::min(stats.prefix_hit_tokens, stats.prompt_tokens)), 0);
  raise_to(MetricId::kPromptTokensBySource, number(stats.prefix_hit_tokens), 1);
  raise_to(MetricId::kPromptTokensCached, number(stats.prefix_hit_tokens));
  raise_to(MetricId::kPromptTokensCachedBySource, number(stats.prefix_hit_tokens), 0);
  raise_to(MetricId::kRecomputedTokens, number(stats.recomputed_tokens));
  raise_to(MetricId::kSharedPrefixTokens, number(stats.shared_hit_tokens));
  raise_to(MetricId::kAdmissionRejections, number(stats.n_refused_requests), 0);
  raise_to(MetricId::kAdmissionRejections, number(stats.n_refused_tokens), 1);
  raise_to(MetricId::kRequestsShed, number(stats.n_refused_requests), 0);
  raise_to(MetricId::kRequestsShed, number(stats.n_refused_tokens), 1);
  raise_to(MetricId::kKvEvictions, number(stats.n_evictions));
  raise_to(MetricId::kAccountingErrors, number(stats.n_accounting_errors));
  raise_to(MetricId::kKvSwapBytes, number(stats.tier_traffic.bytes_out), 0);
  raise_to(MetricId::kKvSwapBytes, number(stats.tier_traffic.bytes_in), 1);
  raise_to(MetricId::kSpillCorrupt, number(stats.tier_traffic.n_damaged));
  double block_bytes = stats.kv_blocks_total == 0 ? 0.0 : number(facts.kv_bytes) / number(stats.kv_blocks_total);
  set(MetricId::kKvTierBytes, block_bytes * number(used + stats.kv_blocks_cached), 0);
  set(MetricId::kKvTierBytes, block_bytes * number(stats.tier_entries), 2);
  set(MetricId::kKvDiskEntries, number(stats.tier_entries));
  raise_to(MetricId::kKvDiskSaved, number(stats.tier_saved_blocks));
  raise_to(MetricId::kKvDiskLoads, number(stats.tier_loads));
  raise_to(MetricId::kKvDiskFailedLoads, number(stats.tier_failed_loads));
  raise_to(MetricId::kKvDiskTokens, number(stats.tier_loaded_tokens));
  raise_to(MetricId::kKvSwappedOut, number(stats.swapped_out_blocks));
  raise_to(MetricId::kKvSwapLoads, number(stats.swap_loads));
  raise_to(MetricId::kGrammarDraftTokens, number(stats.draft_tokens));
  raise_to(MetricId::kGrammarJumpTokens, number(stats.draft_tokens_accepted));
  raise_to(MetricId::kConstraintCompleted, number(stats.constraints_completed));
  take(MetricId::kGrammarCompile, instance.constraints().compile_times());
  take(MetricId::kGrammarMask, instance.constraints().mask_times());
  set(MetricId::kRequestCost, value(MetricId::kGrammarCompile) + value(MetricId::kGrammarMask), 2);
  for (size_t i = 0; i < std::size(kPredictedPrompts); ++i) {
    set(MetricId::kPredictedTtft, estimate.ttft_s(stats, kPredictedPrompts[i]), i);
  }
  set(MetricId::kPredictedItl, estimate.itl_s());
  set(MetricId::kPredictedDrain, estimate.drain_s(stats.queued_tokens));
  set(MetricId::kQueuedPromptTokens, number(stats.queued_tokens));
  set(MetricId::kPrefillSpeed, estimate.prefill_tokens_per_s());
  set(MetricId::kDecodeSpeed, estimate.decode_tokens_per_s());
  set(MetricId::kKvBlocks, stats.kv_blocks_free, 0);
  set(MetricId::kKvBlocks, stats.kv_blocks_cached, 1);
  set(MetricId::kKvBlocks, stats.kv_blocks_active, 2);
  set(MetricId::kKvBlocks, stats.kv_blocks_cooling, 3);
  set(MetricId::kKvBlocks, stats.kv_blocks_quarantined, 5);
  set(MetricId::kMemoryBytes, number(facts.weight_bytes), 0);
  set(MetricId::kMemoryBytes, number(facts.kv_bytes), 1);
  set(MetricId::kMemoryBytes, number(facts.scratch_bytes), 2);
  set(MetricId::kHeartbeatAge, seconds(instance.stall_age()));
}

void Metrics::add_series(const MetricRow& row, const std::string& model, double max_len,
                         prometheus::MetricFamily& family) const {
  if (row.id == MetricId::kTenantService) {
    for (const auto& [name, n_tokens] : tenants_.tokens()) {
      prometheus::ClientMetric& metric = family.metric.emplace_back();
      metric.label = {{"engine", "0"}, {"model_name", model}, {std::string(row.label), name}};
      metric.counter.value = static_cast<double>(n_tokens);
    }
    return;
  }
  auto values = split_values(row.label_values);
  std::span<const double> bounds = metric_buckets(row.buckets);
  if (row.buckets == BucketSet::kTokens) bounds = bounds.first(std::min(bounds.size(), bucket_of(bounds, max_len) + 1));
  for (size_t i = 0; i < values.size(); ++i) {
    const Series& one = series(row.id, i);
    prometheus::ClientMetric metric;
    if (row.base == BaseLabels::kModelAndEngine) metric.label.push_back({"engine", "0"});
    metric.label.push_back({"model_name", model});
    if (!row.label.empty()) metric.label.push_back({std::string(row.label), std::string(values[i])});
    if (!row.fixed_label.empty()) metric.label.push_back({std::string(row.fixed_label), std::string(row.fixed_value)});
    double value = one.value.load(std::memory_order_relaxed);
    metric.counter.value = metric.gauge.value = metric.histogram.sample_sum = value;
    uint64_t total = 0;
    for (size_t b = 0; b < one.counts.size(); ++b) {
      total += one.counts[b].load(std::memory_order_relaxed);
      if (b < bounds.size()) metric.histogram.bucket.push_back({total, bounds[b]});
    }
    metric.histogram.sample_count = total;
    family.metric.push_back(std::move(metric));
  }
}

void Metrics::begin_instance() {
  for (const MetricRow& row : metric_table()) {
    if (row.kind != MetricKind::kCounter) continue;
    for (auto& one : rows_[static_cast<size_t>(row.id)]) one->before.store(one->value.load());
  }
}

void Metrics::take_numbers(instance::Instance* instance) {
  if (instance != nullptr) {
    take_engine_numbers(*instance);
  } else {  // a model that was unloaded shows no load
    for (const MetricRow& row : metric_table()) {
      if (row.kind != MetricKind::kGauge || is_counted_gauge(row.id)) continue;
      for (auto& one : rows_[static_cast<size_t>(row.id)]) one->value.store(0.0);
    }
  }
  auto state = static_cast<size_t>(instance == nullptr ? instance::InstanceState::kLoading : instance->state());
  for (size_t i = 0; i < rows_[static_cast<size_t>(MetricId::kEngineState)].size(); ++i) {
    set(MetricId::kEngineState, i == state ? 1.0 : 0.0, i);
  }
}

// Every family once, with the series of all models.
std::string Metrics::render(std::span<const MetricsOfModel> models, const BuildLabels& build) const {
  for (const MetricsOfModel& one : models) one.metrics->take_numbers(one.instance);
  std::vector<prometheus::MetricFamily> families;
  for (const MetricRow& row : metric_table()) {
    prometheus::MetricFamily& family = families.emplace_back();
    family.name = row.name;
    family.help = row.help;
    family.type = type_of(row.kind);
    for (const MetricsOfModel& one : models) {
      double max_len = one.instance == nullptr ? 0.0 : static_cast<double>(one.instance->facts().max_len);
      one.metrics->add_series(row, one.model, max_len, family);
    }
  }
  if (build.old_names) add_old_names(families);
  prometheus::MetricFamily cache = info_family("vllm:cache_config_info", "Settings of the KV cache.");
  prometheus::MetricFamily info = info_family("millrace:build_info", "What runs here.");
  for (const MetricsOfModel& one : models) {
    if (one.instance == nullptr) continue;
    const instance::InstanceFacts& facts = one.instance->facts();
    add_info(cache, cache_labels(*one.instance, one.instance->stats()));
    add_info(info, {{"commit", build.commit},
                    {"device", facts.device},
                    {"engine", "0"},
                    {"isa", facts.isa},
                    {"model_name", one.model},
                    {"version", build.version}});
  }
  if (!info.metric.empty()) {
    families.push_back(std::move(cache));
    families.push_back(std::move(info));
  }
  for (prometheus::MetricFamily& family : http.families()) {
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return std::move(out).str();
}

std::string Metrics::text(instance::Instance* instance, const BuildLabels& build) {
  std::lock_guard lock(snapshot_mutex_);
  Tick now = clock_.now();
  size_t loaded = instance != nullptr ? 1 : 0;
  if (snapshot_.empty() || now - snapshot_at_ >= kSnapshotAge || loaded != snapshot_loaded_) {
    MetricsOfModel one{
        .model = loaded == 0 ? "" : instance->facts().served_names.front(), .metrics = this, .instance = instance};
    snapshot_ = render({&one, 1}, build);
    snapshot_at_ = now;
    snapshot_loaded_ = loaded;
  }
  return snapshot_;
}

std::string Metrics::text_of_several(std::span<const MetricsOfModel> models, const BuildLabels& build) {
  std::lock_guard lock(snapshot_mutex_);
  Tick now = clock_.now();
  auto loaded = static_cast<size_t>(
      std::count_if(models.begin(), models.end(), [](const MetricsOfModel& one) { return one.instance != nullptr; }));
  if (snapshot_.empty() || now - snapshot_at_ >= kSnapshotAge || loaded != snapshot_loaded_) {
    std::vector<MetricsOfModel> all(models.begin(), models.end());
    all.push_back({.model = "", .metrics = this});
    snapshot_ = render(all, build);
    snapshot_at_ = now;
    snapshot_loaded_ = loaded;
  }
  return snapshot_;
}

}  // namespace millrace::server
