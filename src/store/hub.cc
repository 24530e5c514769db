#include "store/hub.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <thread>

#include "base/file.h"
#include "base/macros.h"
#include "base/sha256.h"
#include "store/files.h"
#include "store/http_client.h"

namespace millrace::store {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxListing = 32 * 1024 * 1024;
constexpr uint64_t kMaxSelection = 1024 * 1024;
constexpr std::string_view kHave = ".have-";
constexpr std::string_view kGone = ".gone-";  // what kHave becomes before its files are removed
constexpr uint64_t kWorthATry = 64 * 1024;    // a slow drip does not go on forever
constexpr uint64_t kSpareDisk = 64 * 1024 * 1024;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_on(const char* name) {
  const std::string value = variable(name);
  return !value.empty() && value != "0" && value != "false" && value != "False" && value != "no";
}

std::string folder_name(std::string_view repo) {
  const size_t slash = repo.find('/');
  return fmt::format("{}--{}", repo.substr(0, slash), repo.substr(slash + 1));
}

std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> out;
  auto text = read_file(path, kMaxSelection);
  if (!text.ok()) return out;
  std::string_view rest = *text;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\n'), rest.size());
    if (end > 0) out.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

// The commit that a repository's revision was at its last fetch.
std::optional<std::string> commit_of(const std::string& home, const std::string& revision) {
  std::vector<std::string> lines = lines_of(home + "/refs/" + revision);
  if (lines.size() != 1) return std::nullopt;
  return std::move(lines.front());
}

// "." stands for the folder itself.
std::optional<std::string> entry_of(const std::string& snapshot, const std::string& selection) {
  const std::vector<std::string> lines = lines_of(snapshot + "/" + std::string(kHave) + selection);
  if (lines.empty()) return std::nullopt;
  for (const std::string& line : lines) {
    if (line != "." && !file_exists(fs::path(snapshot) / line)) return std::nullopt;
  }
  return lines.front() == "." ? snapshot : snapshot + "/" + lines.front();
}

// Deletes the files of selections that were given up, also by a process that died meanwhile, but for those that others
// need. The caller holds the lock.
Result<void> finish_removals(const std::string& snapshot) {
  std::set<std::string> shared;
  std::vector<std::string> gone;
  bool any_left = false;
  std::error_code error;
  for (fs::directory_iterator file(snapshot, error), end; !error && file != end; file.increment(error)) {
    const std::string path = file->path().string();
    const std::string name = file->path().filename().string();
    if (name.starts_with(kGone)) gone.push_back(path);
    if (!name.starts_with(kHave)) continue;
    any_left = true;
    for (std::string& line : lines_of(path)) shared.insert(std::move(line));
  }
  for (const std::string& list : gone) {
    for (const std::string& path : lines_of(list)) {
      if (path == "." || shared.contains(path)) continue;
      fs::remove(fs::path(snapshot) / path, error);
      (void)FAULT_POINT("hub.remove.some");
    }
    if (any_left) fs::remove(list, error);
  }
  if (!any_left && !gone.empty()) {  // nothing is left but empty folders, and what a download had begun
    for (fs::directory_iterator file(snapshot, error), end; !error && file != end; file.increment(error)) {
      if (!file->path().filename().string().starts_with(kGone)) fs::remove_all(file->path(), error);
    }
    for (const std::string& list : gone) fs::remove(list, error);
  }
  if (error) return cannot_write(error);
  return {};
}

// Held while a repository is fetched; waits for another process.
class Lock {
 public:
  static Result<Lock> take(const std::string& folder) {
    const int fd = ::open((folder + "/.lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || ::flock(fd, LOCK_EX) != 0) {
      if (fd >= 0) ::close(fd);
      return Error{ErrorCode::kIo, "cannot lock the model store", "MILLRACE_HOME"};
    }
    return Lock(fd);
  }
  Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Lock& operator=(Lock&&) = delete;
  ~Lock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit Lock(int fd) : fd_(fd) {}
  int fd_;
};

Result<std::string> digest_of(const std::string& path) {
  Sha256 digest;
  TRY(read_pieces(path, [&](std::string_view bytes) {
    digest.update(bytes);
    return true;
  }));
  return hex(digest.finish());
}

// Bytes that may be in a URL's path as they are (RFC 3986, 3.3); the rest is escaped.
std::string url_path(std::string_view path) {
  std::string out;
  for (char c : path) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                 c == '.' || c == '~' || c == '/';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

HubSettings HubSettings::from_environment() {
  HubSettings out;
  out.endpoint = variable("HF_ENDPOINT");
  out.token = variable("HF_TOKEN");
  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    if (is_on(name) && out.offline.empty()) out.offline = name;
  }
  const std::string stall = variable("HF_HUB_DOWNLOAD_TIMEOUT");
  if (!stall.empty() && stall.size() < 6 && stall.find_first_not_of("0123456789") == std::string::npos) {
    uint32_t seconds = 0;
    for (char c : stall) seconds = seconds * 10 + static_cast<uint32_t>(c - '0');
    if (seconds > 0) out.stall_s = seconds;
  }
  return out;
}

Hub::Hub(std::string root, HubSettings settings) : root_(std::move(root)), settings_(std::move(settings)) {
  while (settings_.endpoint.ends_with('/')) settings_.endpoint.pop_back();
}

std::string Hub::folder(const HubReference& reference) const { return root_ + "/hub/" + folder_name(reference.repo); }

std::optional<std::string> Hub::find(const HubReference& reference) const {
  const std::string home = folder(reference);
  const std::string snapshot = home + "/" + commit_of(home, reference.revision).value_or(reference.revision);
  return entry_of(snapshot, reference.selection());
}

Result<void> Hub::fetch_file(const HubReference& reference, const HubFile& file, const std::string& commit,
                             const HubProgressFn& progress, uint64_t done, uint64_t total) const {
  const std::string target = folder(reference) + "/" + commit + "/" + file.path;
  if (file_exists(target)) return {};
  std::error_code error;
  fs::create_directories(fs::path(target).parent_path(), error);
  const std::string part = target + ".part";
  FileHandle out(std::fopen(part.c_str(), "ab"));
  if (error) return cannot_write(error);
  if (!out) return cannot_write();
  (void)FAULT_POINT("hub.part.opened");
  uint64_t have = fs::file_size(part, error);
  if (error) return cannot_write(error);

  HttpClient client({.token = settings_.token, .stall_s = settings_.stall_s});
  const std::string url =
      fmt::format("{}/{}/resolve/{}/{}", settings_.endpoint, reference.repo, commit, url_path(file.path));
  auto report = [&](uint64_t bytes) {
    (void)FAULT_POINT("hub.part.some");
    return !progress || progress(done + bytes, total);
  };
  uint32_t tries = 0;
  uint32_t wait_ms = settings_.retry_ms;
  while (have < file.bytes || (file.bytes == 0 && tries == 0)) {
    const uint64_t before = have;
    const Transfer transfer = TRY(client.download(url, out.get(), have, report));
    if (transfer.cancelled)
      return Error{ErrorCode::kCancelled, "download given up; the next try goes on from here", ""};
    have = transfer.bytes;
    if (have >= file.bytes && transfer.complete) break;
    const bool moved = have >= before + kWorthATry;
    tries = moved ? 1 : tries + 1;
    if (moved) wait_ms = settings_.retry_ms;
    if (tries >= settings_.n_tries) {
      return Error{
          ErrorCode::kIo,
          fmt::format("{}: {} of {} bytes came, then {}; the next try goes on from there", quote_for_message(file.path),
                      have, file.bytes, transfer.problem.empty() ? "the transfer ended" : transfer.problem),
          ""};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
    wait_ms = std::min(wait_ms * 2, 16 * settings_.retry_ms);
  }
  if (std::fflush(out.get()) != 0 || ::fsync(fileno(out.get())) != 0) return cannot_write();
  out.reset();
  (void)FAULT_POINT("hub.part.synced");
  const bool right = have == file.bytes && (file.sha256.empty() || TRY(digest_of(part)) == file.sha256);
  if (!right) {
    fs::remove(part, error);
    return Error{ErrorCode::kBadFile,
                 have == file.bytes
                     ? fmt::format("sha256 of \"{}\" does not match", quote_for_message(file.path))
                     : fmt::format("{} has {} bytes, the hub lists {}", quote_for_message(file.path), have, file.bytes),
                 ""};
  }
  (void)FAULT_POINT("hub.rename.before");
  fs::rename(part, target, error);
  if (error) return cannot_write(error);
  (void)FAULT_POINT("hub.rename.after");
  return {};
}

Result<std::string> Hub::fetch(const HubReference& reference, const HubProgressFn& progress) const {
  if (!settings_.offline.empty()) {
    return Error{
        ErrorCode::kNotFound,
        fmt::format("{} is not in the local store, and {} forbids fetching it", reference.text(), settings_.offline),
        settings_.offline};
  }
  if (!settings_.endpoint.starts_with("http://") && !settings_.endpoint.starts_with("https://")) {
    return Error{ErrorCode::kNotFound,
                 settings_.endpoint.empty()
                     ? fmt::format("{} is not in the local store; --hf-endpoint URL (or HF_ENDPOINT) names the hub to "
                                   "fetch it from",
                                   reference.text())
                     : fmt::format("the hub's address must begin with http:// or https://, got {}",
                                   quote_for_message(settings_.endpoint)),
                 "--hf-endpoint"};
  }
  HttpClient client({.token = settings_.token, .stall_s = settings_.stall_s});
  const std::string listing = TRY(client.get(
      fmt::format("{}/api/models/{}/revision/{}?blobs=true", settings_.endpoint, reference.repo, reference.revision),
      kMaxListing));
  const HubTree tree = TRY(parse_hub_tree(listing));
  const HubChoice choice = TRY(choose_files(tree, reference));
  const std::string home = folder(reference);
  const std::string snapshot = home + "/" + tree.commit;
  std::error_code error;
  fs::create_directories(snapshot, error);
  fs::create_directories(home + "/refs", error);
  if (error) return cannot_write(error);
  (void)FAULT_POINT("hub.folders.after");
  Lock lock = TRY(Lock::take(home));
  TRY(finish_removals(snapshot));

  uint64_t total = 0, missing = 0;
  for (const HubFile& file : choice.files) {
    total += file.bytes;
    if (!file_exists(snapshot + "/" + file.path)) missing += file.bytes;
  }
  const fs::space_info space = fs::space(home, error);
  if (!error && missing > 0 && space.available < missing + kSpareDisk) {
    return Error{ErrorCode::kResource,
                 fmt::format("{} needs {} MB in the model store, {} MB are free", reference.text(), missing / 1'000'000,
                             space.available / 1'000'000),
                 "MILLRACE_HOME"};
  }
  uint64_t done = 0;
  for (const HubFile& file : choice.files) {
    TRY(fetch_file(reference, file, tree.commit, progress, done, total));
    done += file.bytes;
    if (progress && !progress(done, total)) return Error{ErrorCode::kCancelled, "download given up", ""};
  }
  std::string have = choice.entry.empty() ? "." : choice.entry;
  for (const HubFile& file : choice.files) {
    if (file.path != choice.entry) have += "\n" + file.path;
  }
  TRY(write_file_atomic(snapshot + "/" + std::string(kHave) + reference.selection(), have + "\n"));
  (void)FAULT_POINT("hub.have.after");
  TRY(write_file_atomic(home + "/refs/" + reference.revision, tree.commit + "\n"));
  return choice.entry.empty() ? snapshot : snapshot + "/" + choice.entry;
}

std::vector<Hub::Entry> Hub::list() const {
  std::vector<Entry> out;
  std::error_code error;
  for (fs::directory_iterator home(root_ + "/hub", error), end; !error && home != end; home.increment(error)) {
    std::string repo = home->path().filename().string();
    const size_t dashes = repo.find("--");
    if (dashes == std::string::npos) continue;
    repo.replace(dashes, 2, "/");
    std::error_code inner;
    for (fs::directory_iterator ref(home->path() / "refs", inner), last; !inner && ref != last; ref.increment(inner)) {
      const std::vector<std::string> commit = lines_of(ref->path().string());
      if (commit.size() != 1) continue;
      std::error_code deep;
      for (fs::directory_iterator file(home->path() / commit.front(), deep), none; !deep && file != none;
           file.increment(deep)) {
        const std::string name = file->path().filename().string();
        if (!name.starts_with(kHave)) continue;
        HubReference reference{.repo = repo, .revision = ref->path().filename().string()};
        const std::string selection = name.substr(kHave.size());
        if (selection.ends_with(".gguf"))
          reference.file = selection;
        else if (selection != "default")
          reference.quant = selection;
        auto path = entry_of(file->path().parent_path().string(), selection);
        if (path) out.push_back({std::move(reference), *path});
      }
    }
  }
  std::sort(out.begin(), out.end(), [](const Entry& a, const Entry& b) {
    return a.reference.text() + a.reference.file < b.reference.text() + b.reference.file;
  });
  return out;
}

Result<bool> Hub::remove(const HubReference& reference) const {
  if (!find(reference)) return false;
  const std::string home = folder(reference);
  Lock lock = TRY(Lock::take(home));
  const std::optional<std::string> commit = commit_of(home, reference.revision);
  if (!commit) return false;
  const std::string snapshot = home + "/" + *commit;
  std::error_code error;
  fs::rename(snapshot + "/" + std::string(kHave) + reference.selection(),
             snapshot + "/" + std::string(kGone) + reference.selection(), error);
  if (error) return cannot_write(error);
  (void)FAULT_POINT("hub.gone.after");
  TRY(finish_removals(snapshot));
  if (!fs::is_empty(snapshot, error) || error) return true;  // others need it
  fs::remove(snapshot, error);
  (void)FAULT_POINT("hub.snapshot.after");
  fs::remove(home + "/refs/" + reference.revision, error);
  (void)FAULT_POINT("hub.ref.after");
  if (fs::is_empty(home + "/refs", error)) fs::remove_all(home, error);
  if (error) return cannot_write(error);
  return true;
}

std::optional<std::string> find_in_huggingface_cache(const HubReference& reference) {
  std::string root = variable("HF_HUB_CACHE");
  if (root.empty() && !variable("HF_HOME").empty()) root = variable("HF_HOME") + "/hub";
  if (root.empty() && !variable("HOME").empty()) root = variable("HOME") + "/.cache/huggingface/hub";
  const std::string home = root + "/models--" + folder_name(reference.repo);
  const std::string snapshot = home + "/snapshots/" + commit_of(home, reference.revision).value_or(reference.revision);
  HubTree tree;
  std::error_code error;
  for (fs::recursive_directory_iterator file(snapshot, error), end; !error && file != end; file.increment(error)) {
    if (file->is_regular_file(error))
      tree.files.push_back({.path = fs::relative(file->path(), snapshot, error).string()});
  }
  if (tree.files.empty()) return std::nullopt;
  auto choice = choose_files(tree, reference);
  if (!choice.ok()) return std::nullopt;
  return choice->entry.empty() ? snapshot : snapshot + "/" + choice->entry;
}

}  // namespace millrace::store
