// TraceExporter: sends spans to a collector (OTLP over HTTP, JSON). What a collector cannot take is dropped and said so
// in the log: a request never waits for it.
//  1. At most kMostWaiting spans wait. 2. One batch is under way at a time.
// Thread: add() any; sending on a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/traces.h"

namespace millrace::server {

struct TraceOptions {
  std::string endpoint;              // URL of /v1/traces; empty: no traces
  std::string service = "millrace";  // service.name
  std::vector<std::string> headers;  // "name: value" of each request to the collector
  std::string version;               // of the program
};

class TraceExporter {
 public:
  explicit TraceExporter(TraceOptions options);
  // Sends what waits, for two seconds at most.
  ~TraceExporter();
  TraceExporter(const TraceExporter&) = delete;
  TraceExporter& operator=(const TraceExporter&) = delete;

  bool wanted() const { return !options_.endpoint.empty(); }
  void add(Span span);
  uint64_t n_dropped() const { return n_dropped_.load(); }

 private:
  static constexpr size_t kMostWaiting = 4096;
  static constexpr size_t kBatch = 256;
  void run();
  bool send(const std::string& body);

  TraceOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Span> waiting_;  // guarded by mutex_
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> n_dropped_{0};
  std::thread thread_;  // last: uses the rest
};

}  // namespace millrace::server
