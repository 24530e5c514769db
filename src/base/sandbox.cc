#include "base/sandbox.h"

#include <fmt/core.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

namespace millrace {
namespace {

// io_uring would open sockets past any filter; ptrace and process_vm_writev would make another process do it.
constexpr uint32_t kForbidden[] = {SYS_execve, SYS_execveat, SYS_io_uring_setup, SYS_ptrace, SYS_process_vm_writev};
constexpr uint32_t kSockets[] = {SYS_socket, SYS_socketpair};
constexpr uint32_t kX32Bit = 0x40000000;  // of the numbers of the x32 interface: the same calls once more

constexpr uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;

sock_filter load(size_t at) { return {BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<uint32_t>(at)}; }
sock_filter end(uint32_t action) { return {BPF_RET | BPF_K, 0, 0, action}; }
// Goes on with the next instruction, or passes one over.
sock_filter if_equal(uint32_t value) { return {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, value}; }
sock_filter unless_equal(uint32_t value) { return {BPF_JMP | BPF_JEQ | BPF_K, 1, 0, value}; }
sock_filter if_bit(uint32_t bit) { return {BPF_JMP | BPF_JSET | BPF_K, 0, 1, bit}; }

std::vector<sock_filter> filter_of(const SandboxRules& rules) {
  std::vector<sock_filter> out = {load(offsetof(seccomp_data, arch)),
                                  unless_equal(AUDIT_ARCH_X86_64),
                                  end(kRefuse),
                                  load(offsetof(seccomp_data, nr)),
                                  if_bit(kX32Bit),
                                  end(kRefuse)};
  auto forbid = [&](uint32_t number) {
    out.push_back(if_equal(number));
    out.push_back(end(kRefuse));
  };
  for (uint32_t number : kForbidden) forbid(number);
  if (!rules.sockets) {
    for (uint32_t number : kSockets) forbid(number);
  }
  out.push_back(end(SECCOMP_RET_ALLOW));
  return out;
}

Error refused(const char* call) {
  return {ErrorCode::kResource, fmt::format("no sandbox: {}: {}", call, std::strerror(errno)), "--sandbox"};
}

}  // namespace

Result<void> enter_sandbox(const SandboxRules& rules) {
  std::vector<sock_filter> filter = filter_of(rules);
  sock_fprog program{.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return refused("prctl");
  long failed = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  if (failed > 0) errno = EBUSY;  // the id of a thread that has a filter of its own
  if (failed != 0) return refused("seccomp");
  return {};
}

}  // namespace millrace
