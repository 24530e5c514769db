// The load generator of `millrace bench serve`: sends streaming requests to any OpenAI-style server and times the
// chunks. One IO thread, coroutines, HTTP/1.1. Definitions (client clock, started just before the request is sent):
//   TTFT = first chunk with non-empty text; ITL = gaps between consecutive such chunks; E2E = last such chunk;
//   tokens = the server's usage chunk, else the number of such chunks.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace millrace::app {

struct BenchTarget {
  std::string host = "127.0.0.1";
  std::string port = "8000";
  std::string path = "/v1/chat/completions";
  std::vector<std::pair<std::string, std::string>> headers;
};

// "http://HOST:PORT[/base]" and an endpoint path.
Result<BenchTarget> parse_bench_url(const std::string& base_url, const std::string& endpoint);

struct BenchRequest {
  std::string body;      // JSON with "stream": true
  double arrival_s = 0;  // from the start of the run
};

struct BenchResult {
  std::string error;  // empty: completed
  double sent_s = 0;  // from the start of the run
  double ttft_s = 0;
  double e2e_s = 0;
  std::vector<double> itl_s;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
};

struct BenchRun {
  std::vector<BenchResult> results;  // in the order of the requests
  double duration_s = 0;             // first send to last end
  int64_t max_concurrent = 0;
};

// Sends every request at its arrival time, at most max_concurrency at once (0: no limit). progress is called with the
// number done, on the IO thread.
BenchRun run_bench(const BenchTarget& target, const std::vector<BenchRequest>& requests, int64_t max_concurrency,
                   void (*progress)(size_t done, size_t all));

// GET path; the status code, or 0 when there is no connection.
int http_get_status(const BenchTarget& target, const std::string& path);

struct HttpAnswer {
  int status = 0;
  std::string body;
};
// POST of a JSON body to target.path. kIo when there is no answer.
Result<HttpAnswer> http_post(const BenchTarget& target, const std::string& body);

}  // namespace millrace::app
