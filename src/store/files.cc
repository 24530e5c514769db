#include "store/files.h"

#include <fmt/core.h>

#include <cerrno>
#include <vector>

namespace millrace::store {

Result<void> read_pieces(const std::string& path, const std::function<bool(std::string_view)>& take) {
  const Error unreadable{ErrorCode::kIo, fmt::format("cannot read {}", quote_for_message(path)), ""};
  FileHandle in(std::fopen(path.c_str(), "rb"));
  if (!in) return unreadable;
  std::vector<char> bytes(size_t{1} << 20);
  while (size_t n = std::fread(bytes.data(), 1, bytes.size(), in.get())) {
    if (!take(std::string_view(bytes.data(), n))) return cannot_write();
  }
  if (std::ferror(in.get()) != 0) return unreadable;
  return {};
}

Error cannot_write(const std::error_code& error) {
  return {ErrorCode::kIo, fmt::format("cannot write to the model store: {}", error.message()), "MILLRACE_HOME"};
}

Error cannot_write() { return cannot_write(std::error_code(errno, std::generic_category())); }

}  // namespace millrace::store
