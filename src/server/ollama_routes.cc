#include "server/ollama_routes.h"

#include <fmt/core.h>

#include <ctime>
#include <utility>
#include <vector>

#include "api/infill.h"
#include "base/macros.h"
#include "base/sha256.h"

namespace millrace::server {
namespace {

constexpr std::string_view kOllamaVersion = "0.12.0";  // whose interface is matched: clients compare it

std::string digest_of(const std::string& text) {
  Sha256 digest;
  digest.update(text);
  return hex(digest.finish());
}

// What can be asked of it over Ollama's routes.
std::vector<std::string> capabilities_of(const instance::Instance& instance) {
  const instance::TextParts& text = instance.text_parts();
  if (!text.pooling.generates) return {"embedding"};
  std::vector<std::string> out = {"completion"};
  bool chats = text.chat_template.has_value();
  if (chats && instance.text().answers().knows_tools()) out.emplace_back("tools");
  if (chats && instance.text().answers().knows_reasoning()) out.emplace_back("thinking");
  if (api::knows_infill(&text.tokenizer)) out.emplace_back("insert");
  return out;
}

// What is known of one that is loaded, beside its name, files and times.
void describe(const instance::Instance& instance, api::OllamaModel& model) {
  const instance::InstanceFacts& facts = instance.facts();
  const auto& chat_template = instance.text_parts().chat_template;
  model.family = facts.architecture;
  model.quantization = facts.weight_format;
  model.chat_template = chat_template ? chat_template->source() : "";
  model.n_params = facts.n_params;
  model.context_length = facts.max_len;
  model.embedding_length = facts.d_model;
  model.capabilities = capabilities_of(instance);
}

// The models of a server with several: all, or those in memory.
std::vector<api::OllamaModel> models_of_set(ServerContext& context, bool in_memory) {
  std::vector<api::OllamaModel> out;
  for (const instance::ModelStatus& status : context.models->statuses()) {
    bool loaded = status.state == instance::ModelState::kLoaded;
    if (in_memory && !loaded) continue;
    api::OllamaModel model = ollama_model(status.listing);
    Result<instance::ModelUse> use = loaded ? context.models->look(status.listing.name) : Error{};
    if (use.ok()) describe(*use->instance(), model);
    model.memory_bytes = static_cast<int64_t>(status.bytes);
    if (status.expires != instance::kForever) {
      Tick left = status.expires - context.clock.now();
      model.expires = static_cast<int64_t>(std::time(nullptr)) + left / kSecond;
    }
    out.push_back(std::move(model));
  }
  return out;
}

Result<std::string> answer_body(ServerContext& context, const Route& route) {
  if (route.id == RouteId::kOllamaVersion) return fmt::format("{{\"version\":\"{}\"}}", kOllamaVersion);
  bool in_memory = route.id == RouteId::kOllamaPs;
  std::vector<api::OllamaModel> models;
  if (context.models != nullptr) {
    models = models_of_set(context, in_memory);
  } else {
    instance::ModelUse use = TRY(context.loaded_model());
    models.push_back(ollama_model(*use.instance()));
  }
  return in_memory ? api::ollama_ps_reply(models) : api::ollama_tags_reply(models);
}

}  // namespace

api::OllamaModel ollama_model(const instance::Instance& instance) {
  const instance::InstanceFacts& facts = instance.facts();
  api::OllamaModel model{.name = facts.served_names.front(),
                         .digest = digest_of(facts.system_fingerprint),
                         .created = facts.created,
                         .size_bytes = facts.file_bytes};
  describe(instance, model);
  return model;
}

api::OllamaModel ollama_model(const instance::ModelListing& file) {
  return {.name = file.name,
          .digest = digest_of(fmt::format("{}/{}/{}", file.name, file.file_bytes, file.modified_s)),
          .created = file.modified_s,
          .size_bytes = static_cast<int64_t>(file.file_bytes)};
}

HttpReply ollama_answer(ServerContext& context, const Route& route) {
  Result<std::string> body = answer_body(context, route);
  return body.ok() ? json_reply(std::move(body).value()) : context.error_reply({body.error()}, route.errors);
}

}  // namespace millrace::server
