// Any bytes as the body of the generation routes of every dialect and of the tokenize routes: a request or an error,
// and every error has a body that is JSON. What parses must also pass to_generate() or fail there.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/anthropic.h"
#include "api/chat.h"
#include "api/completions.h"
#include "api/dialect.h"
#include "api/errors.h"
#include "api/fields.h"
#include "api/llama.h"
#include "api/native.h"
#include "api/ollama.h"
#include "api/pooling.h"
#include "api/responses.h"
#include "api/to_generate.h"
#include "api/tokenize.h"

namespace {

using namespace millrace;

void check_error(const Error& error) {
  for (int style = 0; style <= static_cast<int>(api::ErrorStyle::kKserve); ++style) {
    if (!parse_json(api::error_body(error, static_cast<api::ErrorStyle>(style))).ok()) std::abort();
  }
  int status = api::error_row(error.code).status;
  if (status < 400 || (status >= 500 && status != 501)) std::abort();
}

void admit(const api::CommonParams& params) {
  api::AdmitContext context{.id = 1, .max_len = 64, .block_tokens = 16, .n_blocks = 4};
  auto request = api::to_generate(params, std::vector<TokenId>(7, 1), context);
  if (!request.ok()) return check_error(request.error());
  if (request->prompt.size() + request->sampling.max_tokens > 64) std::abort();
}

constexpr api::DialectParser kDialects[] = {
    api::parse_llama_completion, api::parse_llama_infill,  api::parse_anthropic,    api::parse_ollama_generate,
    api::parse_ollama_chat,      api::parse_responses,     api::parse_generate,     api::parse_tgi_stream,
    api::parse_kserve,           api::parse_kserve_stream, api::parse_embeddings,   api::parse_pooling,
    api::parse_llama_embedding,  api::parse_ollama_embed,  api::parse_score,        api::parse_ollama_embeddings,
    api::parse_cohere_embed,     api::parse_rerank,        api::parse_sglang_encode};

void speak(api::DialectParser parse, const Json& body, const api::ParseContext& context) {
  auto request = parse(body, context, {});
  if (!request.ok()) return check_error(request.error());
  if (!request->instant.empty()) return;
  if (const auto* chat = std::get_if<api::ChatRequest>(&request->body)) admit(chat->common);
  if (const auto* text = std::get_if<api::CompletionRequest>(&request->body)) admit(text->common);
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
  for (api::DialectParser parse : kDialects) speak(parse, *body, context);
  return 0;
}
