// Images of packed weights: what was written is read, and nothing else is taken for it.
#include "weights/packed_image.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/support/temp_dir.h"

namespace millrace::weights {
namespace {

struct Image {
  testing::TempDir folder;
  ImagePlace place{.folder = folder.path() + "/packed", .model_path = folder.path() + "/model.gguf"};
  ImageKey key{1, 2, 3};
  device::ThreadPool pool{2, false};
  std::vector<uint8_t> bytes = std::vector<uint8_t>((size_t{3} << 20) + 77);

  Image() {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 31 + (i >> 9));
    EXPECT_TRUE(write_packed_image(place, key, bytes).ok());
  }
  bool reads(const ImageKey& of, size_t n_bytes) {
    std::vector<uint8_t> out(n_bytes);
    bool found = read_packed_image(place, of, pool, out);
    EXPECT_EQ(out, found ? bytes : std::vector<uint8_t>(n_bytes));
    return found;
  }
  bool reads() { return reads(key, bytes.size()); }
  void flip(size_t at) {
    std::fstream file(place.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    char byte = 0;
    file.get(byte);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 4));
  }
};

TEST(PackedImage, GivesBackWhatWasWritten) {
  Image image;
  EXPECT_TRUE(image.reads());
  image.bytes[5] ^= 1;
  image.key[0] = 9;
  ASSERT_TRUE(write_packed_image(image.place, image.key, image.bytes).ok());
  EXPECT_TRUE(image.reads());
  size_t n_files = 0;
  for (const auto& file : std::filesystem::directory_iterator(image.place.folder)) n_files += file.is_regular_file();
  EXPECT_EQ(n_files, 1u) << "one image a model";
}

TEST(PackedImage, AnotherKeySizeOrModelIsNotRead) {
  Image image;
  EXPECT_FALSE(image.reads(ImageKey{1, 2, 4}, image.bytes.size()));
  EXPECT_FALSE(image.reads(image.key, image.bytes.size() + 1));
  image.place.model_path += "2";
  EXPECT_FALSE(image.reads());
}

TEST(PackedImage, ADamagedOneIsNotUsed) {
  constexpr size_t kHead = 4096;
  Image whole;
  size_t end = kHead + whole.bytes.size();
  for (size_t at :
       {size_t{0}, size_t{9}, size_t{20}, size_t{50}, size_t{60}, kHead, kHead + 2'000'000, end - 1, end, end + 9}) {
    Image image;
    image.flip(at);
    EXPECT_FALSE(image.reads()) << "byte " << at;
  }
  for (size_t left : {size_t{0}, size_t{10}, kHead, end - 1, end + 8}) {
    Image image;
    std::filesystem::resize_file(image.place.path(), left);
    EXPECT_FALSE(image.reads()) << left << " bytes left";
  }
}

TEST(PackedImage, AFolderThatCannotBeMadeIsAnError) {
  Image image;
  ImagePlace place{.folder = image.place.path() + "/below", .model_path = "m"};
  Result<void> written = write_packed_image(place, image.key, image.bytes);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kIo);
}

}  // namespace
}  // namespace millrace::weights
