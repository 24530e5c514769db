#include "server/model_choice.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/json.h"
#include "server/connection.h"

namespace millrace::server {
namespace asio = boost::asio;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr size_t kEnd = std::string_view::npos;
constexpr size_t kMostValueBytes = 1024;  // of a name or a time: this is read on the IO thread

size_t skip_space(std::string_view text, size_t at) {
  return std::min(text.find_first_not_of(kSpace, at), text.size());
}

// Behind the closing quote of the string that begins at `at`; kEnd when it has none.
size_t end_of_string(std::string_view text, size_t at) {
  size_t i = at + 1;
  while ((i = text.find_first_of("\"\\", i)) != kEnd) {
    if (text[i] == '"') return i + 1;
    i += 2;  // an escape
  }
  return kEnd;
}

// Behind the value that begins at `at`; kEnd when the text ends first.
size_t end_of_value(std::string_view text, size_t at) {
  size_t depth = 0;
  while (at < text.size()) {
    char c = text[at];
    if (c == '"') {
      at = end_of_string(text, at);
      if (at == kEnd) return kEnd;
    } else if (c == '{' || c == '[') {
      ++depth;
      ++at;
      continue;
    } else if (c == '}' || c == ']') {
      if (depth == 0) return at;
      --depth;
      ++at;
    } else if (depth == 0 && (c == ',' || kSpace.find(c) != kEnd)) {
      return at;
    } else {
      ++at;
      continue;
    }
    if (depth == 0) return at;
  }
  return depth == 0 ? at : kEnd;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool escaped = text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    if (escaped) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

bool is_ollama(RouteId id) {
  return id == RouteId::kOllamaGenerate || id == RouteId::kOllamaChat || id == RouteId::kOllamaEmbed ||
         id == RouteId::kOllamaEmbeddings;
}

// What a client hears of a load that failed: of room everything, of files nothing.
Error told(const Error& error) {
  switch (error.code) {
    case ErrorCode::kResource:
      return {ErrorCode::kMemoryPressure, error.message, "model"};
    case ErrorCode::kUsage:
    case ErrorCode::kBadFile:
    case ErrorCode::kNotFound:
    case ErrorCode::kIo:
    case ErrorCode::kInternal:
      return {ErrorCode::kInternal, "the model could not be loaded: the server's log says why", "model"};
    default:
      return error;
  }
}

TimePoint deadline_of(const ServerContext& context, const HttpRequest& request) {
  int64_t ms = context.options.limits[LimitId::kRequestTimeoutSeconds] * 1000;
  if (const std::string* text = request.header("x-request-timeout-ms")) {
    int64_t wanted = 0;
    auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), wanted);
    if (error == std::errc() && wanted > 0) ms = std::min(ms, wanted);
  }
  return steady_clock::now() + milliseconds(ms);
}

}  // namespace

std::string_view find_member(std::string_view body, std::string_view name) {
  size_t at = skip_space(body, 0);
  if (at >= body.size() || body[at] != '{') return {};
  at = skip_space(body, at + 1);
  while (at < body.size() && body[at] == '"') {
    size_t key_end = end_of_string(body, at);
    if (key_end == kEnd) return {};
    std::string_view key = body.substr(at + 1, key_end - at - 2);
    at = skip_space(body, key_end);
    if (at >= body.size() || body[at] != ':') return {};
    at = skip_space(body, at + 1);
    size_t end = end_of_value(body, at);
    if (end == kEnd) return {};
    if (key == name) return body.substr(at, end - at);
    at = skip_space(body, end);
    if (at >= body.size() || body[at] != ',') return {};
    at = skip_space(body, at + 1);
  }
  return {};
}

std::string_view model_of_path(std::string_view path, std::string_view root) {
  constexpr std::string_view kPrefix = "/v2/models/";
  if (path.starts_with(root)) path.remove_prefix(root.size());
  if (!path.starts_with(kPrefix)) return {};
  path.remove_prefix(kPrefix.size());
  path = path.substr(0, path.rfind('/'));
  return path.substr(0, path.find("/versions/"));
}

std::string query_value(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (part.size() > name.size() && part.starts_with(name) && part[name.size()] == '=') {
      return unescape(part.substr(name.size() + 1));
    }
  }
  return {};
}

std::string named_model(const ServerContext& context, const HttpRequest& request) {
  if (std::string_view name = model_of_path(request.path, context.options.root_path); !name.empty()) {
    return std::string(name);
  }
  std::string_view value = find_member(request.body, "model");
  if (value.starts_with('"') && value.size() <= kMostValueBytes) {
    if (auto name = parse_json(value); name.ok() && name->is_string()) return name->as_string();
  }
  return query_value(request.query, "model");
}

std::optional<Tick> parse_keep_alive(std::string_view json_text) {
  if (json_text.size() > kMostValueBytes) return std::nullopt;
  Result<Json> value = parse_json(json_text);
  if (!value.ok()) return std::nullopt;
  constexpr double kMost = 1e9;  // seconds; more is for ever
  double seconds = 0;
  if (value->is_number()) {
    seconds = value->as_double();
  } else if (value->is_string()) {
    std::string_view text = value->as_string();
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
      double number = 0;
      auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      if (error != std::errc() || !std::isfinite(number)) return std::nullopt;
      text.remove_prefix(static_cast<size_t>(end - text.data()));
      struct Unit {
        std::string_view name;
        double seconds;
      };
      constexpr Unit kUnits[] = {{"ms", 1e-3}, {"h", 3600}, {"m", 60}, {"s", 1}};
      double unit = 1;
      for (const Unit& one : kUnits) {
        if (!text.starts_with(one.name)) continue;
        text.remove_prefix(one.name.size());
        unit = one.seconds;
        break;
      }
      seconds += number * unit;
    }
  } else {
    return std::nullopt;
  }
  if (!(seconds >= 0 && seconds <= kMost)) return instance::kForever;  // also the sum of what cancels out
  return static_cast<Tick>(seconds * static_cast<double>(kSecond));
}

asio::awaitable<Result<instance::ModelUse>> model_for(Connection& connection, const HttpRequest& request,
                                                      const Route& route) {
  ServerContext& context = connection.context();
  if (context.models == nullptr || !context.ready() || !context.serving()) co_return context.loaded_model();
  Result<instance::ModelUse> use = context.models->use(named_model(context, request));
  if (!use.ok()) co_return use.take_error();
  if (is_ollama(route.id)) {
    std::optional<Tick> keep = parse_keep_alive(find_member(request.body, "keep_alive"));
    use->set_keep_alive(keep.value_or(context.models->options().keep_alive));
  }
  TimePoint deadline = deadline_of(context, request);
  while (use->instance() == nullptr) {
    if (std::optional<Error> error = use->failure()) co_return told(*error);
    if (connection.gone()) co_return Error{ErrorCode::kCancelled, "the client left", ""};
    if (!context.serving()) co_return Error{ErrorCode::kDraining, "the server is shutting down", ""};
    if (steady_clock::now() >= deadline) {
      co_return Error{ErrorCode::kDeadlineExceeded, "the model was not loaded in the time of the request", ""};
    }
    connection.listen();
    co_await connection.event().wait_until(deadline);
  }
  if (use->instance()->state() == instance::InstanceState::kDead) {
    co_return Error{ErrorCode::kEngineDead, "the engine has stopped", ""};
  }
  co_return use;
}

void refuse_model(Connection& connection, const HttpRequest& request, const Route& route, const Error& error) {
  if (error.code == ErrorCode::kCancelled) {
    connection.close_after_this();
    return;
  }
  connection.send_reply(request, connection.context().error_reply({error}, route.errors));
}

}  // namespace millrace::server
