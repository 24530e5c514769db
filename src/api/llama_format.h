// The answers of llama-server's native routes (llama.h). Thread: one at a time per request.
#pragma once

#include <memory>

#include "api/llama.h"
#include "api/reply_format.h"

namespace millrace::api {

// many: a whole reply is an array.
std::unique_ptr<ReplyFormat> make_llama_format(LlamaFacts facts, const FormatOptions& options, bool many);

}  // namespace millrace::api
