// Faults of the disk, put between the program and the kernel: a seccomp filter turns file system calls into SIGSYS, and
// the handler carries them out, or not. So the code under test is the code that ships, and what stdio and
// std::filesystem do inside the C library counts, too. Only files below one folder are touched. Linux on x86-64. The
// filter stays for the rest of the process. Thread: any; one IoFaults at a time.
#pragma once

#include <cstdint>
#include <string>

namespace millrace::support {

enum class IoFault : uint8_t {
  kEio,       // the call fails with EIO (a close has closed)
  kFull,      // what needs room fails with ENOSPC
  kReadOnly,  // what changes the disk fails with EROFS
  kEintr,     // what may be interrupted is
  kShort,     // a read or write does half
  kCut,       // a write does half, and the disk is full from then on
  kGone,      // the file is removed just before the call
  kTorn,      // a write says it did all; only whole sectors of 512 bytes of its first half reached the disk
  kFlip       // one bit of what was read is another
};

struct IoPlan {
  IoFault fault = IoFault::kEio;
  uint64_t first = 1;     // of the calls that this fault could hit, from 1
  bool for_good = false;  // all from the first on; not with kEintr
};

// "EIO", "full", ...: the names of the kinds, in their order, for messages and MILLRACE_IO_FAULT.
const char* name_of(IoFault fault);

class IoFaults {
 public:
  IoFaults(const std::string& folder, const IoPlan& plan);
  ~IoFaults();
  IoFaults(const IoFaults&) = delete;
  IoFaults& operator=(const IoFaults&) = delete;
  // Calls that the fault could have hit so far.
  uint64_t n_calls() const;
};

// The same for a whole program: MILLRACE_IO_FAULT="KIND FIRST[+] FOLDER", + = for good. At the end of the process the
// number of calls goes to the file that MILLRACE_IO_COUNT names.
void arm_io_faults_of_environment();

}  // namespace millrace::support
