// What this machine can do, measured in the same run as the figures that are judged against it.
#pragma once

#include <string>

namespace millrace::app {

struct MachineRates {
  std::string cpu;
  int n_threads = 1;
  double read_gbps = 0;   // memory read by all compute threads, 1e9 bytes/s
  double int8_gmacs = 0;  // int8 multiply-adds of all compute threads, 1e9/s, with the kernels of `isa`
};

// Takes about half a second. n_threads 0: physical cores.
MachineRates measure_machine(const std::string& isa, int n_threads = 0);

}  // namespace millrace::app
