// The field `samplers`: which samplers act, and in what order, by llama-server's names and letters. Thread: any.
#pragma once

#include <span>
#include <string_view>

#include "api/common.h"
#include "base/json.h"
#include "base/result.h"

namespace millrace::api {

struct SamplerName {
  flow::SamplerStep step;
  std::string_view name;
  std::string_view alias;  // empty: none
  char letter;
};
// In the order of llama-server's own.
std::span<const SamplerName> sampler_names();
// Its name in answers.
std::string_view name_of(flow::SamplerStep step);
// Keywords of JSON Schema that the field meets: the letters of a text, the names in an array.
Json samplers_schema();

// An array of names, or a text of letters; empty: sampling.steps stays as it is. kInvalidValue lists the names.
Result<void> read_samplers(const Json& value, flow::SamplingParams& sampling);
// llama-server's and Ollama's order, for requests that name none.
void use_llama_order(flow::SamplingParams& sampling);

}  // namespace millrace::api
