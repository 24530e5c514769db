// Which model a request is for, and waiting for it while it loads. A request names its model in its body ("model"), in
// the path (KServe) or in the query ("?model="); a server with one model leaves the name to the parsers.
// Thread: IO.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "instance/model_set.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::server {

class Connection;
class ServerContext;

// The text of a member of the outermost object, as it stands there; empty when there is none or the text before it is
// no JSON. One pass without a copy: it only looks for where values end, and leaves all judgement to the parser.
std::string_view find_member(std::string_view body, std::string_view name);

// Of a path /v2/models/NAME[/versions/N]/ACTION; empty for others.
std::string_view model_of_path(std::string_view path, std::string_view root);
// The value of `name` in "a=b&c=d", unescaped; empty when it is not there.
std::string query_value(std::string_view query, std::string_view name);

// The model that a request names: in its path, its body or its query; empty: none.
std::string named_model(const ServerContext& context, const HttpRequest& request);

// How long a model stays after a request, of Ollama's keep_alive: seconds, or "5m"; nothing when it is neither.
std::optional<Tick> parse_keep_alive(std::string_view json_text);

// A hold on the model, loaded. While it loads the request waits: until its time is over (X-Request-Timeout-Ms, else the
// limit request_timeout_s), the client leaves or the server stops.
// kCancelled: nobody is there to answer.
boost::asio::awaitable<Result<instance::ModelUse>> model_for(Connection& connection, const HttpRequest& request,
                                                             const Route& route);

// The reply to an error of model_for().
void refuse_model(Connection& connection, const HttpRequest& request, const Route& route, const Error& error);

}  // namespace millrace::server
