// /classify: what a model with a head says of texts. Source of the wire format: vLLM 0.32
// (entrypoints/pooling/classify).
#include <utility>

#include "api/pooling.h"
#include "api/pooling_format.h"
#include "base/macros.h"

namespace millrace::api {

Result<DialectRequest> parse_classify(const Json& body, const ParseContext& context, const FormatOptions& options) {
  PoolingOptions pooling;
  CompletionRequest request = TRY(read_pooling_fields(body, context, pooling));
  if (context.model.pooling.n_scores == 0) {
    return Error{ErrorCode::kNotSupported, "this model has no head that classifies", "model"};
  }
  const Json* input = body.get("input");
  if (input == nullptr) return Error{ErrorCode::kMissingField, "input is required", "input"};
  bool list = false;
  request.prompts = TRY(read_inputs(*input, "input", context, list));
  return DialectRequest{.body = std::move(request),
                        .format = make_classify_format(pooling.activation, options.error_style)};
}

}  // namespace millrace::api
