// Calibration: a cost model on disk, so that a server knows its machine from the first step on. Written by `millrace
// bench calibrate`, one file per model, KV format, instruction set and number of threads; read at load. A file that is
// damaged or of another version is left alone with a warning: it is only a start value.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sched/cost_model.h"

namespace millrace::instance {

// ROOT/calibration/FINGERPRINT-ISA-tN.json. The fingerprint covers the model and its KV format.
std::string calibration_path(const std::string& store_root, const std::string& fingerprint, const std::string& isa,
                             uint32_t n_threads);

// kIo. Makes the folder; replaces the file as a whole.
Result<void> write_calibration(const std::string& path, const sched::CostModel& cost);
// kNotFound, kBadFile with the field, got and wanted.
Result<sched::CostModel> read_calibration(const std::string& path);

}  // namespace millrace::instance
