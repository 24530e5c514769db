// HttpMetrics: the http_* families that vLLM's dashboards know (names, labels and buckets of
// prometheus-fastapi-instrumentator 7) and process_* of the Prometheus clients. The handler is the route's row, never
// what a client wrote, so no client can add a series. Probes and scrapes are not counted.
// Thread: any; a short lock.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace prometheus {
struct MetricFamily;
}

namespace millrace::server {

struct HttpSample {
  std::chrono::steady_clock::time_point begin;  // when the head was there
  std::string_view handler;                     // of the route table; "none": no such route
  std::string_view method;                      // a method_name()
  int status = 0;                               // 0: the client left before there was one
  uint64_t request_bytes = 0;                   // of the body
  uint64_t reply_bytes = 0;
};

class HttpMetrics {
 public:
  static constexpr std::array<double, 3> kBuckets = {.1, .5, 1};
  static constexpr std::array<double, 21> kFineBuckets = {.01, .025, .05, .075, .1,  .25, .5,  .75, 1,  1.5, 2,
                                                          2.5, 3,    3.5, 4,    4.5, 5,   7.5, 10,  30, 60};

  // GET, HEAD, POST, OPTIONS or "other": a text that stays.
  static std::string_view method_name(std::string_view method);
  void add(const HttpSample& sample);
  // http_requests_total and the others, then process_*.
  std::vector<prometheus::MetricFamily> families() const;

 private:
  struct Times {
    double sum_s = 0;
    std::vector<uint64_t> counts;  // per bucket, and one beyond
  };
  struct Sizes {
    uint64_t n = 0;
    uint64_t request_bytes = 0;
    uint64_t reply_bytes = 0;
  };
  using Handler = std::string_view;  // of constant data
  using Method = std::string_view;   // the same

  const double started_unix_ = static_cast<double>(std::time(nullptr));
  mutable std::mutex mutex_;
  std::map<std::tuple<Handler, Method, int>, uint64_t> requests_;  // guarded by mutex_; by class of status
  std::map<std::tuple<Handler, Method>, Times> times_;             // guarded by mutex_
  std::map<Handler, Sizes> sizes_;                                 // guarded by mutex_
  Times fine_;                                                     // guarded by mutex_
};

}  // namespace millrace::server
