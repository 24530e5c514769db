// Rows M16..M18 and M28: GGUF files whose header is fine but whose tensors, parts or bytes are not.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/philox.h"
#include "tests/hostile/refusal.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"
#include "weights/check_tensors.h"

namespace millrace::testing {
namespace {

using Bytes = std::vector<uint8_t>;
using tensor::Format;
using weights::WeightRole;

TinyModel small() {
  TinyModel tiny;
  tiny.architecture = weights::Architecture::kGemma3;  // has every kind of norm
  tiny.n_layers = 2;
  tiny.d_ff = 512;
  tiny.n_vocab = 64;
  return tiny;
}

enum class Damage { kMissing, kTransposed, kShort, kQuantised };

// The small model with one weight of one role damaged in layer 1 (or the only one).
Bytes damaged(WeightRole role, Damage damage) {
  TinyModel tiny = small();
  weights::ModelDesc desc = tiny_desc(tiny);
  GgufWriter writer;
  add_tiny_keys(writer, tiny);
  for (const weights::WeightRow& row : weights::weight_rows()) {
    if (weights::weight_presence(desc, row.role) == weights::WeightPresence::kAbsent) continue;
    for (uint32_t layer = 0; layer < (row.per_layer ? tiny.n_layers : 1); ++layer) {
      tensor::Shape shape = weights::weight_shape(desc, row.role);
      Format format = shape.n_dims == 1 ? Format::kF32 : tiny.format;
      bool hit = row.role == role && layer + 1 == (row.per_layer ? tiny.n_layers : 1);
      if (hit && damage == Damage::kMissing) continue;
      if (hit && damage == Damage::kTransposed) std::swap(shape.dims[0], shape.dims[1]);
      if (hit && damage == Damage::kShort) shape.dims[0] /= 2;
      if (hit && damage == Damage::kQuantised) format = Format::kQ8_0;
      std::vector<float> values(static_cast<size_t>(shape.n_values()), 1.0f);
      writer.add_tensor(weights::weight_name(desc, row.role, layer, ""), format, shape, values);
    }
  }
  return writer.build();
}

TEST(HostileWeights, M16EveryRole) {
  TempDir dir;
  weights::ModelDesc desc = tiny_desc(small());
  for (const weights::WeightRow& row : weights::weight_rows()) {
    if (weights::weight_presence(desc, row.role) == weights::WeightPresence::kAbsent) continue;
    std::string name = weights::weight_name(desc, row.role, 1, "");
    bool sets_vocab = row.role == WeightRole::kTokenEmbedding;  // its rows are the vocabulary: the output differs then
    std::string wrong = sets_vocab ? "output.weight" : name;
    tensor::Shape shape = weights::weight_shape(desc, row.role);
    expect_refused(dir.write("bad.gguf", damaged(row.role, Damage::kShort)), "M16 short " + name,
                   "tensor \"" + wrong + "\" is ");
    if (shape.n_dims == 1) {
      expect_refused(dir.write("bad.gguf", damaged(row.role, Damage::kQuantised)), "M16 quantised " + name,
                     "tensor \"" + name + "\" is Q8_0, expected F32, F16 or BF16");
    } else if (shape.rows() != shape.cols()) {
      expect_refused(dir.write("bad.gguf", damaged(row.role, Damage::kTransposed)), "M16 transposed " + name,
                     ", expected ");
    }
    if (row.role == WeightRole::kOutput || row.role == WeightRole::kTokenEmbedding) continue;
    expect_refused(dir.write("bad.gguf", damaged(row.role, Damage::kMissing)), "M16 no " + name,
                   "1 tensors are missing: " + name);
  }
}

TEST(HostileWeights, M16Texts) {
  TempDir dir;
  // extents in the order of the file
  expect_refused(dir.write("bad.gguf", damaged(WeightRole::kFfnUp, Damage::kShort)), "M16 order",
                 "tensor \"blk.1.ffn_up.weight\" is 256x256, expected 256x512");
  GgufWriter writer;
  add_tiny_keys(writer, small());
  writer.add_tensor("token_embd.weight", Format::kF32, {64, 256}, std::vector<float>(64 * 256));
  expect_refused(dir.write("bad.gguf", writer.build()), "M16 first five",
                 "27 tensors are missing: output_norm.weight, blk.0.attn_norm.weight, blk.1.attn_norm.weight, "
                 "blk.0.attn_q.weight, blk.1.attn_q.weight and 22 more");
}

struct Part {
  std::string name;
  uint16_t no = 0;
  uint16_t count = 3;
  int32_t n_tensors = 3;
  std::string tensor;
};

void write_part(const TempDir& dir, const Part& part) {
  GgufWriter writer;
  writer.add("general.architecture", "llama");
  Bytes no(2);
  Bytes count(2);
  std::memcpy(no.data(), &part.no, 2);
  std::memcpy(count.data(), &part.count, 2);
  writer.add_raw("split.no", 2, no);
  writer.add_raw("split.count", 2, count);
  writer.add_i32("split.tensors.count", part.n_tensors);
  writer.add_tensor(part.tensor, Format::kF32, {8}, std::vector<float>(8));
  dir.write(part.name, writer.build());
}

std::vector<Part> three_parts() {
  return {{"m-00001-of-00003.gguf", 0, 3, 3, "a"},
          {"m-00002-of-00003.gguf", 1, 3, 3, "b"},
          {"m-00003-of-00003.gguf", 2, 3, 3, "c"}};
}

void expect_split_refused(const std::vector<Part>& parts, const std::string& id, const std::string& want) {
  TempDir dir;
  for (const Part& part : parts) write_part(dir, part);
  expect_refused(dir.file(parts[0].name), id, want);
}

TEST(HostileWeights, M17Parts) {
  std::vector<Part> parts = three_parts();
  expect_split_refused({parts[0], parts[2]}, "M17 missing", "part 2 of 3 not found next to m-00001-of-00003.gguf");
  expect_split_refused({parts[0], parts[1]}, "M17 last missing", "part 3 of 3 not found next to m-00001-of-00003.gguf");
  Part renamed = parts[0];
  renamed.name = "renamed.gguf";
  expect_split_refused({renamed}, "M17 renamed", "part 2 of 3 not found next to renamed.gguf");
  Part huge = parts[0];
  huge.name = "m-00001-of-99999.gguf";
  expect_split_refused({huge}, "M17 99999", "split.count = 3, but the name says 99999 parts");
  Part zero = parts[0];
  zero.count = 0;
  expect_split_refused({zero}, "M17 zero", "split.count = 0: must be 1..65535");
  Part most = {"m-00001-of-65535.gguf", 0, 65535, 3, "a"};
  expect_split_refused({most}, "M17 65535", "part 2 of 65535 not found next to");
  auto with_second = [&](uint16_t no, uint16_t count, int32_t n_tensors, const std::string& tensor) {
    std::vector<Part> out = three_parts();
    out[1] = {"m-00002-of-00003.gguf", no, count, n_tensors, tensor};
    return out;
  };
  std::string foreign = "part 2 of 3 does not belong to the model of m-00001-of-00003.gguf";
  expect_split_refused(with_second(1, 4, 3, "b"), "M17 other count", foreign);
  expect_split_refused(with_second(2, 3, 3, "b"), "M17 other number", foreign);
  expect_split_refused(with_second(1, 3, 9, "b"), "M17 other model", foreign);
  expect_split_refused(with_second(1, 3, 3, "a"), "M17 same tensor", "duplicate tensor name \"a\" in two parts");
  std::vector<Part> short_of = three_parts();
  for (Part& part : short_of) part.n_tensors = 4;
  expect_split_refused(short_of, "M17 sum", "split.tensors.count = 4, parts hold 3");
  TempDir dir;
  for (const Part& part : parts) write_part(dir, part);
  std::filesystem::resize_file(dir.file("m-00002-of-00003.gguf"), 10);
  expect_refused(dir.file("m-00001-of-00003.gguf"), "M17 torn part", "not a model file: 10 bytes");
  std::filesystem::remove(dir.file("m-00002-of-00003.gguf"));
  std::filesystem::create_directory(dir.file("m-00002-of-00003.gguf"));
  expect_refused(dir.file("m-00001-of-00003.gguf"), "M17 folder as part", "not a regular file");
}

TEST(HostileWeights, M18EveryTruncation) {
  TinyModel tiny = small();
  tiny.n_layers = 1;
  Bytes bytes = tiny_gguf(tiny);
  size_t header_bytes = 8192;
  ASSERT_GT(bytes.size(), header_bytes);
  for (size_t n = 0; n < bytes.size(); n += n < header_bytes ? 1 : 4093) {
    Bytes cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));  // its own heap block: overruns are seen
    ASSERT_FALSE(weights::GgufFile::parse(cut).ok()) << n;
  }
}

TEST(HostileWeights, M18TruncatedWhileMapped) {
  TempDir dir;
  std::string path = dir.write("m.gguf", tiny_gguf(small()));
  weights::ModelFile file = weights::ModelFile::open(path).value();
  std::filesystem::resize_file(path, 4096);
  Result<tensor::TensorView> view = file.weight(WeightRole::kFfnDown, 1);
  ASSERT_FALSE(view.ok());
  EXPECT_EQ(view.error().message, path + ": file changed during load");
}

// Any byte of the header may hold anything: accepted or refused, never a crash.
TEST(HostileWeights, FlippedBytes) {
  Bytes valid = tiny_gguf(small());
  size_t header_bytes = 4096;
  for (uint32_t i = 0; i < 3000; ++i) {
    PhiloxBlock random = philox4x32(5, {i, 0, 0, 0});
    Bytes bytes(valid.begin(), valid.end());
    for (uint32_t k = 0; k <= random[3] % 3; ++k)
      bytes[random[k] % header_bytes] = static_cast<uint8_t>(random[k] >> 24);
    Result<weights::GgufFile> file = weights::GgufFile::parse(bytes);
    if (file.ok()) static_cast<void>(weights::ModelFile::from_gguf(std::move(file).value()).ok());
  }
}

// With --check-tensors: a tiny model of every format whose first weight has a broken scale or value.
TEST(HostileWeights, M28EveryFormat) {
  for (const tensor::FormatInfo& info : tensor::kFormats) {
    TinyModel tiny = small();
    tiny.format = info.format;
    Bytes bytes = tiny_gguf(tiny);
    auto open = [&] { return weights::ModelFile::from_gguf(weights::GgufFile::parse(bytes).value()).value(); };
    weights::ModelFile good = open();
    ASSERT_TRUE(weights::check_tensors(good.source(), "m.gguf").ok()) << info.name;
    tensor::TensorView view = good.weight(WeightRole::kTokenEmbedding, 0).value();
    size_t at = static_cast<size_t>(view.data - bytes.data()) + 3 * info.group_bytes;
    // the bits of a NaN everywhere in the group
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), info.group_bytes, uint8_t{0xFF});
    auto checked = weights::check_tensors(open().source(), "m.gguf");
    ASSERT_FALSE(checked.ok()) << info.name;
    EXPECT_EQ(checked.error().code, ErrorCode::kBadFile);
    EXPECT_EQ(checked.error().message, info.group_values == 1
                                           ? "m.gguf: tensor \"token_embd.weight\" value 3 is not finite"
                                           : "m.gguf: tensor \"token_embd.weight\" block 3 has non-finite scale");
  }
}

}  // namespace
}  // namespace millrace::testing
