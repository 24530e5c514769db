#include "server/render_routes.h"

#include <utility>

#include "api/dialect.h"
#include "api/json_object.h"
#include "base/macros.h"
#include "server/handlers.h"

namespace millrace::server {
namespace {

using api::json_object;

Json id_array(const std::vector<TokenId>& ids) {
  Json out = Json::array();
  for (TokenId id : ids) out.push_back(int64_t{id});
  return out;
}

// Under the names of vLLM's SamplingParams.
Json sampling_json(const api::CommonParams& params, const flow::GenerateRequest& request) {
  const flow::SamplingParams& s = request.sampling;
  auto number = [](float value) { return Json(static_cast<double>(value)); };
  Json stop = Json::array();
  for (const std::string& text : params.output.stop) stop.push_back(text);
  return json_object({{"n", int64_t{request.n}},
                      {"temperature", number(s.temperature)},
                      {"top_p", number(s.top_p)},
                      {"top_k", int64_t{s.top_k}},
                      {"min_p", number(s.min_p)},
                      {"repetition_penalty", number(s.repetition_penalty)},
                      {"presence_penalty", number(s.presence_penalty)},
                      {"frequency_penalty", number(s.frequency_penalty)},
                      {"seed", params.seed ? Json(*params.seed) : Json()},
                      {"stop", std::move(stop)},
                      {"stop_token_ids", id_array(s.stop_token_ids)},
                      {"ignore_eos", s.ignore_eos},
                      {"max_tokens", int64_t{s.max_tokens}},
                      {"min_tokens", int64_t{s.min_tokens}},
                      {"logprobs", s.n_logprobs < 0 ? Json() : Json(int64_t{s.n_logprobs})},
                      {"prompt_logprobs", s.n_prompt_logprobs < 0 ? Json() : Json(int64_t{s.n_prompt_logprobs})},
                      {"skip_special_tokens", params.output.skip_special_tokens}});
}

Json prompt_json(const api::CommonParams& params, const instance::PreparedPrompt& prompt, const std::string& id) {
  const api::StreamParams& stream = params.stream;
  Json options = stream.stream ? json_object({{"include_usage", stream.include_usage},
                                              {"continuous_usage_stats", stream.continuous_usage_stats}})
                               : Json();
  const std::string& salt = params.prompt.cache_salt;
  return json_object({{"request_id", id},
                      {"token_ids", id_array(prompt.tokens)},
                      {"features", Json()},
                      {"sampling_params", sampling_json(params, prompt.request)},
                      {"model", params.model},
                      {"stream", stream.stream},
                      {"stream_options", std::move(options)},
                      {"cache_salt", salt.empty() ? Json() : Json(salt)},
                      {"priority", params.caller.priority},
                      {"kv_transfer_params", Json()}});
}

}  // namespace

Result<std::string> rendered_request(const ServerContext& context, instance::Instance& instance, const Json& body,
                                     bool chat) {
  const Json* offsets = body.get("return_token_offsets");
  if (offsets != nullptr && *offsets != Json(false)) {
    return Error{ErrorCode::kUnsupportedParameter, "return_token_offsets: not supported by this server",
                 "return_token_offsets"};
  }
  api::DialectParser parse = chat ? api::parse_openai_chat : api::parse_openai_completion;
  api::DialectRequest request = TRY(parse(body, parse_context(context, instance), {}));
  instance::Job job{.body = std::move(request.body), .arrival = instance.clock().now()};
  instance::Prepared prepared = instance.text().prepare(job, 0);
  if (prepared.error) return prepared.error->error;
  const api::CommonParams& params = job.params();
  std::string id = params.caller.request_id;
  if (id.empty()) id = api::make_reply_id(chat ? "chatcmpl-" : "cmpl-", 0, static_cast<uint64_t>(job.arrival));
  if (chat) return prompt_json(params, prepared.prompts.front(), id).dump();
  Json all = Json::array();
  for (const instance::PreparedPrompt& prompt : prepared.prompts) all.push_back(prompt_json(params, prompt, id));
  return all.dump();
}

}  // namespace millrace::server
