// The members of the request object `millrace`: ours alone, so an unknown one is always an error.
// Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "api/common.h"
#include "base/result.h"

namespace millrace::api {

struct ExtensionField {
  std::string_view name;
  int64_t high;  // an integer in 0..high
  void (*set)(ExtensionParams&, int64_t);
};
std::span<const ExtensionField> extension_fields();
constexpr size_t kMostTenantBytes = 128;  // of `tenant`, the one text among them

// `value` is an object. kInvalidValue or kUnknownField with the path.
Result<void> read_extensions(const Json& value, ExtensionParams& out);
// Rules across fields, after the whole body was read.
Result<void> check_extensions(const CommonParams& common);

}  // namespace millrace::api
