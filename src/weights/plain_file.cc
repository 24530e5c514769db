#include "weights/plain_file.h"

#include <fmt/core.h>
#include <stdlib.h>

#include <memory>
#include <optional>
#include <string_view>

#include "weights/name_check.h"

namespace millrace::weights {
namespace {

std::optional<std::string> resolved(const std::string& path) {
  std::unique_ptr<char, void (*)(void*)> text(::realpath(path.c_str(), nullptr), ::free);
  if (text == nullptr) return std::nullopt;
  return std::string(text.get());
}

bool lies_in(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() + 1 && path.compare(0, folder.size(), folder) == 0 && path[folder.size()] == '/';
}

bool is_plain(std::string_view name) {
  bool separators = name.find('/') != std::string_view::npos || name.find('\\') != std::string_view::npos;
  return !name.empty() && name.size() <= 255 && !separators && name != "." && name != ".." && is_clean_name(name);
}

}  // namespace

Result<std::string> plain_file(const std::string& folder, const std::string& name) {
  std::string path = folder + "/" + name;
  Error refused{ErrorCode::kBadFile,
                fmt::format("{}: shard path must be a plain file name, got \"{}\"", folder, show_name(name)), name};
  if (!is_plain(name)) return refused;
  std::optional<std::string> target = resolved(path);
  if (!target) return path;  // does not exist: the caller says so
  std::optional<std::string> root = resolved(folder);
  if (!root) return refused;
  if (lies_in(*target, *root)) return path;
  std::optional<std::string> blobs = resolved(*root + "/../../blobs");
  if (blobs && lies_in(*target, *blobs)) return path;
  return refused;
}

}  // namespace millrace::weights
