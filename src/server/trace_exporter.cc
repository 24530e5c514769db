#include "server/trace_exporter.h"

#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/macros.h"

namespace millrace::server {
namespace {

constexpr auto kPatience = std::chrono::milliseconds(500);  // a span waits so long for others
constexpr auto kRetryPause = std::chrono::seconds(1);
constexpr long kSendMs = 5000;
constexpr long kLastMs = 2000;  // once the server stops
constexpr int kTries = 3;

size_t ignore_body(char*, size_t size, size_t n, void*) { return size * n; }

}  // namespace

TraceExporter::TraceExporter(TraceOptions options) : options_(std::move(options)) {
  if (wanted() && curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK) thread_ = std::thread([this] { run(); });
}

TraceExporter::~TraceExporter() {
  {
    std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void TraceExporter::add(Span span) {
  if (!wanted()) return;
  std::lock_guard lock(mutex_);
  if (waiting_.size() >= kMostWaiting) {
    n_dropped_.fetch_add(1);
    return;
  }
  waiting_.push_back(std::move(span));
  changed_.notify_one();
}

void TraceExporter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopping_.load() || !waiting_.empty(); });
    if (waiting_.empty()) return;
    changed_.wait_for(lock, kPatience, [&] { return stopping_.load() || waiting_.size() >= kBatch; });
    size_t n = std::min(waiting_.size(), kBatch);
    auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(n);
    std::vector<Span> batch(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
    lock.unlock();
    std::string body = otlp_json(batch, options_.service, options_.version);
    bool sent = send(body);
    for (int tries = 1; !sent && tries < kTries && !stopping_.load(); ++tries) {
      std::this_thread::sleep_for(kRetryPause);
      sent = send(body);
    }
    if (!sent) {
      n_dropped_.fetch_add(n);
      LOG(LogLevel::kWarning, "traces: {} spans could not be sent to {}", n, quote_for_message(options_.endpoint));
    }
    lock.lock();
    if (!sent && stopping_.load()) return;
  }
}

bool TraceExporter::send(const std::string& body) {
  CURL* curl = curl_easy_init();
  if (curl == nullptr) return false;
  curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/json");
  for (const std::string& header : options_.headers) headers = curl_slist_append(headers, header.c_str());
  curl_easy_setopt(curl, CURLOPT_URL, options_.endpoint.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, stopping_.load() ? kLastMs : kSendMs);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore_body);
  long status = 0;
  bool done = curl_easy_perform(curl) == CURLE_OK;
  if (done) curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  constexpr long kFirstOk = 200;
  constexpr long kFirstOther = 300;
  return done && status >= kFirstOk && status < kFirstOther;
}

}  // namespace millrace::server
