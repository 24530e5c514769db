#include "app/machine_rates.h"

#include "device/cpu_topology.h"
#include "device/probe.h"
#include "device/thread_pool.h"
#include "kernels/cpu/detect.h"
#include "kernels/pick.h"
#include "kernels/probe.h"

namespace millrace::app {

MachineRates measure_machine(const std::string& isa, int n_threads) {
  device::CpuTopology topology = device::read_cpu_topology();
  device::ThreadPool pool(n_threads > 0 ? n_threads : device::compute_threads_default(topology), true);
  MachineRates out;
  out.cpu = topology.cpu_name;
  out.n_threads = pool.n_threads();
  if (auto bandwidth = device::probe_bandwidth(pool, topology); bandwidth.ok())
    out.read_gbps = bandwidth->all_threads_gbps;
  if (auto table = kernels::pick_kernels(kernels::detect_cpu(), isa); table.ok())
    out.int8_gmacs = kernels::probe_int8(pool, **table);
  return out;
}

}  // namespace millrace::app
