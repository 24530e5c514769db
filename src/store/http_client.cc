#include "store/http_client.h"

#include <curl/curl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/macros.h"
#include "store/files.h"

namespace millrace::store {
namespace {

constexpr long kMaxRedirects = 10;
constexpr long kConnectSeconds = 20;
constexpr long kStallBytes = 1024;  // per second

std::string shown(const std::string& url) {
  constexpr size_t kMaxUrl = 300;
  return quote_for_message(url, kMaxUrl);
}

// curl's global state, made once and never taken down: the process ends with it.
bool curl_ready() {
  static const bool kReady = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return kReady;
}

struct HeaderList {
  ~HeaderList() { curl_slist_free_all(rows); }
  curl_slist* rows = nullptr;
};

// Where the bytes of one transfer go.
struct Sink {
  CURL* curl = nullptr;
  std::string* text = nullptr;  // one of these two
  std::FILE* file = nullptr;
  uint64_t max_bytes = UINT64_MAX;  // of text
  uint64_t bytes = 0;
  bool asked_range = false;
  bool began = false;
  bool write_failed = false;
  bool stopped = false;
  const HttpClient::ProgressFn* progress = nullptr;
};

// A body that is not the one asked for (an error page) is not written.
bool begin(Sink& sink) {
  sink.began = true;
  long status = 0;
  curl_easy_getinfo(sink.curl, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200 && status != 206) return false;
  if (sink.file == nullptr || !sink.asked_range || status == 206) return true;
  // everything is sent again
  sink.bytes = 0;
  return std::fflush(sink.file) == 0 && ftruncate(fileno(sink.file), 0) == 0 && std::fseek(sink.file, 0, SEEK_SET) == 0;
}

size_t take(char* bytes, size_t, size_t n, void* user) {
  Sink& sink = *static_cast<Sink*>(user);
  if (!sink.began && !begin(sink)) return 0;
  if (sink.text != nullptr) {
    if (sink.text->size() + n > sink.max_bytes) return 0;
    sink.text->append(bytes, n);
  } else if (std::fwrite(bytes, 1, n, sink.file) != n) {
    sink.write_failed = true;
    return 0;
  }
  sink.bytes += n;
  return n;
}

int watch(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  Sink& sink = *static_cast<Sink*>(user);
  sink.stopped = sink.progress != nullptr && *sink.progress && !(*sink.progress)(sink.bytes);
  return sink.stopped ? 1 : 0;
}

}  // namespace

struct HttpClient::State {
  HttpOptions options;
  CURL* curl = nullptr;
  std::array<char, CURL_ERROR_SIZE> message{};

  // Runs one GET; the status in `status`.
  CURLcode run(const std::string& url, Sink& sink, uint64_t from, long& status) {
    curl_easy_reset(curl);
    message.fill(0);
    sink.curl = curl;
    HeaderList headers;
    if (!options.token.empty()) {
      // curl sends it to other hosts of a redirect only when told to, which it is not
      curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, options.token.c_str());
      curl_easy_setopt(curl, CURLOPT_HTTPAUTH, long{CURLAUTH_BEARER});
    }
    headers.rows = curl_slist_append(headers.rows, "Accept: */*");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.rows);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message.data());
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kMaxRedirects);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, url.starts_with("https:") ? "https" : "http,https");
    if (const char* bundle = std::getenv("SSL_CERT_FILE"); bundle != nullptr && *bundle != 0)
      curl_easy_setopt(curl, CURLOPT_CAINFO, bundle);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStallBytes);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_s));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &sink);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (from > 0) curl_easy_setopt(curl, CURLOPT_RANGE, fmt::format("{}-", from).c_str());
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return code;
  }
  std::string why(CURLcode code) const { return message[0] != 0 ? message.data() : curl_easy_strerror(code); }
};

HttpClient::HttpClient(HttpOptions options) : state_(std::make_unique<State>()) {
  CHECK(curl_ready());
  state_->options = std::move(options);
  state_->curl = curl_easy_init();
  CHECK(state_->curl != nullptr);
}
HttpClient::~HttpClient() { curl_easy_cleanup(state_->curl); }

namespace {

Error refused(const std::string& url, long status) {
  std::string hint;
  if (status == 401 || status == 403) hint = ": no such model, or it needs a token (--hf-token or HF_TOKEN)";
  return {status == 404 ? ErrorCode::kNotFound : ErrorCode::kIo,
          fmt::format("{} answered {}{}", shown(url), status, hint), ""};
}

}  // namespace

Result<std::string> HttpClient::get(const std::string& url, uint64_t max_bytes) {
  std::string text;
  Sink sink{.text = &text, .max_bytes = max_bytes};
  long status = 0;
  CURLcode code = state_->run(url, sink, 0, status);
  if (status >= 400) return refused(url, status);
  if (code != CURLE_OK) {
    bool too_long = code == CURLE_WRITE_ERROR && text.size() <= max_bytes && status == 200;
    return Error{
        ErrorCode::kIo,
        fmt::format("{}: {}", shown(url), too_long ? fmt::format("more than {} bytes", max_bytes) : state_->why(code)),
        ""};
  }
  if (status != 200) return refused(url, status);
  return text;
}

Result<Transfer> HttpClient::download(const std::string& url, std::FILE* out, uint64_t have,
                                      const ProgressFn& progress) {
  Sink sink{.file = out, .bytes = have, .asked_range = have > 0, .progress = &progress};
  long status = 0;
  CURLcode code = state_->run(url, sink, have, status);
  if (std::fflush(out) != 0 || sink.write_failed) return cannot_write();
  Transfer transfer{.bytes = sink.bytes, .cancelled = sink.stopped};
  if (sink.stopped) return transfer;
  // 416: the range begins at the end of the file, all of it is here
  if (status == 416 && have > 0) return Transfer{.bytes = have, .complete = true};
  if (code == CURLE_TOO_MANY_REDIRECTS || code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_PEER_FAILED_VERIFICATION)
    return Error{ErrorCode::kIo, fmt::format("{}: {}", shown(url), state_->why(code)), ""};
  if (status >= 400 && status < 500 && status != 408 && status != 429) return refused(url, status);
  if (status >= 400) {
    transfer.problem = fmt::format("the server answered {}", status);
  } else if (code != CURLE_OK) {
    transfer.problem = state_->why(code);
  } else {
    transfer.complete = true;
  }
  return transfer;
}

}  // namespace millrace::store
