// The load functions of all architectures: one file each, listed in registry.cc.
// Thread: the loader.
#pragma once

#include <memory>

#include "models/model.h"

namespace millrace::models {

Result<std::unique_ptr<Model>> load_llama(const weights::ModelFile& file, const LoadOptions& options);
Result<std::unique_ptr<Model>> load_qwen2(const weights::ModelFile& file, const LoadOptions& options);
Result<std::unique_ptr<Model>> load_qwen3(const weights::ModelFile& file, const LoadOptions& options);
Result<std::unique_ptr<Model>> load_gemma3(const weights::ModelFile& file, const LoadOptions& options);
Result<std::unique_ptr<Model>> load_bert(const weights::ModelFile& file, const LoadOptions& options);

}  // namespace millrace::models
