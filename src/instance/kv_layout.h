// kv_layout_name: what the bytes of a KV block depend on besides its tokens: weights, configuration, block layout,
// number format and kernels. Blocks on disk are used only under the same name. Thread: the loader's.
#pragma once

#include <string_view>

#include "flow/kv_geometry.h"
#include "flow/tier_store.h"
#include "weights/model_file.h"

namespace millrace::instance {

// Reads every weight once (at the speed of memory, the file having just been loaded).
flow::TierName kv_layout_name(const weights::ModelFile& file, const flow::KvGeometry& geometry,
                              std::string_view kv_dtype, std::string_view isa);

}  // namespace millrace::instance
