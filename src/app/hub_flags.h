// The flags of a model on a hub, under the names of vLLM and llama-server; each falls back to its environment variable.
#pragma once

#include <string>

#include "app/flags.h"
#include "base/result.h"
#include "store/model_store.h"

namespace millrace::app {

struct HubFlags {
  std::string repo;      // --hf-repo: the model, instead of MODEL
  std::string file;      // --hf-file
  std::string revision;  // --revision
  std::string endpoint;  // --hf-endpoint, else HF_ENDPOINT
  std::string token;     // --hf-token, else HF_TOKEN
  bool offline = false;  // --offline, else HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE
};

void declare_hub_flags(FlagSet& set, HubFlags& flags);

// The reference that `model` and the flags name together. kUsage: both a model and --hf-repo, or a file or revision of
// what is not on a hub.
Result<std::string> model_reference(const std::string& model, const HubFlags& flags);
store::HubSettings hub_settings(const HubFlags& flags);

}  // namespace millrace::app
