// Packing with an image: the second load reads it, its bytes are those of packing, and another model, quantisation or
// a damaged image packs again.
#include "layers/weight_packer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/pick.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace millrace::layers {
namespace {

using weights::WeightRole;

struct Packed {
  std::vector<uint8_t> bytes;
  int n_reports = 0;  // one a matrix, and one at the end: 1 means that nothing was packed
};

class Loads {
 public:
  Loads() { write(testing::TinyModel{}); }

  void write(const testing::TinyModel& tiny) {
    std::vector<uint8_t> bytes = testing::tiny_gguf(tiny);
    folder_.write("model.gguf", bytes);
  }
  Packed load(const weights::ImagePlace& image, std::optional<tensor::Format> quantization = std::nullopt) {
    const kernels::KernelTable* table = kernels::pick_kernels(kernels::detect_cpu(), "generic").value();
    weights::ModelFile file = weights::ModelFile::open(path()).value();
    EXPECT_TRUE(!quantization || file.quantize(*quantization).ok());
    device::ThreadPool pool(2, false);
    WeightPacker packer(*table, file);
    PackedMatrix q, down;
    const float* norm = nullptr;
    EXPECT_TRUE(packer.add(q, {WeightRole::kAttnQ, WeightRole::kAttnK}, 0).ok());
    EXPECT_TRUE(packer.add_vector(norm, WeightRole::kAttnNorm, 1, 1.0f).ok());
    EXPECT_TRUE(packer.add(down, {WeightRole::kFfnDown}, 1).ok());
    Packed out;
    auto count = [&](int64_t, int64_t) { return ++out.n_reports > 0; };
    device::Buffer memory = packer.pack(pool, count, image).value();
    EXPECT_EQ(norm[3], 2.0f);
    EXPECT_EQ(down.parts()[0].panels - q.parts()[0].panels > 0, true);
    out.bytes.assign(memory.data(), memory.data() + memory.size_bytes());
    return out;
  }
  weights::ImagePlace image() const { return {.folder = folder_.path() + "/packed", .model_path = path()}; }
  std::string path() const { return folder_.path() + "/model.gguf"; }

 private:
  testing::TempDir folder_;
};

TEST(WeightPacker, AnImageHoldsWhatPackingMakes) {
  Loads loads;
  Packed plain = loads.load({});
  Packed first = loads.load(loads.image());
  Packed second = loads.load(loads.image());
  EXPECT_EQ(plain.n_reports, 4);
  EXPECT_EQ(first.n_reports, 4);
  EXPECT_EQ(second.n_reports, 1) << "nothing was packed";
  EXPECT_EQ(first.bytes, plain.bytes);
  EXPECT_EQ(second.bytes, plain.bytes);
}

TEST(WeightPacker, AnImageOfAnotherModelIsReplaced) {
  Loads loads;
  loads.load(loads.image());
  loads.write({.scale = 0.2f});
  Packed other = loads.load(loads.image());
  EXPECT_EQ(other.n_reports, 4);
  EXPECT_EQ(other.bytes, loads.load({}).bytes);
  EXPECT_EQ(loads.load(loads.image()).n_reports, 1);
  loads.write({.format = tensor::Format::kF16});
  EXPECT_EQ(loads.load(loads.image()).n_reports, 4);
  Packed quantised = loads.load(loads.image(), tensor::Format::kQ8_0);
  EXPECT_EQ(quantised.n_reports, 4) << "the same file, kept in another format";
  EXPECT_EQ(loads.load(loads.image(), tensor::Format::kQ8_0).bytes, quantised.bytes);
}

TEST(WeightPacker, ADamagedImageIsPackedAgain) {
  Loads loads;
  Packed plain = loads.load(loads.image());
  std::filesystem::resize_file(loads.image().path(), 5000);
  Packed again = loads.load(loads.image());
  EXPECT_EQ(again.n_reports, 4);
  EXPECT_EQ(again.bytes, plain.bytes);
  EXPECT_EQ(loads.load(loads.image()).n_reports, 1) << "it was written anew";
}

TEST(WeightPacker, AnImageThatCannotBeWrittenChangesNothing) {
  Loads loads;
  Packed packed = loads.load({.folder = loads.path() + "/below", .model_path = loads.path()});
  EXPECT_EQ(packed.n_reports, 4);
  EXPECT_EQ(packed.bytes, loads.load({}).bytes);
}

}  // namespace
}  // namespace millrace::layers
