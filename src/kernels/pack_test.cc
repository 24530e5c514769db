// File groups, panels and their way back: the readers of this folder against the exact decoders of tensor/formats.h,
// and the size of packed panels.
#include "kernels/kernel_fixture.h"
#include "kernels/layout.h"
#include "kernels/ref/chains.h"

#include <gtest/gtest.h>

namespace millrace::kernels {
namespace {

class PackTest : public testing::TestWithParam<int> {
 protected:
  Format format() const { return static_cast<Format>(GetParam()); }
};

TEST_P(PackTest, GroupSizesAreThoseOfTheFormatTable) {
  const tensor::FormatInfo& info = tensor::format_info(format());
  EXPECT_EQ(info.group_values, kFileGroups[GetParam()].values);
  EXPECT_EQ(info.group_bytes, kFileGroups[GetParam()].bytes);
}

TEST_P(PackTest, PackedBytesAreAtMostFiveQuartersOfTheFile) {
  int64_t packed = panel_bytes(format(), 512);
  int64_t file = 32 * tensor::row_bytes(format(), 512);
  EXPECT_LE(packed * 4, file * 5);
  EXPECT_EQ(kPanelCells[GetParam()].cell_bytes % 64, 0);
}

TEST_P(PackTest, RefDecodesLikeTheFormatTable) {
  FileMatrix matrix = random_matrix(format(), 4, 768, 0.5f, 71);
  std::vector<float> got(768);
  std::vector<float> want(768);
  for (int64_t row = 0; row < 4; ++row) {
    ref::decode_row(format(), got.data(), matrix.row(row), 768);
    int64_t n_groups = 768 / kFileGroups[GetParam()].values;
    tensor::format_info(format()).decode(want.data(), matrix.row(row), n_groups);
    for (size_t i = 0; i < 768; ++i) ASSERT_EQ(got[i], want[i]) << "row " << row << " value " << i;
  }
}

TEST_P(PackTest, UnpackRowGivesTheDecodedRow) {
  FileMatrix matrix = random_matrix(format(), 45, 512, 0.5f, 72);
  for (const NamedTable& table : gemm_tables()) {
    AlignedBytes panels = pack_matrix(table.table, matrix);
    std::vector<float> got(512);
    std::vector<float> want(512);
    for (int64_t row = 0; row < matrix.n; ++row) {
      table.table.unpack_row[GetParam()](got.data(), panels.data(), row, 512);
      int64_t n_groups = 512 / kFileGroups[GetParam()].values;
      tensor::format_info(format()).decode(want.data(), matrix.row(row), n_groups);
      for (size_t i = 0; i < 512; ++i) ASSERT_EQ(got[i], want[i]) << table.name << " row " << row << " value " << i;
    }
  }
}

std::string format_name(const testing::TestParamInfo<int>& info) {
  return std::string(tensor::format_info(static_cast<Format>(info.param)).name);
}

INSTANTIATE_TEST_SUITE_P(AllFormats, PackTest, testing::Range(0, tensor::kNFormats), format_name);

TEST(PackFloats, OddRowsOfHalvesArePaddedWithZero) {
  FileMatrix matrix = random_matrix(Format::kF16, 3, 7, 1.0f, 73);
  KernelTable table = gemm_tables().front().table;
  AlignedBytes panels = pack_matrix(table, matrix);
  EXPECT_EQ(panel_bytes(Format::kF16, 7), 4 * 128);
  float row[7];
  table.unpack_row[static_cast<int>(Format::kF16)](row, panels.data(), 2, 7);
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(row[i], tensor::load_f16(matrix.row(2) + 2 * i));
}

}  // namespace
}  // namespace millrace::kernels
