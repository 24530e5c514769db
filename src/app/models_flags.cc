#include "app/models_flags.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include "base/file.h"
#include "base/macros.h"
#include "device/probe.h"
#include "runtime/turns.h"
#include "server/model_choice.h"
#include "store/model_store.h"

namespace millrace::app {
namespace fs = std::filesystem;
namespace {

constexpr double kMemoryShare = 0.9;  // of what is available, as for one model
constexpr int64_t kOllamaKeepAliveSeconds = 300;
constexpr int64_t kMostModels = 64;

struct CatalogModel {
  instance::ModelListing listing;
  std::string reference;  // what the store resolves; without a network, unless it is of the command line
};

void add(std::vector<CatalogModel>& out, std::string name, std::string reference, const std::string& path) {
  bool known = std::any_of(out.begin(), out.end(), [&](const CatalogModel& one) { return one.listing.name == name; });
  if (known) return;
  CatalogModel model{.listing = {.name = std::move(name)}, .reference = std::move(reference)};
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) {
    model.listing.modified_s = info.st_mtim.tv_sec;
    if (S_ISREG(info.st_mode)) model.listing.file_bytes = static_cast<uint64_t>(info.st_size);
  }
  out.push_back(std::move(model));
}

std::vector<CatalogModel> catalog(const ModelsPlan& plan) {
  std::vector<CatalogModel> out;
  for (const std::string& reference : plan.references) {
    add(out, instance::served_name(reference), reference, reference);
  }
  std::error_code error;
  if (!plan.folder.empty()) {
    for (fs::directory_iterator entry(plan.folder, error), end; !error && entry != end; entry.increment(error)) {
      std::string path = entry->path();
      bool model =
          path.ends_with(".gguf") ? file_exists(path) : is_directory(path) && file_exists(path + "/config.json");
      if (model) add(out, instance::served_name(path), path, path);
    }
  }
  if (plan.references.empty() && plan.folder.empty()) {
    for (const store::ModelStore::Entry& entry : store::ModelStore(store::ModelStore::default_root()).list()) {
      add(out, entry.name, entry.name, entry.path);
      out.back().listing.file_bytes = entry.bytes;
    }
  }
  return out;
}

// The options of one model. kNotFound when it has gone since it was listed.
Result<instance::InstanceOptions> options_of(const ModelsPlan& plan, const instance::InstanceOptions& shared,
                                             const std::string& name) {
  for (CatalogModel& model : catalog(plan)) {
    if (model.listing.name != name) continue;
    instance::InstanceOptions out = shared;
    out.model = std::move(model.reference);
    out.served_names = {name};
    if (name.find(':') == std::string::npos) out.served_names.push_back(name + ":latest");
    return out;
  }
  return Error{ErrorCode::kNotFound, fmt::format("model {} is gone", quote_for_message(name)), "model"};
}

Error of_one_model(std::string_view flag) {
  return {ErrorCode::kUsage, fmt::format("{} is for a server with one model", flag), std::string(flag)};
}

}  // namespace

ModelsFlags default_models_flags(const api::CompatProfile& profile) {
  ModelsFlags out;
  if (profile.id != api::Compat::kOllama) return out;
  out.keep_alive_s = kOllamaKeepAliveSeconds;
  if (const char* text = std::getenv("OLLAMA_KEEP_ALIVE"); text != nullptr && *text != 0) {
    auto keep = server::parse_keep_alive(fmt::format("\"{}\"", text));
    if (keep) out.keep_alive_s = *keep < 0 ? -1 : *keep / kSecond;
    if (!keep) LOG(LogLevel::kWarning, "OLLAMA_KEEP_ALIVE = {}: no duration, ignored", quote_for_message(text));
  }
  if (const char* text = std::getenv("OLLAMA_MAX_LOADED_MODELS"); text != nullptr && *text != 0) {
    auto most = parse_size(text);
    if (most.ok() && *most > 0 && *most <= kMostModels) out.most_loaded = *most;
  }
  return out;
}

void declare_models_flags(FlagSet& set, ModelsFlags& f) {
  set.positional("MODELS", &f.more, "further models: requests choose by `model`");
  set.add("--models-dir", &f.folder, "folder of .gguf files and model folders: all are served, loaded when asked for");
  set.add("--models-max", &f.most_loaded, "models in memory at once", {1, kMostModels});
  set.add("--models-autoload", &f.autoload, "a request loads its model; else only POST /models/load does");
  set.add("--keep-alive", &f.keep_alive_s, "seconds that a model nobody uses stays; -1 = until its place is needed",
          {-1, INT32_MAX});
}

Result<std::optional<ModelsPlan>> models_plan(const ModelsFlags& f, const ModelFlags& model,
                                              const api::CompatProfile& profile) {
  bool none = model.model.empty() && model.hub.repo.empty();
  bool starts_empty = profile.id == api::Compat::kOllama || profile.gated;
  bool several = !f.more.empty() || !f.folder.empty() || (none && starts_empty);
  if (!several) return std::optional<ModelsPlan>();
  struct Row {
    bool given;
    std::string_view flag;
  };
  const Row rows[] = {{!model.served_names.empty(), "--served-model-name"},
                      {!model.hub.repo.empty() || !model.hub.file.empty() || !model.hub.revision.empty(), "--hf-repo"},
                      {!model.chat_template.empty(), "--chat-template"},
                      {!model.kv_disk_path.empty(), "--kv-disk-path"},
                      {!model.slot_save_path.empty(), "--slot-save-path"}};
  for (const Row& row : rows) {
    if (row.given) return of_one_model(row.flag);
  }
  ModelsPlan plan{.references = f.more, .folder = f.folder, .options = {}};
  if (!model.model.empty()) plan.references.insert(plan.references.begin(), model.model);
  if (!f.folder.empty() && !is_directory(f.folder)) {
    return Error{ErrorCode::kUsage, fmt::format("--models-dir = {}: no such folder", quote_for_message(f.folder)),
                 "--models-dir"};
  }
  for (size_t i = 1; i < plan.references.size(); ++i) {
    std::string name = instance::served_name(plan.references[i]);
    auto before = std::span(plan.references).first(i);
    if (std::ranges::find(before, name, instance::served_name) == before.end()) continue;
    return Error{ErrorCode::kUsage, fmt::format("{}: another model is named {}", plan.references[i], name), "-m"};
  }
  plan.options.most_loaded = static_cast<size_t>(f.most_loaded);
  plan.options.autoload = f.autoload;
  plan.options.keep_alive = f.keep_alive_s < 0 ? instance::kForever : f.keep_alive_s * kSecond;
  if (!plan.references.empty()) plan.options.default_name = instance::served_name(plan.references.front());
  plan.options.budget_bytes = static_cast<uint64_t>(model.memory_limit);
  if (model.memory_limit == 0) {
    auto free_bytes = static_cast<double>(std::max<int64_t>(0, device::memory_available_bytes()));
    plan.options.budget_bytes = static_cast<uint64_t>(free_bytes * kMemoryShare);
  }
  return std::optional<ModelsPlan>(std::move(plan));
}

server::SeveralModels several_models(const ModelsPlan& plan, const instance::InstanceOptions& shared) {
  instance::InstanceOptions each = shared;
  each.turns = std::make_shared<runtime::Turns>();
  each.tenant_table = std::make_shared<instance::TenantTable>(shared.tenants);  // a quota is of all models together
  server::SeveralModels out;
  out.options = plan.options;
  out.options.most_waiting = static_cast<size_t>(shared.limits[LimitId::kQueuedRequests]);
  for (const std::string& reference : plan.references) out.at_start.push_back(instance::served_name(reference));
  out.source.list = [plan] {
    std::vector<instance::ModelListing> listing;
    for (CatalogModel& model : catalog(plan)) listing.push_back(std::move(model.listing));
    return listing;
  };
  out.options.hung_after = shared.limits[LimitId::kLiveStallSeconds] * kSecond;
  out.source.need = [plan, each](const std::string& name,
                                 const instance::ProgressFn& progress) -> Result<instance::MemoryNeed> {
    return instance::Instance::memory_need(TRY(options_of(plan, each, name)), progress);
  };
  out.source.head = [plan, each](const std::string& name) -> Result<instance::ModelHead> {
    return instance::Instance::read_head(TRY(options_of(plan, each, name)));
  };
  out.source.load = [plan, each](const std::string& name, uint64_t bytes,
                                 const instance::ProgressFn& progress) -> Result<std::unique_ptr<instance::Instance>> {
    instance::InstanceOptions options = TRY(options_of(plan, each, name));
    options.memory_limit_bytes = bytes;
    return instance::Instance::load(options, progress);
  };
  return out;
}

}  // namespace millrace::app
