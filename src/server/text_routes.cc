#include "server/text_routes.h"

#include <fmt/core.h>

#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/anthropic.h"
#include "api/fields.h"
#include "api/json_text.h"
#include "api/responses.h"
#include "api/tokenize.h"
#include "base/macros.h"
#include "server/connection.h"
#include "server/handlers.h"
#include "server/model_choice.h"
#include "server/ollama_models.h"
#include "server/ollama_routes.h"
#include "server/render_routes.h"
#include "server/text_work.h"

namespace millrace::server {
namespace asio = boost::asio;
namespace {

// {"prompt": text}
Result<std::string> applied_template(const ServerContext& context, instance::Instance& instance, const Json& body) {
  api::ChatRequest chat = TRY(api::parse_conversation(body, parse_context(context, instance)));
  text::RenderedPrompt rendered = TRY(instance.text().render(chat));
  Json reply = Json::object();
  reply.set("prompt", std::move(rendered.text));
  return reply.dump();
}

// TGI: the text of the conversation and its tokens, each with the bytes of the text that it stands for, from start to
// before stop; none when its bytes do not stand there (a space that only the tokenizer sees).
Result<std::string> chat_tokens(const ServerContext& context, instance::Instance& instance, const Json& body) {
  api::TokenizeRequest request;
  request.chat = TRY(api::parse_conversation(body, parse_context(context, instance)));
  request.add_special = false;
  const text::RenderedPrompt rendered = TRY(instance.text().render(*request.chat));
  const std::vector<TokenId> tokens = TRY(instance.text().tokenize(request));
  if (static_cast<int64_t>(tokens.size()) > instance.facts().max_len) {
    return Error{ErrorCode::kContextLengthExceeded,
                 fmt::format("messages: {} tokens, the context has {}", tokens.size(), instance.facts().max_len),
                 "messages"};
  }
  std::string out = R"({"tokenize_response":[)";
  std::string_view rest = rendered.text;
  for (TokenId id : tokens) {
    const std::string_view piece = instance.text().tokenizer().token_bytes(id);
    const size_t start = rendered.text.size() - rest.size();
    const size_t stop = start + (rest.starts_with(piece) ? piece.size() : 0);
    fmt::format_to(std::back_inserter(out), R"({}{{"id":{},"text":)", out.back() == '[' ? "" : ",", id);
    api::append_json_lossy(out, piece);
    fmt::format_to(std::back_inserter(out), R"(,"start":{},"stop":{}}})", start, stop);
    rest = std::string_view(rendered.text).substr(stop);
  }
  out += R"(],"templated_text":)";
  api::append_json_lossy(out, rendered.text);
  out += '}';
  return out;
}

// How many tokens the conversation is as a prompt.
Result<int64_t> count_tokens(instance::Instance& instance, api::ChatRequest chat) {
  api::TokenizeRequest request;
  request.chat = std::move(chat);
  request.add_special = false;
  std::vector<TokenId> tokens = TRY(instance.text().tokenize(request));
  return static_cast<int64_t>(tokens.size());
}

// Thread: text worker.
Result<std::string> make_text_reply(const ServerContext& context, instance::Instance& instance, std::string body,
                                    RouteId route) {
  Json parsed = TRY(api::parse_body(std::exchange(body, {}), context.options.limits));
  api::ParseContext parse = parse_context(context, instance);
  switch (route) {
    case RouteId::kCountTokens: {
      int64_t n = TRY(count_tokens(instance, TRY(api::parse_anthropic_count(parsed, parse))));
      return fmt::format("{{\"input_tokens\":{}}}", n);
    }
    case RouteId::kInputTokens:
    case RouteId::kResponsesInputTokens: {
      bool items = route == RouteId::kResponsesInputTokens;
      int64_t n = TRY(count_tokens(
          instance, TRY(items ? api::parse_responses_count(parsed, parse) : api::parse_conversation(parsed, parse))));
      return fmt::format("{{\"object\":\"response.input_tokens\",\"input_tokens\":{}}}", n);
    }
    case RouteId::kChatRender:
    case RouteId::kCompletionsRender:
      return rendered_request(context, instance, parsed, route == RouteId::kChatRender);
    case RouteId::kChatTokenize:
      return chat_tokens(context, instance, parsed);
    case RouteId::kOllamaShow:
      TRY(api::resolve_model(parsed, parse));
      return api::ollama_show_reply(ollama_model(instance));
    default:
      return applied_template(context, instance, parsed);
  }
}

}  // namespace

asio::awaitable<void> serve_text(Connection& connection, HttpRequest request, const Route& route) {
  ServerContext& context = connection.context();
  if (route.id == RouteId::kOllamaShow && context.models != nullptr) {
    co_await serve_show(connection, std::move(request), route);
    co_return;
  }
  Result<instance::ModelUse> use = co_await model_for(connection, request, route);
  if (!use.ok()) {
    refuse_model(connection, request, route, use.error());
    co_return;
  }
  instance::Instance& instance = *use->instance();
  Result<std::string> reply = std::string();
  std::string body = std::move(request.body);
  size_t n_bytes = body.size();
  Result<void> done = co_await run_on_text_worker(
      connection, instance, n_bytes, [&] { reply = make_text_reply(context, instance, std::move(body), route.id); });
  if (!done.ok() && done.error().code == ErrorCode::kCancelled) {
    connection.close_after_this();
    co_return;
  }
  if (!done.ok()) reply = done.take_error();
  HttpReply out =
      reply.ok() ? json_reply(std::move(reply).value()) : context.error_reply({reply.error()}, route.errors);
  add_load_header(context, request, out.headers);
  connection.send_reply(request, std::move(out));
  while (connection.unsent() > 0 && !connection.gone() && !connection.stalled()) {
    connection.listen();
    co_await connection.event().wait_until(connection.stall_deadline());
  }
}

}  // namespace millrace::server
