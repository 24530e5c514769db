// Three dialects that wrap a text and its parameters in an object of their own: TGI's /generate and /generate_stream,
// SGLang's /generate, KServe's /v2/models/{m}/generate. Each is a translation to the native fields of the one table.
// Sources: TGI's and the Open Inference Protocol's OpenAPI documents (2026-01), SGLang 0.5.23 io_struct.py. Thread:
// any.
#pragma once

#include "api/dialect.h"

namespace millrace::api {

// POST /generate: `inputs` is TGI, `text` or `input_ids` SGLang.
Result<DialectRequest> parse_generate(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_tgi(const Json& body, const ParseContext& context, const FormatOptions& options);
// POST /: as /generate or, with `stream`, as /generate_stream; the whole answer is a list.
Result<DialectRequest> parse_tgi_root(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_tgi_stream(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_sglang(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_kserve(const Json& body, const ParseContext& context, const FormatOptions& options);
Result<DialectRequest> parse_kserve_stream(const Json& body, const ParseContext& context, const FormatOptions& options);

// SageMaker's POST /invocations: `messages` is a chat, `prompt` a completion, `input` embeddings, `inputs` TGI's
// generate. kMissingField when it is none of them.
Result<DialectRequest> parse_invocation(const Json& body, const ParseContext& context, const FormatOptions& options);

}  // namespace millrace::api
