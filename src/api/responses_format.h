// The answers of POST /v1/responses: a response object, or its events with their sequence numbers. Thread: one at a
// time per request.
#pragma once

#include <memory>

#include "api/reply_format.h"
#include "base/json.h"

namespace millrace::api {

// `body`: what was asked, of which the response repeats the parameters.
std::unique_ptr<ReplyFormat> make_responses_format(const Json& body, const FormatOptions& options);

}  // namespace millrace::api
