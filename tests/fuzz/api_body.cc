// Any bytes as the body of the generation and tokenize routes: a request or an error, and every error has a body that
// is JSON. What parses must also pass to_generate() or fail there.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "api/chat.h"
#include "api/completions.h"
#include "api/errors.h"
#include "api/fields.h"
#include "api/to_generate.h"
#include "api/tokenize.h"

namespace {

using namespace millrace;

void check_error(const Error& error) {
  for (auto style : {api::ErrorStyle::kOpenAi, api::ErrorStyle::kVllm, api::ErrorStyle::kLlama}) {
    if (!parse_json(api::error_body(error, style)).ok()) std::abort();
  }
  int status = api::error_row(error.code).status;
  if (status < 400 || status >= 500) std::abort();
}

void admit(const api::CommonParams& params) {
  api::AdmitContext context{.id = 1, .max_len = 64, .block_tokens = 16, .n_blocks = 4};
  auto request = api::to_generate(params, std::vector<TokenId>(7, 1), context);
  if (!request.ok()) return check_error(request.error());
  if (request->prompt.size() + request->sampling.max_tokens > 64) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Limits limits;
  const std::vector<std::string> names = {"tiny"};
  const api::ParseContext context{.limits = limits, .served_names = names, .model = {.n_vocab = 100, .max_len = 64}};
  auto body = api::parse_body(std::string_view(reinterpret_cast<const char*>(data), size), limits);
  if (!body.ok()) {
    check_error(body.error());
    return 0;
  }
  auto chat = api::parse_chat(*body, context);
  chat.ok() ? admit(chat->common) : check_error(chat.error());
  auto completion = api::parse_completion(*body, context);
  completion.ok() ? admit(completion->common) : check_error(completion.error());
  auto tokenize = api::parse_tokenize(*body, context);
  if (!tokenize.ok()) check_error(tokenize.error());
  auto detokenize = api::parse_detokenize(*body, context);
  if (!detokenize.ok()) check_error(detokenize.error());
  return 0;
}
