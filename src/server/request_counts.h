// What a request counts for while it is received and answered: each of these gives it back at its end, however that
// comes. Thread: the connection's IO thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "server/context.h"

namespace millrace::server {

constexpr int64_t kLargeBody = 256 * 1024;  // smaller bodies are always received

// Given back when the answer has ended.
struct KeyPlace {
  KeyPlace(ServerContext& in, uint32_t of) : context(in), tenant(of) {}
  ~KeyPlace() { context.leave_key(tenant); }
  KeyPlace(const KeyPlace&) = delete;
  KeyPlace& operator=(const KeyPlace&) = delete;
  ServerContext& context;
  uint32_t tenant;
};

// Counts the request once its answer has ended.
struct CountedRequest {
  CountedRequest(ServerContext& in, const HttpSample& of) : context(in), sample(of) {}
  ~CountedRequest() { context.metrics.http.add(sample); }
  CountedRequest(const CountedRequest&) = delete;
  CountedRequest& operator=(const CountedRequest&) = delete;
  ServerContext& context;
  const HttpSample& sample;
};

struct CallCount {
  explicit CallCount(ServerContext& in) : context(in) { context.n_calls.fetch_add(1); }
  ~CallCount() { context.n_calls.fetch_sub(1); }
  CallCount(const CallCount&) = delete;
  CallCount& operator=(const CallCount&) = delete;
  ServerContext& context;
};

// The part of one body in all that are being received.
struct BodyBytes {
  explicit BodyBytes(ServerContext& in) : context(in) {}
  ~BodyBytes() { context.body_bytes.fetch_sub(n_bytes); }
  BodyBytes(const BodyBytes&) = delete;
  BodyBytes& operator=(const BodyBytes&) = delete;
  // False when all bodies together are too large and this is one of those to blame.
  bool add(size_t n) {
    n_bytes += static_cast<int64_t>(n);
    int64_t all = context.body_bytes.fetch_add(static_cast<int64_t>(n)) + static_cast<int64_t>(n);
    return n_bytes < kLargeBody || all <= context.options.limits[LimitId::kQueuedBytes];
  }
  ServerContext& context;
  int64_t n_bytes = 0;
};

}  // namespace millrace::server
