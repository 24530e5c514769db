#include "weights/packed_image.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "base/file.h"
#include "base/macros.h"
#include "tensor/formats.h"

namespace millrace::weights {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kMagic = "MRPACKED";
constexpr uint64_t kVersion = 1;
constexpr size_t kHeadBytes = 4096;
constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr size_t kSampleBytes = 64;

struct Head {
  char magic[8] = {};
  uint64_t version = kVersion;
  ImageKey key = {};
  uint64_t n_bytes = 0;
  uint64_t table_sum = 0;
};
static_assert(sizeof(Head) == 64);

size_t n_pieces(size_t n_bytes) { return (n_bytes + kPieceBytes - 1) / kPieceBytes; }

std::span<const uint8_t> piece_of(std::span<const uint8_t> bytes, size_t i) {
  return bytes.subspan(i * kPieceBytes, std::min(kPieceBytes, bytes.size() - i * kPieceBytes));
}

std::span<const uint8_t> bytes_of(const std::vector<uint64_t>& table) {
  return {reinterpret_cast<const uint8_t*>(table.data()), table.size() * sizeof(uint64_t)};
}

bool read_at(int fd, uint8_t* out, size_t n, size_t at) {
  while (n > 0) {
    ssize_t got = ::pread(fd, out, n, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    at += static_cast<size_t>(got);
    n -= static_cast<size_t>(got);
  }
  return true;
}

void add_file(Sha256& digest, const fs::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return;
  digest.update(fmt::format("{} {} {}.{:09}\n", path.filename().string(), info.st_size, info.st_mtim.tv_sec,
                            info.st_mtim.tv_nsec));
}

// The image, or an empty string: no file of the key. What is wrong with one that has it.
std::string read_checked(int fd, const ImageKey& key, device::ThreadPool& pool, std::span<uint8_t> out, bool& found) {
  Head head;
  found = read_at(fd, reinterpret_cast<uint8_t*>(&head), sizeof(head), 0) &&
          std::string_view(head.magic, sizeof(head.magic)) == kMagic && head.version == kVersion && head.key == key;
  if (!found) return {};
  if (head.n_bytes != out.size()) return fmt::format("{} bytes, want {}", head.n_bytes, out.size());
  std::vector<uint64_t> table(n_pieces(out.size()));
  if (!read_at(fd, reinterpret_cast<uint8_t*>(table.data()), table.size() * sizeof(uint64_t), kHeadBytes + out.size()))
    return "it is cut off";
  if (checksum64(bytes_of(table)) != head.table_sum) return "its checksums are damaged";
  std::atomic<bool> good{true};
  pool.run([&](device::Team& team) {
    device::Range mine = team.range(static_cast<int64_t>(table.size()));
    for (auto i = static_cast<size_t>(mine.begin); i < static_cast<size_t>(mine.end) && good.load(); ++i) {
      size_t at = i * kPieceBytes;
      size_t n = std::min(kPieceBytes, out.size() - at);
      if (!read_at(fd, out.data() + at, n, kHeadBytes + at) || checksum64({out.data() + at, n}) != table[i])
        good = false;
    }
  });
  return good.load() ? "" : "a checksum differs";
}

Result<void> write_parts(int fd, const std::string& path, const ImageKey& key, std::span<const uint8_t> bytes) {
  std::vector<uint64_t> table(n_pieces(bytes.size()));
  for (size_t i = 0; i < table.size(); ++i) table[i] = checksum64(piece_of(bytes, i));
  Head head{.key = key, .n_bytes = bytes.size(), .table_sum = checksum64(bytes_of(table))};
  std::copy(kMagic.begin(), kMagic.end(), head.magic);
  std::array<uint8_t, kHeadBytes> first{};
  std::memcpy(first.data(), &head, sizeof(head));
  TRY(write_all(fd, first, path));
  (void)FAULT_POINT("image.head.after");
  for (size_t i = 0; i < table.size(); ++i) TRY(write_all(fd, piece_of(bytes, i), path));
  (void)FAULT_POINT("image.pieces.after");
  return write_all(fd, bytes_of(table), path);
}

}  // namespace

std::string ImagePlace::path() const {
  std::error_code error;
  fs::path whole = fs::weakly_canonical(model_path, error);
  Sha256 digest;
  digest.update(error ? model_path : whole.string());
  constexpr size_t kNameDigits = 32;
  return fmt::format("{}/{}.packed", folder, hex(digest.finish()).substr(0, kNameDigits));
}

void add_model_stamp(Sha256& digest, const std::string& model_path, const TensorSource& source) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator file(model_path, error), end; !error && file != end; file.increment(error)) {
    files.push_back(file->path());
  }
  if (files.empty()) files.emplace_back(model_path);
  std::ranges::sort(files);
  for (const fs::path& path : files) add_file(digest, path);
  for (std::string_view name : source.names()) {
    Result<tensor::TensorView> view = source.tensor(name);
    if (!view.ok()) continue;
    digest.update(fmt::format("{} {} {} {}\n", name, static_cast<int>(view->format), view->rows(), view->cols()));
    auto n = static_cast<size_t>(view->bytes);
    for (size_t at : {size_t{0}, n / 2, n - std::min(n, kSampleBytes)}) {
      const auto* bytes = reinterpret_cast<const char*>(view->data);
      digest.update({bytes + at, std::min(n - at, kSampleBytes)});
    }
  }
}

bool read_packed_image(const ImagePlace& place, const ImageKey& key, device::ThreadPool& pool, std::span<uint8_t> out) {
  std::string path = place.path();
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) return false;
  bool found = false;
  std::string wrong = read_checked(file.fd, key, pool, out, found);
  if (wrong.empty()) return found;
  LOG(LogLevel::kWarning, "{}: {}; the weights are packed again", path, wrong);
  std::ranges::fill(out, uint8_t{0});
  return false;
}

Result<void> write_packed_image(const ImagePlace& place, const ImageKey& key, std::span<const uint8_t> bytes) {
  std::error_code error;
  fs::create_directories(place.folder, error);
  if (error) return Error{ErrorCode::kIo, fmt::format("{}: {}", place.folder, error.message()), ""};
  std::string path = place.path();
  (void)FAULT_POINT("image.folder.after");
  return write_file_atomic(path, 0600, [&](int fd) { return write_parts(fd, path, key, bytes); });
}

}  // namespace millrace::weights
