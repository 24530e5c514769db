// The answers of /v1/chat/completions and /v1/completions: whole replies by output.h, streams by ChunkWriter. The facts
// are for __verbose, which repeats the answer in llama-server's form.
// Thread: one at a time per request.
#pragma once

#include <memory>

#include "api/llama.h"
#include "api/reply_format.h"

namespace millrace::api {

std::unique_ptr<ReplyFormat> make_openai_format(ReplyKind kind, const FormatOptions& options, LlamaFacts facts);

}  // namespace millrace::api
