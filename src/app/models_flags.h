// The flags of a server with several models, and where those come from: the command line, a folder, or the model store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/compat.h"
#include "app/flags.h"
#include "app/model_flags.h"
#include "base/result.h"
#include "server/http_server.h"

namespace millrace::app {

struct ModelsFlags {
  std::vector<std::string> more;  // models behind the first
  std::string folder;
  int64_t most_loaded = 4;
  int64_t keep_alive_s = -1;
  bool autoload = true;
};

// profile: `ollama` keeps idle models for 5 minutes. OLLAMA_KEEP_ALIVE and OLLAMA_MAX_LOADED_MODELS are read there.
ModelsFlags default_models_flags(const api::CompatProfile& profile);
void declare_models_flags(FlagSet& set, ModelsFlags& flags);

// What a server with several models serves.
struct ModelsPlan {
  std::vector<std::string> references;  // of the command line: loaded at the start
  std::string folder;                   // of .gguf files and model folders; both empty: the model store
  instance::ModelSetOptions options;
};

// Nothing: one model, given on the command line. Several: more than one is given, or a folder, or none under a profile
// whose servers start so (ollama, llama-server). kUsage for flags that are of one model.
Result<std::optional<ModelsPlan>> models_plan(const ModelsFlags& flags, const ModelFlags& model,
                                              const api::CompatProfile& profile);

// What run_server() takes. `shared`: the options of every model but its name and memory.
server::SeveralModels several_models(const ModelsPlan& plan, const instance::InstanceOptions& shared);

}  // namespace millrace::app
