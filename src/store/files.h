// Files of the model store as C streams, and the errors they end in.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "base/result.h"

namespace millrace::store {

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using FileHandle = std::unique_ptr<std::FILE, FileCloser>;

// Hands a file's bytes out in pieces, in order; `take` returns false to stop, which is kIo ("cannot write to the model
// store"). kIo as well when it cannot be read.
Result<void> read_pieces(const std::string& path, const std::function<bool(std::string_view)>& take);

// kIo: what the system said.
Error cannot_write(const std::error_code& error);
// The same for a C call that has just failed: errno.
Error cannot_write();

}  // namespace millrace::store
