#include "tests/support/io_faults.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <sstream>
#include <string_view>
#include <utility>
#include <vector>

// The one place whose system calls the filter lets through: it tells them by the address after the instruction.
extern "C" long millrace_raw_call(long number, long a, long b, long c, long d, long e, long f);
extern "C" const char millrace_raw_call_end[];
asm(R"(
.text
.globl millrace_raw_call
.type millrace_raw_call, @function
millrace_raw_call:
  mov %rdi, %rax
  mov %rsi, %rdi
  mov %rdx, %rsi
  mov %rcx, %rdx
  mov %r8, %r10
  mov %r9, %r8
  mov 8(%rsp), %r9
  syscall
.globl millrace_raw_call_end
millrace_raw_call_end:
  ret
.size millrace_raw_call, .-millrace_raw_call
)");

// Handlers of the program block all signals while they run (asio's do), and write to a pipe: a trap that is blocked
// would end the process.
extern "C" int __sigaction(int number, const struct sigaction* action, struct sigaction* before);
extern "C" int sigaction(int number, const struct sigaction* action, struct sigaction* before) noexcept {
  if (action == nullptr) return __sigaction(number, action, before);
  struct sigaction open = *action;
  sigdelset(&open.sa_mask, SIGSYS);
  return __sigaction(number, &open, before);
}

namespace millrace::support {
namespace {

constexpr long kSector = 512;
constexpr const char* kNames[] = {"EIO", "full", "read-only", "EINTR", "short", "cut", "gone", "torn", "flip"};

// What a call does, as far as faults care.
enum class Verb : uint8_t { kOpen, kRead, kWrite, kSync, kClose, kLock, kList, kName, kRemove };
enum class By : uint8_t { kFd, kPath, kFolderAndPath };  // how its first arguments name the file

struct Call {
  int number;
  Verb verb;
  By by;
};
constexpr Call kCalls[] = {{SYS_open, Verb::kOpen, By::kPath},      {SYS_openat, Verb::kOpen, By::kFolderAndPath},
                           {SYS_read, Verb::kRead, By::kFd},        {SYS_pread64, Verb::kRead, By::kFd},
                           {SYS_readv, Verb::kRead, By::kFd},       {SYS_write, Verb::kWrite, By::kFd},
                           {SYS_pwrite64, Verb::kWrite, By::kFd},   {SYS_writev, Verb::kWrite, By::kFd},
                           {SYS_ftruncate, Verb::kRemove, By::kFd}, {SYS_fsync, Verb::kSync, By::kFd},
                           {SYS_fdatasync, Verb::kSync, By::kFd},   {SYS_close, Verb::kClose, By::kFd},
                           {SYS_flock, Verb::kLock, By::kFd},       {SYS_getdents64, Verb::kList, By::kFd},
                           {SYS_rename, Verb::kName, By::kPath},    {SYS_renameat, Verb::kName, By::kFolderAndPath},
                           {SYS_link, Verb::kName, By::kPath},      {SYS_mkdir, Verb::kName, By::kPath},
                           {SYS_unlink, Verb::kRemove, By::kPath},  {SYS_unlinkat, Verb::kRemove, By::kFolderAndPath},
                           {SYS_rmdir, Verb::kRemove, By::kPath}};

struct State {
  std::string folder;
  IoPlan plan;
  std::atomic<uint64_t> n_calls{0};
};
std::atomic<State*> armed{nullptr};

struct Trapped {
  long number;
  long args[6];
  long run() const { return millrace_raw_call(number, args[0], args[1], args[2], args[3], args[4], args[5]); }
};

// The handler allocates nothing: paths are in buffers of this size, what is longer is not ours.
struct Path {
  char text[PATH_MAX] = {};
  size_t n = 0;
  void add(std::string_view more) {
    size_t fits = std::min(more.size(), sizeof(text) - 1 - n);
    std::memcpy(text + n, more.data(), fits);
    n += fits;
    text[n] = 0;
  }
  void add_descriptor(long fd) {
    char link[64] = "/proc/self/fd/";
    size_t at = std::strlen(link);
    char digits[20];
    size_t n_digits = 0;
    do digits[n_digits++] = static_cast<char>('0' + fd % 10);
    while ((fd /= 10) > 0);
    while (n_digits > 0) link[at++] = digits[--n_digits];
    link[at] = 0;
    long got = millrace_raw_call(SYS_readlink, reinterpret_cast<long>(link), reinterpret_cast<long>(text), PATH_MAX - 1,
                                 0, 0, 0);
    n = static_cast<size_t>(std::max(0L, got));
    text[n] = 0;
  }
};

void find_path(const Trapped& call, By by, Path& out) {
  if (by == By::kFd) {
    if (call.args[0] > STDERR_FILENO) out.add_descriptor(call.args[0]);
    return;
  }
  const char* text = reinterpret_cast<const char*>(call.args[by == By::kPath ? 0 : 1]);
  if (text == nullptr) return;
  if (text[0] != '/' && by == By::kFolderAndPath && call.args[0] >= 0) {
    out.add_descriptor(call.args[0]);
    out.add("/");
  }
  out.add(text);
}

bool moves_bytes(const Call& call) { return call.number != SYS_readv && call.number != SYS_writev; }

bool can_hit(IoFault fault, const Call& call, const Trapped& trapped) {
  bool writes = call.verb == Verb::kWrite || call.verb == Verb::kSync || call.verb == Verb::kName;
  if (call.verb == Verb::kOpen) {
    long flags = trapped.args[call.by == By::kPath ? 1 : 2];
    writes = (flags & (O_CREAT | O_TRUNC)) != 0;
  }
  switch (fault) {
    case IoFault::kEio:
      return true;
    case IoFault::kFull:
      return writes;
    case IoFault::kReadOnly:
      return writes || call.verb == Verb::kRemove;
    case IoFault::kEintr:
      return call.verb == Verb::kRead || call.verb == Verb::kWrite || call.verb == Verb::kOpen;
    case IoFault::kShort:
      return moves_bytes(call) && (call.verb == Verb::kRead || call.verb == Verb::kWrite);
    case IoFault::kCut:
    case IoFault::kTorn:
      return moves_bytes(call) && call.verb == Verb::kWrite;
    case IoFault::kGone:
      return call.verb != Verb::kRemove && call.verb != Verb::kList && call.verb != Verb::kClose;
    case IoFault::kFlip:
      return moves_bytes(call) && call.verb == Verb::kRead;
  }
  return false;
}

long half(const Trapped& trapped) {
  Trapped less = trapped;
  less.args[2] = std::max(1L, trapped.args[2] / 2);
  return less.run();
}

long torn(const Trapped& trapped) {
  static const char zeros[4096] = {};
  Trapped piece = trapped;
  long kept = trapped.args[2] / 2 / kSector * kSector;
  piece.args[2] = kept;
  if (kept > 0 && piece.run() != kept) return -EIO;
  for (long done = kept; done < trapped.args[2]; done += piece.args[2]) {
    piece.args[1] = reinterpret_cast<long>(zeros);
    piece.args[2] = std::min<long>(sizeof(zeros), trapped.args[2] - done);
    piece.args[3] = trapped.args[3] + done;  // of pwrite
    if (piece.run() != piece.args[2]) return -EIO;
  }
  return trapped.args[2];
}

long flipped(const Trapped& trapped, uint64_t seed) {
  long got = trapped.run();
  if (got > 0) {
    uint64_t bit = seed * 0x9E3779B97F4A7C15u % (static_cast<uint64_t>(got) * 8);
    reinterpret_cast<char*>(trapped.args[1])[bit / 8] ^= static_cast<char>(1 << bit % 8);
  }
  return got;
}

long strike(const State& state, const Call& call, const Trapped& trapped, const Path& path, uint64_t n) {
  switch (state.plan.fault) {
    case IoFault::kEio:
      if (call.verb == Verb::kClose) trapped.run();
      return -EIO;
    case IoFault::kFull:
      return -ENOSPC;
    case IoFault::kReadOnly:
      return -EROFS;
    case IoFault::kEintr:
      return -EINTR;
    case IoFault::kShort:
      return half(trapped);
    case IoFault::kCut:
      return n == state.plan.first ? half(trapped) : -ENOSPC;
    case IoFault::kGone:
      millrace_raw_call(SYS_unlink, reinterpret_cast<long>(path.text), 0, 0, 0, 0, 0);
      return trapped.run();
    case IoFault::kTorn:
      return torn(trapped);
    case IoFault::kFlip:
      return flipped(trapped, n);
  }
  return trapped.run();
}

long carry_out(const Trapped& trapped) {
  State* state = armed.load(std::memory_order_acquire);
  const Call* call = std::ranges::find(kCalls, static_cast<int>(trapped.number), &Call::number);
  if (state == nullptr || call == std::end(kCalls) || !can_hit(state->plan.fault, *call, trapped)) return trapped.run();
  Path path;
  find_path(trapped, call->by, path);
  if (!std::string_view(path.text, path.n).starts_with(state->folder)) return trapped.run();
  uint64_t n = state->n_calls.fetch_add(1) + 1;
  // interrupted for ever, a program that tries again does so for ever
  bool for_good = (state->plan.for_good && state->plan.fault != IoFault::kEintr) || state->plan.fault == IoFault::kCut;
  if (n != state->plan.first && !(for_good && n > state->plan.first)) return trapped.run();
  return strike(*state, *call, trapped, path, n);
}

void on_call(int, siginfo_t*, void* context) {
  greg_t* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  Trapped trapped{registers[REG_RAX],
                  {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX], registers[REG_R10], registers[REG_R8],
                   registers[REG_R9]}};
  registers[REG_RAX] = carry_out(trapped);
}

void die(const char* what) {
  std::perror(what);
  std::abort();
}

void install() {
  static bool done = false;
  if (std::exchange(done, true)) return;
  struct sigaction action {};
  action.sa_sigaction = on_call;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) die("sigaction");
  auto word = [](size_t at) { return sock_filter{BPF_LD | BPF_W | BPF_ABS, 0, 0, static_cast<uint32_t>(at)}; };
  auto unless = [](uint32_t value, size_t skip) {
    return sock_filter{BPF_JMP | BPF_JEQ | BPF_K, 0, static_cast<uint8_t>(skip), value};
  };
  auto end = [](uint32_t what) { return sock_filter{BPF_RET | BPF_K, 0, 0, what}; };
  constexpr size_t kAddress = offsetof(seccomp_data, instruction_pointer);
  auto mine = reinterpret_cast<uint64_t>(millrace_raw_call_end);
  std::vector<sock_filter> filter = {word(kAddress),         unless(static_cast<uint32_t>(mine), 3),
                                     word(kAddress + 4),     unless(static_cast<uint32_t>(mine >> 32), 1),
                                     end(SECCOMP_RET_ALLOW), word(offsetof(seccomp_data, nr))};
  for (const Call& call : kCalls) {
    filter.push_back(unless(static_cast<uint32_t>(call.number), 1));
    filter.push_back(end(SECCOMP_RET_TRAP));
  }
  filter.push_back(end(SECCOMP_RET_ALLOW));
  sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) die("prctl");
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) die("seccomp");
}

}  // namespace

const char* name_of(IoFault fault) { return kNames[static_cast<size_t>(fault)]; }

IoFaults::IoFaults(const std::string& folder, const IoPlan& plan) {
  install();
  auto* state = new State{.folder = folder, .plan = plan};
  if (armed.exchange(state) != nullptr) die("two IoFaults at a time");
}

IoFaults::~IoFaults() { delete armed.exchange(nullptr); }

uint64_t IoFaults::n_calls() const { return armed.load()->n_calls; }

void arm_io_faults_of_environment() {
  const char* text = std::getenv("MILLRACE_IO_FAULT");
  if (text == nullptr) return;
  std::istringstream in(text);
  std::string kind, folder;
  uint64_t first = 0;
  in >> kind >> first;
  bool for_good = in.peek() == '+' && in.get() == '+';
  if (!(in >> folder)) die("MILLRACE_IO_FAULT");
  const auto* found = std::ranges::find_if(kNames, [&](const char* name) { return kind == name; });
  if (found == std::end(kNames)) die("MILLRACE_IO_FAULT: the kind");
  static IoFaults faults(folder, {.fault = static_cast<IoFault>(found - kNames), .first = first, .for_good = for_good});
  std::atexit([] {
    const char* count = std::getenv("MILLRACE_IO_COUNT");
    State* state = armed.load();
    std::FILE* file = count == nullptr || state == nullptr ? nullptr : std::fopen(count, "w");
    if (file == nullptr) return;
    fmt::print(file, "{}\n", state->n_calls.load());
    std::fclose(file);
  });
}

}  // namespace millrace::support
