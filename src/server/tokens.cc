#include "server/tokens.h"

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "api/fields.h"
#include "api/tokenize.h"
#include "base/macros.h"
#include "server/connection.h"
#include "server/handlers.h"
#include "server/model_choice.h"
#include "server/text_work.h"

namespace millrace::server {
namespace asio = boost::asio;
namespace {

constexpr size_t kPieceBytes = 128 * 1024;  // of a reply made at once: about 1 ms of a worker
constexpr auto kRetryPiece = std::chrono::milliseconds(20);

using TokenReply = std::variant<api::TokenizeReply, api::DetokenizeReply>;

Result<TokenReply> make_reply(const ServerContext& context, instance::Instance& instance, std::string body,
                              RouteId route) {
  instance::TextSide& text = instance.text();
  Json parsed = TRY(api::parse_body(std::exchange(body, {}), context.options.limits));
  if (route == RouteId::kDetokenize) {
    auto request = TRY(api::parse_detokenize(parsed, parse_context(context, instance)));
    parsed = {};
    bool content = api::compat_profile(context.options.compat).detokenize_content;
    return TokenReply(
        api::DetokenizeReply(text.tokenizer(), std::move(request.tokens), content ? "content" : "prompt"));
  }
  auto request = TRY(api::parse_tokenize(std::move(parsed), parse_context(context, instance)));
  std::vector<TokenId> tokens = TRY(text.tokenize(request));
  auto bytes_of = [&tokenizer = text.tokenizer()](TokenId id) { return tokenizer.token_bytes(id); };
  return TokenReply(api::TokenizeReply(request, std::move(tokens), instance.facts().max_len, bytes_of));
}

// One reply being made, by the worker, and sent, by the IO thread; never both at once.
struct TokenAnswer {
  std::optional<TokenReply> reply;
  std::optional<Error> error;
  std::string piece;
  bool more = false;

  void begin(const ServerContext& context, instance::Instance& instance, std::string body, RouteId route) {
    Result<TokenReply> made = make_reply(context, instance, std::move(body), route);
    if (!made.ok()) {
      error = made.take_error();
      return;
    }
    reply.emplace(std::move(made).value());
    go_on();
  }
  void go_on() {
    more = std::visit([&](auto& one) { return one.append(piece, kPieceBytes); }, *reply);
  }
};

// Waits until the socket has taken everything; false when it never will.
asio::awaitable<bool> all_sent(Connection& connection) {
  while (connection.unsent() > 0 && !connection.gone() && !connection.stalled()) {
    connection.listen();
    co_await connection.event().wait_until(connection.stall_deadline());
  }
  co_return connection.unsent() == 0 && !connection.gone();
}

// The next piece; a full queue of workers only delays it.
asio::awaitable<bool> next_piece(Connection& connection, instance::Instance& instance, TokenAnswer& answer) {
  while (true) {
    Result<void> made = co_await run_on_text_worker(connection, instance, kPieceBytes, [&answer] { answer.go_on(); });
    if (made.ok()) co_return true;
    if (made.error().code != ErrorCode::kQueueFull || connection.gone()) co_return false;
    connection.listen();
    co_await connection.event().wait_until(std::chrono::steady_clock::now() + kRetryPiece);
  }
}

// A reply of which the first piece is there and more is to come.
asio::awaitable<void> send_in_chunks(Connection& connection, const HttpRequest& request, instance::Instance& instance,
                                     TokenAnswer& answer) {
  Headers headers;
  add_load_header(connection.context(), request, headers);
  std::string bytes = connection.begin_open_ended(request, "application/json", headers);
  bool whole = false;
  while (!whole) {
    whole = !answer.more;
    append_chunk(bytes, answer.piece, whole, request.http_1_1);
    answer.piece.clear();
    connection.send(std::exchange(bytes, {}));
    bool go_on = co_await all_sent(connection);
    if (go_on && !whole) go_on = co_await next_piece(connection, instance, answer);
    if (!go_on) break;
  }
  if (!whole) connection.close_after_this();  // the end is missing, and the client sees that
}

}  // namespace

asio::awaitable<void> serve_tokens(Connection& connection, HttpRequest request, const Route& route) {
  ServerContext& context = connection.context();
  Result<instance::ModelUse> use = co_await model_for(connection, request, route);
  if (!use.ok()) {
    refuse_model(connection, request, route, use.error());
    co_return;
  }
  instance::Instance& instance = *use->instance();
  TokenAnswer answer;
  std::string body = std::move(request.body);
  size_t n_bytes = body.size();
  Result<void> done = co_await run_on_text_worker(connection, instance, n_bytes,
                                                  [&] { answer.begin(context, instance, std::move(body), route.id); });
  if (!done.ok() && done.error().code == ErrorCode::kCancelled) {
    connection.close_after_this();
    co_return;
  }
  if (!done.ok()) answer.error = done.take_error();
  if (answer.error) {
    HttpReply reply = context.error_reply({*answer.error});
    add_load_header(context, request, reply.headers);
    connection.send_reply(request, std::move(reply));
    co_await all_sent(connection);
    co_return;
  }
  if (answer.more) {
    co_await send_in_chunks(connection, request, instance, answer);
    co_return;
  }
  HttpReply reply = json_reply(std::move(answer.piece));
  add_load_header(context, request, reply.headers);
  connection.send_reply(request, std::move(reply));
  co_await all_sent(connection);
}

}  // namespace millrace::server
