// The environment variables of llama-server and the flags they stand for, read under its profile (FlagSet::read_also).
// Names: llama.cpp b11434, common/arg.cpp, set_env(); those of flags that serve neither has nor accepts are left out.
// Thread: any (constant data).
#pragma once

#include <span>

#include "app/flags.h"

namespace millrace::app {

std::span<const EnvironmentName> llama_environment();

}  // namespace millrace::app
