// Fetching over HTTP and HTTPS for the model store, on libcurl: redirects, certificates of the system, proxies of the
// environment (http_proxy, https_proxy, no_proxy), resume. Thread: one at a time; blocks.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"

namespace millrace::store {

struct HttpOptions {
  std::string token;      // sent as a bearer token to the first host only, not where it redirects
  uint32_t stall_s = 10;  // a transfer below 1 KB/s for so long is given up
};

// What a download has come to. Nothing received is lost: the file holds it.
struct Transfer {
  uint64_t bytes = 0;      // in the file now
  bool complete = false;   // the server has sent what it announced
  bool cancelled = false;  // progress said stop
  std::string problem;     // why it is not complete, for a message
};

class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();

  // The body of a 200. kNotFound for 404; kIo names the URL and the status or what curl says; a body above max_bytes is
  // refused.
  Result<std::string> get(const std::string& url, uint64_t max_bytes);
  // Appends url to out, which holds have bytes already (asked for with a range; a server that sends everything again
  // starts the file anew). progress(bytes now) -> false stops. Errors are those that trying again cannot mend.
  using ProgressFn = std::function<bool(uint64_t)>;
  Result<Transfer> download(const std::string& url, std::FILE* out, uint64_t have, const ProgressFn& progress);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace millrace::store
