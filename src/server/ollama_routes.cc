#include "server/ollama_routes.h"

#include <fmt/core.h>

#include <utility>

#include "base/macros.h"
#include "base/sha256.h"

namespace millrace::server {
namespace {

constexpr std::string_view kOllamaVersion = "0.12.0";  // whose interface is matched: clients compare it

Result<std::string> answer_body(ServerContext& context, const Route& route) {
  if (route.id == RouteId::kOllamaVersion) return fmt::format("{{\"version\":\"{}\"}}", kOllamaVersion);
  instance::Instance* instance = TRY(context.usable_instance());
  api::OllamaModel model = ollama_model(*instance);
  return route.id == RouteId::kOllamaPs ? api::ollama_ps_reply(model) : api::ollama_tags_reply(model);
}

}  // namespace

api::OllamaModel ollama_model(const instance::Instance& instance) {
  const instance::InstanceFacts& facts = instance.facts();
  const auto& chat_template = instance.text_parts().chat_template;
  Sha256 digest;
  digest.update(facts.system_fingerprint);
  return {.name = facts.served_names.front(),
          .digest = hex(digest.finish()),
          .family = facts.architecture,
          .quantization = facts.weight_format,
          .chat_template = chat_template ? chat_template->source() : "",
          .created = facts.created,
          .size_bytes = facts.file_bytes,
          .n_params = facts.n_params,
          .context_length = facts.max_len,
          .embedding_length = facts.d_model};
}

HttpReply ollama_answer(ServerContext& context, const Route& route) {
  Result<std::string> body = answer_body(context, route);
  return body.ok() ? json_reply(std::move(body).value()) : context.error_reply({body.error()}, route.errors);
}

}  // namespace millrace::server
