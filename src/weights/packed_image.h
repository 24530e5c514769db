// A model's packed weights as one file, so that a later start reads them instead of packing them again.
//   0 "MRPACKED"  8 u64 version  16 u8[32] key  48 u64 n_bytes  56 u64 checksum64 of the table of checksums
//   4096 the bytes   then u64 checksum64 of each MiB of them (little-endian all)
// The key names all that the bytes depend on; a file with another key, size or checksum is not used.
// Thread: the loader's; reading uses the pool.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "base/sha256.h"
#include "device/thread_pool.h"
#include "weights/tensor_source.h"

namespace millrace::weights {

using ImageKey = std::array<uint8_t, 32>;

// Where an image lies: `folder` (made when it is not there) has one image for each model file or folder, by its path.
struct ImagePlace {
  std::string folder;      // empty: no images
  std::string model_path;  // of the .gguf file or the folder

  bool wanted() const { return !folder.empty(); }
  std::string path() const;
};

// Adds to the digest what tells one model from another without reading it: sizes and times of change of its files,
// names, formats, shapes and some bytes of each tensor.
void add_model_stamp(Sha256& digest, const std::string& model_path, const TensorSource& source);

// Fills `out`, which is zero, from the image. False, `out` being zero, when there is none of this key; a damaged one is
// reported as a warning.
bool read_packed_image(const ImagePlace& place, const ImageKey& key, device::ThreadPool& pool, std::span<uint8_t> out);
// Replaces the image of this model. kIo (a full disk, say): nothing is left behind.
Result<void> write_packed_image(const ImagePlace& place, const ImageKey& key, std::span<const uint8_t> bytes);

}  // namespace millrace::weights
