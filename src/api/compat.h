// The compat profiles (--compat, or the name the program was started under): what differs between servers on routes
// that several of them have, in one table. And what a request that says nothing gets, by dialect (API.md 3.2).
// Thread: any (constant data).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "api/errors.h"

namespace millrace::api {

// generation_config.json, --override-generation-config and flags; also the tables of the dialects.
struct SamplingDefaults {
  std::optional<float> temperature;
  std::optional<int32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<int64_t> max_tokens;
  std::optional<int64_t> seed;
};

constexpr SamplingDefaults kOpenAiDefaults = {};
constexpr SamplingDefaults kLlamaDefaults = {.temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f};
constexpr SamplingDefaults kOllamaDefaults = {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .min_p = 0.0f};
constexpr SamplingDefaults kSglangDefaults = {.max_tokens = 128};
constexpr SamplingDefaults kKserveDefaults = {.max_tokens = 20};
constexpr SamplingDefaults kTgiDefaults = {.temperature = 0.0f};  // greedy unless do_sample

enum class Compat : uint8_t { kOpenAi, kVllm, kLlamaServer, kOllama, kTgi, kSglang };

struct CompatProfile {
  Compat id = Compat::kOpenAi;
  std::string_view name;          // of --compat
  std::string_view program = {};  // the executable's name that chooses it; empty: none
  std::string_view host = "127.0.0.1";
  uint16_t port = 8000;
  ErrorStyle errors = ErrorStyle::kOpenAi;  // of routes without a style of their own
  SamplingDefaults defaults = {};           // of the /v1 routes
  uint32_t keep_alive_s = 15;
  std::string_view fingerprint_prefix = {};  // of system_fingerprint
  std::string_view root_text = {};           // what GET / answers; empty: our own words
  bool any_model = false;                    // a model name that is not served means the first one
  bool prefill = false;                      // a final assistant message is continued
  bool null_role = false;                    // role chunks have content null
  bool clamp = false;                        // prompt + max_tokens beyond the context is cut on /v1 too
  bool empty_tools = false;                  // an empty list of tools is none
  bool template_dates = false;               // chat templates see date_string and datetime
  bool detokenize_content = false;           // /detokenize answers {"content"}
  bool gated = false;                        // /metrics and /slots need --metrics and --slots; -c is for all slots
  bool open_bind = false;                    // a bind beyond loopback without a key is a warning
};

std::span<const CompatProfile> compat_profiles();
const CompatProfile& compat_profile(Compat id);
// By --compat name, or null.
const CompatProfile* find_compat(std::string_view name);
// By the last part of the path the program was started under; null when it is no other server's.
const CompatProfile* compat_of_program(std::string_view path);

}  // namespace millrace::api
