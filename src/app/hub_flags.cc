#include "app/hub_flags.h"

#include <fmt/core.h>

#include "base/file.h"

namespace millrace::app {

void declare_hub_flags(FlagSet& set, HubFlags& f) {
  set.add("--hf-repo", &f.repo, "OWNER/NAME[:QUANT] on a hub, instead of MODEL (also -hf)");
  set.add("--hf-file", &f.file, "this file of the repository (also -hff)");
  set.add("--revision", &f.revision, "branch, tag or commit of the repository; default main");
  set.add("--hf-endpoint", &f.endpoint, "URL of the hub; also HF_ENDPOINT");
  set.add("--hf-token", &f.token, "for models that need one; also HF_TOKEN");
  set.add("--offline", &f.offline, "use only models that are here; also HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE");
}

Result<std::string> model_reference(const std::string& model, const HubFlags& flags) {
  if (!model.empty() && !flags.repo.empty()) {
    return Error{
        ErrorCode::kUsage,
        fmt::format("two models: {} and --hf-repo {}", quote_for_message(model), quote_for_message(flags.repo)),
        "--hf-repo"};
  }
  std::string out = flags.repo.empty() ? model : "hf://" + flags.repo;
  if (flags.revision.empty() && flags.file.empty()) return out;
  const bool local = file_exists(out) || is_directory(out);
  if (local || !store::is_hub_reference(out)) {
    return Error{
        ErrorCode::kUsage,
        fmt::format("--revision and --hf-file are for a model on a hub (OWNER/NAME), got {}", quote_for_message(out)),
        "--revision"};
  }
  if (flags.revision.empty()) return out;
  const size_t slash = out.rfind('/');
  if (out.find('@', slash) != std::string::npos)
    return Error{ErrorCode::kUsage, "two revisions: one in the model's name and one in --revision", "--revision"};
  return out.insert(std::min(out.find(':', slash), out.size()), "@" + flags.revision);
}

store::HubSettings hub_settings(const HubFlags& flags) {
  store::HubSettings out = store::HubSettings::from_environment();
  if (!flags.endpoint.empty()) out.endpoint = flags.endpoint;
  if (!flags.token.empty()) out.token = flags.token;
  if (flags.offline) out.offline = "--offline";
  return out;
}

}  // namespace millrace::app
