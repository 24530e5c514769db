// What this CPU and its operating system can run: cpuid and XCR0, read before any code of an ISA folder runs.
// A flag is true only when the registers it needs are saved by the OS too. On another architecture all are false.
// Thread: any.
#pragma once

#include <string>

namespace millrace::kernels {

struct CpuFeatures {
  std::string name;  // brand string, "unknown" where cpuid has none
  // x86-64-v3
  bool avx2 = false;
  bool fma = false;
  bool f16c = false;
  bool bmi = false;  // BMI1, BMI2, LZCNT and MOVBE
  // AVX-512
  bool avx512f = false;
  bool avx512bw = false;
  bool avx512dq = false;
  bool avx512vl = false;
  bool avx512vnni = false;
  bool avx512bf16 = false;
  // AMX: cpuid and XCR0; the permission of the kernel is asked for by whoever uses it
  bool amx_tile = false;
  bool amx_int8 = false;
  bool amx_bf16 = false;
};

CpuFeatures detect_cpu();

// Asks the operating system for the tile registers, once per process (threads inherit the answer). False where it
// refuses or there are none.
bool request_tiles();

}  // namespace millrace::kernels
