// Part of millrace_faults: faults of the disk from the first call on, as MILLRACE_IO_FAULT says.
#include "tests/support/io_faults.h"

namespace {

const bool armed = (millrace::support::arm_io_faults_of_environment(), true);

}  // namespace
