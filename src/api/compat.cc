#include "api/compat.h"

namespace millrace::api {
namespace {

constexpr CompatProfile kProfiles[] = {
    {.id = Compat::kOpenAi, .name = "openai"},
    {.id = Compat::kVllm,
     .name = "vllm",
     .program = "vllm",
     .host = "0.0.0.0",
     .errors = ErrorStyle::kVllm,
     .open_bind = true},
    {.id = Compat::kLlamaServer,
     .name = "llama-server",
     .program = "llama-server",
     .port = 8080,
     .errors = ErrorStyle::kLlama,
     .defaults = kLlamaDefaults,
     .keep_alive_s = 30,
     .fingerprint_prefix = "b",
     .any_model = true,
     .prefill = true,
     .null_role = true,
     .clamp = true,
     .empty_tools = true,
     .template_dates = true,
     .detokenize_content = true,
     .gated = true,
     .open_bind = true},
    {.id = Compat::kOllama,
     .name = "ollama",
     .program = "ollama",
     .port = 11434,
     .defaults = kOllamaDefaults,
     .root_text = "Ollama is running",
     .open_bind = true},
    {.id = Compat::kTgi, .name = "tgi", .host = "0.0.0.0", .port = 3000, .open_bind = true},
    {.id = Compat::kSglang, .name = "sglang", .port = 30000, .open_bind = true},
};

}  // namespace

std::span<const CompatProfile> compat_profiles() { return kProfiles; }

const CompatProfile& compat_profile(Compat id) {
  for (const CompatProfile& profile : kProfiles) {
    if (profile.id == id) return profile;
  }
  return kProfiles[0];
}

const CompatProfile* find_compat(std::string_view name) {
  for (const CompatProfile& profile : kProfiles) {
    if (profile.name == name) return &profile;
  }
  return nullptr;
}

const CompatProfile* compat_of_program(std::string_view path) {
  std::string_view last = path.substr(path.rfind('/') + 1);
  for (const CompatProfile& profile : kProfiles) {
    if (!profile.program.empty() && profile.program == last) return &profile;
  }
  return nullptr;
}

}  // namespace millrace::api
