// From the bytes of a generation request to a Job and the ReplyFormat of its dialect: the one place where the server
// chooses a parser. Thread: IO, or a text worker for large bodies.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>

#include "api/reply_format.h"
#include "base/result.h"
#include "instance/text_side.h"
#include "server/http_message.h"
#include "server/routes.h"

namespace millrace::instance {
class Instance;
}

namespace millrace::server {

class Connection;

struct GenerationRequest {
  instance::Job job;
  std::unique_ptr<api::ReplyFormat> format;
  std::string instant = {};  // not empty: the answer, without a session
};

// Takes the body out of the request; parses it where it delays nobody. kCancelled: the client left.
boost::asio::awaitable<Result<GenerationRequest>> read_request(Connection& connection, instance::Instance& instance,
                                                               HttpRequest& request, const Route& route);

}  // namespace millrace::server
