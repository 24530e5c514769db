#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/byte_reader.h"
#include "base/macros.h"

namespace millrace {
namespace {

int64_t modified_ns(const struct stat& info) {
  return static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
}

constexpr std::string_view kAside = ".tmp.";  // ".NAME.tmp.PID" becomes NAME

// The process that writes this file, or 0 when it is none of write_file_atomic().
pid_t writer_of(std::string_view name) {
  size_t at = name.rfind(kAside);
  if (!name.starts_with('.') || at == std::string_view::npos) return 0;
  std::string_view digits = name.substr(at + kAside.size());
  pid_t pid = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), pid);
  return error == std::errc() && end == digits.data() + digits.size() && pid > 0 ? pid : 0;
}

// Removes what processes that died while they wrote have left in the folder: each write does, so nothing piles up.
void sweep(const std::string& folder) {
  DIR* dir = ::opendir(folder.empty() ? "." : folder.c_str());
  if (dir == nullptr) return;
  while (const dirent* row = ::readdir(dir)) {
    pid_t pid = writer_of(row->d_name);
    if (pid != 0 && ::kill(pid, 0) != 0 && errno == ESRCH) ::unlinkat(::dirfd(dir), row->d_name, 0);
  }
  ::closedir(dir);
}

Result<Descriptor> open_regular(const std::string& path, struct stat& info) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0) {
    ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
    return Error{code, fmt::format("{}: {}", path, std::strerror(errno)), path};
  }
  if (::fstat(file.fd, &info) != 0)
    return Error{ErrorCode::kIo, fmt::format("{}: {}", path, std::strerror(errno)), path};
  if (!S_ISREG(info.st_mode)) return Error{ErrorCode::kBadFile, fmt::format("{}: not a regular file", path), path};
  return file;
}

}  // namespace

Descriptor::Descriptor(Descriptor&& other) noexcept : fd(std::exchange(other.fd, -1)) {}
Descriptor::~Descriptor() {
  if (fd >= 0) ::close(fd);
}

Result<std::string> read_file(const std::string& path, uint64_t max_bytes) {
  struct stat info {};
  Descriptor file = TRY(open_regular(path, info));
  auto size = static_cast<uint64_t>(info.st_size);
  if (size > max_bytes) {
    return Error{ErrorCode::kBadFile, fmt::format("{}: {} bytes exceed limit {}", path, size, max_bytes), path};
  }
  std::string out(static_cast<size_t>(size), '\0');
  size_t done = 0;
  while (done < out.size()) {
    ssize_t n = ::read(file.fd, out.data() + done, out.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const char* what = n < 0 ? std::strerror(errno) : "file changed during load";
      return Error{ErrorCode::kIo, fmt::format("{}: {}", path, what), path};
    }
    done += static_cast<size_t>(n);
  }
  return out;
}

Result<void> write_all(int fd, std::span<const uint8_t> bytes, const std::string& path) {
  for (size_t done = 0; done < bytes.size();) {
    ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Error{ErrorCode::kIo, fmt::format("{}: write: {}", path, std::strerror(errno)), path};
    done += static_cast<size_t>(n);
    (void)FAULT_POINT("file.write.some");
  }
  return {};
}

Result<void> write_file_atomic(const std::string& path, std::string_view bytes) {
  return write_file_atomic(path, 0644, [&](int fd) { return write_all(fd, as_bytes(bytes), path); });
}

Result<void> write_file_atomic(const std::string& path, mode_t mode, const std::function<Result<void>(int fd)>& write) {
  size_t name = path.rfind('/') + 1;  // 0 without a folder
  sweep(path.substr(0, name));
  std::string aside = fmt::format("{}.{}{}{}", path.substr(0, name), path.substr(name), kAside, ::getpid());
  auto failed = [&](const char* what) {
    Error error{ErrorCode::kIo, fmt::format("{}: {}: {}", path, what, std::strerror(errno)), path};
    ::unlink(aside.c_str());
    return error;
  };
  {
    Descriptor file(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
    if (file.fd < 0) return failed("open");
    (void)FAULT_POINT("file.open.after");
    if (Result<void> written = write(file.fd); !written.ok()) {
      ::unlink(aside.c_str());
      return written;
    }
    (void)FAULT_POINT("file.sync.before");
    if (::fsync(file.fd) != 0) return failed("fsync");
  }
  (void)FAULT_POINT("file.rename.before");
  if (::rename(aside.c_str(), path.c_str()) != 0) return failed("rename");
  (void)FAULT_POINT("file.rename.after");
  return {};
}

bool file_exists(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  struct stat info {};
  Descriptor file = TRY(open_regular(path, info));
  MappedFile out;
  out.path_ = path;
  out.modified_ns_ = modified_ns(info);
  auto size = static_cast<size_t>(info.st_size);
  if (size > 0) {
    void* memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
    if (memory == MAP_FAILED) {
      ErrorCode code = errno == ENOMEM ? ErrorCode::kResource : ErrorCode::kIo;
      return Error{code, fmt::format("{}: mmap: {}", path, std::strerror(errno)), path};
    }
    out.bytes_ = {static_cast<const uint8_t*>(memory), size};
  }
  out.fd_ = std::exchange(file.fd, -1);
  return out;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    unmap();
    bytes_ = std::exchange(other.bytes_, {});
    path_ = std::move(other.path_);
    fd_ = std::exchange(other.fd_, -1);
    modified_ns_ = other.modified_ns_;
  }
  return *this;
}

MappedFile::~MappedFile() { unmap(); }

void MappedFile::unmap() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
  if (fd_ >= 0) ::close(fd_);
  bytes_ = {};
  fd_ = -1;
}

Result<void> MappedFile::check_unchanged() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0 || static_cast<size_t>(info.st_size) != bytes_.size() ||
      modified_ns(info) != modified_ns_) {
    return Error{ErrorCode::kBadFile, fmt::format("{}: file changed during load", path_), path_};
  }
  return {};
}

}  // namespace millrace
