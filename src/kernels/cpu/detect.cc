// Reads cpuid leaves 1, 7, 0xD, 0x80000001 and the brand string. Bit numbers: Intel SDM volume 2A, CPUID; XCR0: volume
// 1, section 13.3. The only file of this folder with #if. Thread: any.
#include "kernels/cpu/detect.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace millrace::kernels {
namespace {

#if defined(__x86_64__)

struct Leaf {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
};

Leaf leaf(uint32_t number, uint32_t sub = 0) {
  Leaf out;
  if (__get_cpuid_count(number, sub, &out.eax, &out.ebx, &out.ecx, &out.edx) == 0) return Leaf{};
  return out;
}

bool has(uint32_t bits, uint32_t bit) { return ((bits >> bit) & 1u) != 0; }

uint64_t read_xcr0() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

std::string brand() {
  if (leaf(0x80000000u).eax < 0x80000004u) return "unknown";
  std::string text;
  for (uint32_t number = 0x80000002u; number <= 0x80000004u; ++number) {
    Leaf part = leaf(number);
    for (uint32_t word : {part.eax, part.ebx, part.ecx, part.edx}) {
      for (uint32_t shift = 0; shift < 32; shift += 8) {
        char c = static_cast<char>((word >> shift) & 0x7Fu);
        if (c >= ' ' && (c != ' ' || !text.empty())) text.push_back(c);
      }
    }
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text.empty() ? "unknown" : text;
}

// Linux: ARCH_REQ_XCOMP_PERM for XTILEDATA (arch/x86/include/uapi/asm/prctl.h; XCR0 bit 18).
bool ask_for_tiles() {
  constexpr long kRequestPermission = 0x1023;
  constexpr long kTileData = 18;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

void read_features(CpuFeatures& out) {
  Leaf one = leaf(1);
  bool saves_state = has(one.ecx, 27);  // OSXSAVE: xgetbv may be used
  uint64_t xcr0 = saves_state ? read_xcr0() : 0;
  bool ymm = (xcr0 & 0x6u) == 0x6u;
  bool zmm = ymm && (xcr0 & 0xE0u) == 0xE0u;
  bool tiles = (xcr0 & 0x60000u) == 0x60000u;
  Leaf seven = leaf(7);
  Leaf seven_one = seven.eax >= 1 ? leaf(7, 1) : Leaf{};
  Leaf extended = leaf(0x80000001u);
  out.avx2 = ymm && has(one.ecx, 28) && has(seven.ebx, 5);
  out.fma = ymm && has(one.ecx, 12);
  out.f16c = ymm && has(one.ecx, 29);
  out.bmi = has(seven.ebx, 3) && has(seven.ebx, 8) && has(extended.ecx, 5) && has(one.ecx, 22);
  out.avx512f = zmm && has(seven.ebx, 16);
  out.avx512dq = zmm && has(seven.ebx, 17);
  out.avx512bw = zmm && has(seven.ebx, 30);
  out.avx512vl = zmm && has(seven.ebx, 31);
  out.avx512vnni = zmm && has(seven.ecx, 11);
  out.avx512bf16 = zmm && has(seven_one.eax, 5);
  out.amx_bf16 = tiles && has(seven.edx, 22);
  out.amx_tile = tiles && has(seven.edx, 24);
  out.amx_int8 = tiles && has(seven.edx, 25);
}

#else

std::string brand() { return "unknown"; }
bool ask_for_tiles() { return false; }
void read_features(CpuFeatures&) {}

#endif

}  // namespace

CpuFeatures detect_cpu() {
  CpuFeatures out;
  out.name = brand();
  read_features(out);
  return out;
}

bool request_tiles() { return ask_for_tiles(); }

}  // namespace millrace::kernels
