// A product of 32 activation rows and 32 output rows over 32 values of k, as four accumulator tiles: what the GEMM of
// this folder needs of AMX, and the same in scalar code. Register use: C 0..3, activations 4 and 5, weights 6 and 7.
// Source: Intel SDM volume 2, TDPBSUD: C[m][n] += sum over 4 of signed A[m][4 k + i] * unsigned B[k][4 n + i].
// Thread: a tile configuration belongs to the thread that loaded it.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace millrace::kernels::amx {
namespace {

constexpr int kTileRows = 32;        // activation rows and output rows of a step
constexpr int kTileK = 32;           // values of k of a step: one group
constexpr int64_t kWeightRow = 128;  // bytes of a dword row of the unpacked panel: 32 outputs x 4

// a: int8 [32 rows][a_stride], 32 values each. b: u8 [8][32 outputs][4]. c: int32 [32][32].
class RealTiles {
 public:
  RealTiles() {
    Config config{};
    config.palette = 1;
    for (int i = 0; i < 4; ++i) config.set(i, 16, 64);
    config.set(4, 16, kTileK);
    config.set(5, 16, kTileK);
    config.set(6, kTileK / 4, 64);
    config.set(7, kTileK / 4, 64);
    _tile_loadconfig(&config);
  }
  ~RealTiles() { _tile_release(); }  // so that a parked thread leaves no tile state to be saved
  RealTiles(const RealTiles&) = delete;
  RealTiles& operator=(const RealTiles&) = delete;

  void multiply(int32_t* c, const int8_t* a, int64_t a_stride, const uint8_t* b) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, a, a_stride);
    _tile_loadd(5, a + 16 * a_stride, a_stride);
    _tile_loadd(6, b, kWeightRow);
    _tile_loadd(7, b + 64, kWeightRow);
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
    _tile_stored(0, c, kTileRows * 4);
    _tile_stored(1, c + 16, kTileRows * 4);
    _tile_stored(2, c + 16 * kTileRows, kTileRows * 4);
    _tile_stored(3, c + 16 * kTileRows + 16, kTileRows * 4);
  }

 private:
  // Palette 1: 8 tiles of at most 16 rows of 64 bytes (SDM volume 1, section 18.3).
  struct alignas(64) Config {
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
    void set(int tile, int n_rows, int n_bytes) {
      rows[tile] = static_cast<uint8_t>(n_rows);
      row_bytes[tile] = static_cast<uint16_t>(n_bytes);
    }
  };
  static_assert(sizeof(Config) == 64);
};

class EmulatedTiles {
 public:
  void multiply(int32_t* c, const int8_t* a, int64_t a_stride, const uint8_t* b) {
    for (int row_tile = 0; row_tile < 2; ++row_tile) {
      for (int column_tile = 0; column_tile < 2; ++column_tile) {
        dot(c + row_tile * 16 * kTileRows + column_tile * 16, a + row_tile * 16 * a_stride, a_stride,
            b + column_tile * 64);
      }
    }
  }

 private:
  static void dot(int32_t* c, const int8_t* a, int64_t a_stride, const uint8_t* b) {
    for (int m = 0; m < 16; ++m) {
      for (int n = 0; n < 16; ++n) {
        int32_t sum = 0;
        for (int k = 0; k < kTileK; ++k)
          sum += int32_t{a[m * a_stride + k]} * int32_t{b[k / 4 * kWeightRow + 4 * n + k % 4]};
        c[m * kTileRows + n] = sum;
      }
    }
  }
};

}  // namespace
}  // namespace millrace::kernels::amx
