// Metrics: the numbers behind /metrics. Writers add to atomics and never wait; the text is rendered at most every 25 ms
// from those and from one copy of the engine's statistics.
//  1. Counters never fall. 2. Every row of metric_table() is always present, zero until something happens.
// Thread: any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/durations.h"
#include "base/result.h"
#include "engine/engine.h"
#include "instance/session.h"
#include "server/http_metrics.h"
#include "server/metric_table.h"
#include "server/tenant_service.h"

namespace prometheus {
struct MetricFamily;
}
namespace millrace::instance {
class Instance;
}

namespace millrace::server {

class Metrics;

// What of an exposition is the same for all models.
struct BuildLabels {
  std::string version;  // labels of millrace:build_info
  std::string commit;
  bool old_names = false;  // metrics under the names that older versions of vLLM had, too
};

// One model of several: its numbers, and its instance while it is loaded.
struct MetricsOfModel {
  std::string model;
  Metrics* metrics = nullptr;
  instance::Instance* instance = nullptr;
};

class Metrics final : public instance::SessionObserver, public engine::StepObserver {
 public:
  Metrics();
  ~Metrics() override;

  HttpMetrics http;  // of the server; those of a model stay empty

  // label_idx: place in the row's label_values; 0 for rows without a label.
  void add(MetricId id, double value, size_t label_idx = 0);  // counters; gauges that go up and down
  void observe(MetricId id, double value, size_t label_idx = 0);
  double value(MetricId id, size_t label_idx = 0) const;  // counters and gauges; of a histogram the sum
  uint64_t longest_sequence() const { return longest_.load(std::memory_order_relaxed); }  // tokens, of those ended

  // A request that was refused or failed with this code; full queues of an engine are counted there.
  void count_refusal(ErrorCode code);

  // instance::SessionObserver
  void on_first_token(Tick since_arrival) override;
  void on_token_gap(Tick gap) override;
  void on_late_token() override;
  void on_choice(const instance::ChoiceStats& stats) override;
  void on_admitted(uint32_t n) override;
  void on_text_queue_full() override;
  void on_ttft_ratio(double predicted_over_actual) override;
  // engine::StepObserver; thread: engine.
  void on_step(const engine::StepRecord& record) override;

  // A new instance counts from zero; its counts are added to those of the ones before. Before its first scrape.
  void begin_instance();
  // Takes the last counts of an instance that goes.
  void end_instance(instance::Instance& instance) { take_engine_numbers(instance); }

  // Totals of the server's KV events so far.
  void take_kv_events(uint64_t n_sent, uint64_t n_dropped);

  // The text exposition (version 0.0.4). `instance` is null while loading.
  std::string text(instance::Instance* instance, const BuildLabels& build);
  // The same for a server with several models: these numbers are the server's own, under the model name "".
  std::string text_of_several(std::span<const MetricsOfModel> models, const BuildLabels& build);

 private:
  struct Series;
  std::string render(std::span<const MetricsOfModel> models, const BuildLabels& build) const;
  void take_numbers(instance::Instance* instance);
  void add_series(const MetricRow& row, const std::string& model, double max_len,
                  prometheus::MetricFamily& family) const;
  void take_engine_numbers(instance::Instance& instance);
  void set(MetricId id, double value, size_t label_idx = 0);
  void take(MetricId id, Durations& durations);                    // a histogram kept elsewhere
  void raise_to(MetricId id, double value, size_t label_idx = 0);  // a counter kept elsewhere
  Series& series(MetricId id, size_t label_idx) const;

  TenantService tenants_;
  std::vector<std::vector<std::unique_ptr<Series>>> rows_;  // [MetricId][label value]
  std::atomic<uint64_t> longest_{0};
  SystemClock clock_;
  std::mutex snapshot_mutex_;
  std::string snapshot_;        // guarded by snapshot_mutex_
  Tick snapshot_at_ = 0;        // guarded by snapshot_mutex_
  size_t snapshot_loaded_ = 0;  // guarded by snapshot_mutex_; instances in it
};

// The bucket of a value: the first upper bound that is not below it; bounds.size() beyond all.
size_t bucket_of(std::span<const double> bounds, double value);
// Values of a "|" list.
std::vector<std::string_view> split_values(std::string_view values);

}  // namespace millrace::server
