// The answers of POST /v1/messages: a message of content blocks, or its events. Thread: one at a time per request.
#pragma once

#include <memory>

#include "api/reply_format.h"

namespace millrace::api {

std::unique_ptr<ReplyFormat> make_anthropic_format(const FormatOptions& options);

}  // namespace millrace::api
