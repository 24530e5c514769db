// POST /v2/models/{m}/infer of the Open Inference Protocol v2: tensors in, a tensor of texts out. `text_input` (BYTES)
// holds the prompts; every other input is one value of a field of its name, as are the request's parameters;
// `sampling_parameters` is a JSON object of such fields in a text, as Triton's vLLM backend takes it.
// Source: the protocol's inference REST API and Triton's "binary tensor data" extension (2026-01). Thread: any.
#pragma once

#include <string_view>

#include "api/dialect.h"

namespace millrace::api {

// A tensor of a body stands in `bytes` behind the JSON when its parameters name a binary_data_size; afterwards each is
// in its `data`. All of `bytes` must be claimed, in the order of the inputs.
Result<Json> with_tensor_bytes(const Json& body, std::string_view bytes, const Limits& limits);

Result<DialectRequest> parse_kserve_infer(const Json& body, const ParseContext& context, const FormatOptions& options);

}  // namespace millrace::api
