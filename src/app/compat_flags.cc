#include "app/compat_flags.h"

#include <fmt/core.h>

#include <utility>

#include "base/json.h"

namespace millrace::app {

Result<const api::CompatProfile*> profile_of_args(std::span<const std::string> args) {
  constexpr std::string_view kFlag = "--compat";
  std::string name = "openai";
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == kFlag && i + 1 < args.size()) name = args[i + 1];
    if (args[i].starts_with("--compat=")) name = args[i].substr(kFlag.size() + 1);
  }
  const api::CompatProfile* profile = api::find_compat(name);
  if (profile != nullptr) return profile;
  std::string known;
  for (const api::CompatProfile& row : api::compat_profiles())
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  return Error{ErrorCode::kUsage, fmt::format("--compat = {}: must be one of {}", quote_for_message(name), known),
               std::string(kFlag)};
}

std::vector<std::string> own_arguments(std::string_view program, std::vector<std::string> args) {
  const api::CompatProfile* profile = api::compat_of_program(program);
  if (profile == nullptr) return args;
  bool help =
      !args.empty() && (args[0] == "--help" || args[0] == "-h" || args[0] == "--version" || args[0] == "version");
  bool llama = profile->id == api::Compat::kLlamaServer;
  if (help && !(llama && args[0] == "--help")) return args;
  std::vector<std::string> out = {"serve", "--compat", std::string(profile->name)};
  if (llama) {
    out.insert(out.end(), args.begin(), args.end());
    return out;
  }
  if (args.empty() || args[0] != "serve") return args;
  out.insert(out.end(), args.begin() + 1, args.end());
  return out;
}

}  // namespace millrace::app
