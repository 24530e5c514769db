// The compat profile of a command line, and what a program that was started under another server's name is asked to do.
// Thread: any.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/compat.h"
#include "base/result.h"

namespace millrace::app {

// Of --compat NAME or --compat=NAME (the last one counts); openai when there is none. kUsage: no such profile.
Result<const api::CompatProfile*> profile_of_args(std::span<const std::string> args);

// `program`: argv[0]; `args`: what followed. The arguments of `millrace` that mean the same: llama-server ... and
// vllm serve ... become serve --compat ...; a name of our own changes nothing.
std::vector<std::string> own_arguments(std::string_view program, std::vector<std::string> args);

// What `vllm --version` prints: the version whose interface is matched, which deployments test for.
constexpr std::string_view kVllmVersion = "0.32.0";

}  // namespace millrace::app
