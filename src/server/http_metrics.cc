#include "server/http_metrics.h"

#include <fmt/core.h>
#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <span>
#include <utility>

namespace millrace::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// Left out, as vLLM leaves them out.
constexpr std::string_view kQuiet[] = {"/metrics", "/health", "/v1/health",   "/load",       "/ping",
                                       "/version", "/live",   "/health/live", "/server_info"};
constexpr std::string_view kMethods[] = {"GET", "HEAD", "POST", "OPTIONS"};

MetricFamily family_of(std::string name, std::string help, MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  return family;
}

std::string text(std::string_view value) { return std::string(value); }

void count(std::span<const double> bounds, double seconds, double& sum, std::vector<uint64_t>& counts) {
  counts.resize(bounds.size() + 1);
  ++counts[static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin())];
  sum += seconds;
}

void add_histogram(MetricFamily& family, Labels labels, std::span<const double> bounds, double sum,
                   const std::vector<uint64_t>& counts) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = std::move(labels);
  uint64_t total = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    total += counts[i];
    if (i < bounds.size()) metric.histogram.bucket.push_back({total, bounds[i]});
  }
  metric.histogram.sample_count = total;
  metric.histogram.sample_sum = sum;
}

void add_summary(MetricFamily& family, std::string_view handler, uint64_t n, uint64_t sum) {
  ClientMetric& metric = family.metric.emplace_back();
  metric.label = {{"handler", text(handler)}};
  metric.summary.sample_count = n;
  metric.summary.sample_sum = static_cast<double>(sum);
}

void add_value(std::vector<MetricFamily>& out, const char* name, const char* help, MetricType type, double value) {
  MetricFamily& family = out.emplace_back(family_of(name, help, type));
  ClientMetric& metric = family.metric.emplace_back();
  metric.counter.value = metric.gauge.value = value;
}

// Since Linux 6.2 the folder's size says it; before, its entries are counted.
double n_open_files() {
  struct stat info {};
  if (::stat("/proc/self/fd", &info) == 0 && info.st_size > 0) return static_cast<double>(info.st_size);
  std::error_code error;
  double n = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    ++n;
  }
  return n;
}

// Of the Prometheus clients: man 5 proc, getrusage(2).
void add_process(double started_unix, std::vector<MetricFamily>& out) {
  double pages_total = 0;
  double pages_resident = 0;
  std::ifstream("/proc/self/statm") >> pages_total >> pages_resident;
  auto page = static_cast<double>(sysconf(_SC_PAGESIZE));
  add_value(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.", MetricType::Gauge,
            pages_total * page);
  add_value(out, "process_resident_memory_bytes", "Resident memory size in bytes.", MetricType::Gauge,
            pages_resident * page);
  add_value(out, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
            MetricType::Gauge, started_unix);
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  add_value(out, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", MetricType::Counter,
            seconds(use.ru_utime) + seconds(use.ru_stime));
  add_value(out, "process_open_fds", "Number of open file descriptors.", MetricType::Gauge, n_open_files());
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  add_value(out, "process_max_fds", "Maximum number of open file descriptors.", MetricType::Gauge,
            static_cast<double>(limit.rlim_cur));
}

}  // namespace

std::string_view HttpMetrics::method_name(std::string_view method) {
  const auto* found = std::find(std::begin(kMethods), std::end(kMethods), method);
  return found == std::end(kMethods) ? "other" : *found;
}

void HttpMetrics::add(const HttpSample& sample) {
  if (std::find(std::begin(kQuiet), std::end(kQuiet), sample.handler) != std::end(kQuiet)) return;
  constexpr int kLeft = 499;  // the client left: the status that proxies log for that
  int status = (sample.status == 0 ? kLeft : sample.status) / 100;
  std::string_view method = sample.method;
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - sample.begin).count();
  std::lock_guard lock(mutex_);
  ++requests_[{sample.handler, method, status}];
  Times& times = times_[{sample.handler, method}];
  count(kBuckets, seconds, times.sum_s, times.counts);
  count(kFineBuckets, seconds, fine_.sum_s, fine_.counts);
  Sizes& sizes = sizes_[sample.handler];
  ++sizes.n;
  sizes.request_bytes += sample.request_bytes;
  sizes.reply_bytes += sample.reply_bytes;
}

std::vector<MetricFamily> HttpMetrics::families() const {
  std::vector<MetricFamily> out;
  MetricFamily requests =
      family_of("http_requests_total", "Total number of requests by method, status and handler.", MetricType::Counter);
  MetricFamily times =
      family_of("http_request_duration_seconds", "Latency with only few buckets by handler.", MetricType::Histogram);
  MetricFamily fine = family_of("http_request_duration_highr_seconds",
                                "Latency with many buckets but no API specific labels.", MetricType::Histogram);
  MetricFamily asked =
      family_of("http_request_size_bytes", "Content length of incoming requests by handler.", MetricType::Summary);
  MetricFamily replied =
      family_of("http_response_size_bytes", "Content length of outgoing responses by handler.", MetricType::Summary);
  {
    std::lock_guard lock(mutex_);
    for (const auto& [key, n] : requests_) {
      ClientMetric& metric = requests.metric.emplace_back();
      const auto& [handler, method, status] = key;
      metric.label = {{"handler", text(handler)}, {"method", text(method)}, {"status", fmt::format("{}xx", status)}};
      metric.counter.value = static_cast<double>(n);
    }
    for (const auto& [key, one] : times_) {
      Labels labels = {{"handler", text(std::get<0>(key))}, {"method", text(std::get<1>(key))}};
      add_histogram(times, std::move(labels), kBuckets, one.sum_s, one.counts);
    }
    if (!fine_.counts.empty()) add_histogram(fine, {}, kFineBuckets, fine_.sum_s, fine_.counts);
    for (const auto& [handler, sizes] : sizes_) {
      add_summary(asked, handler, sizes.n, sizes.request_bytes);
      add_summary(replied, handler, sizes.n, sizes.reply_bytes);
    }
  }
  for (MetricFamily* one : {&requests, &times, &fine, &asked, &replied}) out.push_back(std::move(*one));
  add_process(started_unix_, out);
  return out;
}

}  // namespace millrace::server
