// --check-tensors: every number of a model file is finite. Reads every weight, and lets the pages go again.
// Thread: any.
#pragma once

#include <string_view>

#include "base/result.h"
#include "weights/tensor_source.h"

namespace millrace::weights {

// kBadFile for the first scale of a quantised group or value of a float tensor that is NaN or infinite:
// `FILE: tensor "x" block 17 has non-finite scale`, `FILE: tensor "x" value 17 is not finite`.
Result<void> check_tensors(const TensorSource& source, std::string_view file_name);

}  // namespace millrace::weights
