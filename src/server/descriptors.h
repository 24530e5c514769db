// How many connections the process's limit of open files allows. Thread: any.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace millrace::server {

// Raises the soft limit to the hard one; what it is then.
uint64_t raise_descriptor_limit();

// The limit of connections when n_descriptors files may be open: `wanted`, or what leaves enough for the rest of the
// process. kResource when that is next to none.
Result<int64_t> connection_cap(int64_t wanted, uint64_t n_descriptors);

}  // namespace millrace::server
