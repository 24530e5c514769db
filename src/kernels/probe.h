// The start-up probe of arithmetic: what the chosen table's multiply-adds reach on this machine at best. With the
// bandwidth of device/probe.h it gives the ceiling that every benchmark line is judged against.
// Thread: the one that may call ThreadPool::run.
#pragma once

#include "device/thread_pool.h"
#include "kernels/ops.h"

namespace millrace::kernels {

// 1e9 multiply-adds per second of all threads of the pool together. Takes about `seconds`.
double probe_int8(device::ThreadPool& pool, const KernelTable& table, double seconds = 0.05);
double probe_f32(device::ThreadPool& pool, const KernelTable& table, double seconds = 0.05);

}  // namespace millrace::kernels
