// Files as bytes: whole reads with a cap, read-only mappings, atomic writes. Errors name the file as the user gave it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace {

// An open descriptor that closes itself.
struct Descriptor {
  int fd = -1;
  Descriptor() = default;
  explicit Descriptor(int value) : fd(value) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor();
};

// The whole regular file; kNotFound, kBadFile (not regular, larger than max_bytes) or kIo.
Result<std::string> read_file(const std::string& path, uint64_t max_bytes);

// All of `bytes` to the open descriptor; `path` is for the message. Leaves errno as the failed write set it.
Result<void> write_all(int fd, std::span<const uint8_t> bytes, const std::string& path);

// Writes aside, fsyncs and renames, so a reader sees the old or the new file. The second form lets `write` write to the
// open descriptor of a file with this mode, and gives back its error.
Result<void> write_file_atomic(const std::string& path, std::string_view bytes);
Result<void> write_file_atomic(const std::string& path, mode_t mode, const std::function<Result<void>(int fd)>& write);

bool file_exists(const std::string& path);
bool is_directory(const std::string& path);

// A read-only mapping of a regular file. Move-only; unmapped on destruction.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return bytes_; }
  const std::string& path() const { return path_; }
  // kBadFile `file changed during load` when the size or the modification time differs from the one at open().
  Result<void> check_unchanged() const;

 private:
  MappedFile() = default;
  void unmap();
  std::span<const uint8_t> bytes_;
  std::string path_;
  int fd_ = -1;
  int64_t modified_ns_ = 0;
};

}  // namespace millrace
