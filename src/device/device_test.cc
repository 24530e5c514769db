#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "device/buffer.h"
#include "device/cpu_topology.h"
#include "device/heartbeat.h"
#include "device/probe.h"
#include "device/thread_pool.h"

namespace millrace::device {
namespace {

TEST(BufferTest, IsAlignedZeroAndMovable) {
  Buffer buffer = Buffer::allocate(3'000'000, "test").value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % kHugePageBytes, 0u);
  EXPECT_EQ(buffer.data()[2'999'999], 0);
  buffer.data()[5] = 7;
  Buffer other = std::move(buffer);
  EXPECT_EQ(other.data()[5], 7);
  EXPECT_EQ(buffer.data(), nullptr);
  buffer = std::move(other);
  EXPECT_EQ(buffer.size_bytes(), 3'000'000u);
  EXPECT_EQ(Buffer::allocate(0, "none")->data(), nullptr);
}

TEST(BufferTest, RefusalIsAnError) {
  for (size_t n_bytes : {SIZE_MAX, size_t{1} << 60}) {
    auto result = Buffer::allocate(n_bytes, "weights of blk.0");
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, ErrorCode::kResource);
    EXPECT_NE(result.error().message.find("weights of blk.0"), std::string::npos);
  }
}

TEST(ArenaTest, CopiesOfACursorAgree) {
  Buffer buffer = Buffer::allocate(1 << 16, "arena").value();
  Arena arena(buffer);
  (void)arena.take<char>(3);
  Arena copy = arena;
  EXPECT_EQ(arena.take<float>(100), copy.take<float>(100));
  EXPECT_EQ(arena.take<int64_t>(7), copy.take<int64_t>(7));
  auto at = reinterpret_cast<uintptr_t>(arena.take<char>(1));
  EXPECT_EQ(at % kCacheLineBytes, 0u);
  size_t mark = copy.mark();
  auto* piece = copy.take<float>(16);
  copy.rewind(mark);
  EXPECT_EQ(copy.take<float>(16), piece);
  EXPECT_EQ(copy.high_water_bytes(), mark + 64);
}

TEST(ArenaTest, TheLastByteCanBeTakenAndNoMore) {
  alignas(64) uint8_t memory[192];
  Arena arena(memory, 190);
  (void)arena.take<uint8_t>(128);
  (void)arena.take<uint8_t>(62);
  EXPECT_EQ(arena.mark(), 190u);
  EXPECT_DEATH((void)arena.take<uint8_t>(1), "arena");
  EXPECT_DEATH((void)arena.take<uint64_t>(SIZE_MAX / 4), "arena");
}

TEST(TeamTest, RangesCoverEveryUnitOnce) {
  for (int n_threads : {1, 2, 3, 7}) {
    for (int64_t n_units : {0, 1, 5, 18, 100}) {
      int64_t next = 0;
      for (int thread = 0; thread < n_threads; ++thread) {
        Range range = Team{thread, n_threads}.range(n_units);
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(range.end - range.begin, n_units / n_threads + 1);
        next = range.end;
      }
      EXPECT_EQ(next, n_units);
    }
  }
}

TEST(ThreadPoolTest, BarriersSeparatePhasesOverManyRounds) {
  for (int n_threads : {1, 2, 4}) {
    ThreadPool pool(n_threads, false);
    constexpr int64_t kRounds = 500;
    std::vector<int64_t> value(static_cast<size_t>(n_threads), 0);  // plain memory: the barrier is what orders it
    std::atomic<int> wrong{0};
    for (int run = 0; run < 4; ++run) {
      pool.run([&](Team& team) {
        for (int64_t round = 0; round < kRounds; ++round) {
          value[static_cast<size_t>(team.thread)] += 1;
          team.sync();
          for (int64_t v : value) wrong += v != run * kRounds + round + 1;
          team.sync();
        }
      });
      EXPECT_EQ(pool.n_syncs(), 2 * kRounds);
    }
    EXPECT_EQ(wrong, 0);
  }
}

TEST(ThreadPoolTest, RunsTheRawJobOnEveryThread) {
  ThreadPool pool(3, true);
  std::atomic<int> mask{0};
  for (int i = 0; i < 100; ++i) {
    mask = 0;
    pool.run([](void* context, int thread) { *static_cast<std::atomic<int>*>(context) |= 1 << thread; }, &mask);
    EXPECT_EQ(mask, 7);
  }
}

TEST(ThreadPoolTest, ForUnitsCoversEveryUnitOnceInEachPhase) {
  ThreadPool pool(3, false);
  for (int64_t n_units : {0, 1, 7, 8, 65, 200}) {
    std::vector<std::atomic<int>> count(static_cast<size_t>(n_units));
    pool.run([&](Team& team) {
      for (int phase = 0; phase < 5; ++phase) {
        int64_t first = -1;
        team.for_units(n_units, 3, [&](int64_t begin, int64_t end) {
          if (first < 0) first = begin;
          for (int64_t unit = begin; unit < end; ++unit) ++count[static_cast<size_t>(unit)];
        });
        Range own = team.first_units(n_units);
        EXPECT_TRUE(own.empty() || own.begin == first);
        // what is fetched while waiting changes nothing, wherever it ends
        team.sync({reinterpret_cast<const uint8_t*>(count.data()), 64 * phase + 1});
      }
    });
    for (const auto& n : count) EXPECT_EQ(n, 5);
  }
}

TEST(ThreadPoolTest, ATeamOfOneNeedsNoPool) {
  Team team;
  int64_t n = 0;
  team.for_units(10, 4, [&](int64_t begin, int64_t end) { n += end - begin; });
  team.sync();
  EXPECT_EQ(team.take_next(), 0);
  EXPECT_EQ(team.take_next(), 1);
  EXPECT_EQ(n, 10);
  EXPECT_EQ(team.n_syncs, 1);
}

TEST(ThreadPoolTest, IdleWorkersSleepAndWakeAgain) {
  ThreadPool pool(2, false);
  pool.run([](Team& team) { team.sync(); });
  timespec before{};
  timespec after{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
  double cpu_ms = static_cast<double>(after.tv_sec - before.tv_sec) * 1e3 +
                  static_cast<double>(after.tv_nsec - before.tv_nsec) * 1e-6;
  EXPECT_LT(cpu_ms, 20);  // the sanitizers have threads of their own
  pool.run([](Team& team) {
    if (team.thread == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // the other one parks in the barrier
    team.sync();
    if (team.thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    team.sync();
  });
  EXPECT_EQ(pool.n_syncs(), 2);
}

class FakeTree : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/millrace_topology_XXXXXX";
    root_ = mkdtemp(path);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string root_;
};

TEST_F(FakeTree, CgroupV2LimitsOfEveryLevelApply) {
  put("/proc/self/cgroup", "0::/kube/pod\n");
  put("/proc/meminfo", "MemTotal: 100 kB\nMemAvailable:    4096 kB\n");
  put("/proc/cpuinfo", "processor : 0\nmodel name\t: Test CPU 1\n");
  put("/sys/fs/cgroup/kube/pod/cpu.max", "max 100000\n");
  put("/sys/fs/cgroup/kube/cpu.max", "150000 100000\n");
  put("/sys/fs/cgroup/kube/pod/memory.max", "2000000\n");
  put("/sys/fs/cgroup/kube/pod/memory.current", "1500000\n");
  put("/sys/fs/cgroup/kube/pod/memory.stat", "file 9\ninactive_file 100000\n");
  CpuTopology topology = read_cpu_topology(root_);
  EXPECT_EQ(topology.cpu_name, "Test CPU 1");
  EXPECT_DOUBLE_EQ(topology.quota_cpus, 1.5);
  EXPECT_EQ(compute_threads_default(topology), 1);
  EXPECT_EQ(memory_available_bytes(root_), 600'000);
}

TEST_F(FakeTree, CgroupV1AndCaches) {
  put("/proc/self/cgroup", "4:memory:/a\n1:cpu,cpuacct:/b\n0::/\n");
  put("/proc/meminfo", "MemAvailable: 10 kB\n");
  put("/sys/fs/cgroup/cpu/b/cpu.cfs_quota_us", "-1\n");
  put("/sys/fs/cgroup/cpu/b/cpu.cfs_period_us", "100000\n");
  put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5\n");
  put("/sys/devices/system/cpu/cpu0/cache/index2/level", "2\n");
  put("/sys/devices/system/cpu/cpu0/cache/index2/type", "Unified\n");
  put("/sys/devices/system/cpu/cpu0/cache/index2/size", "512K\n");
  CpuTopology topology = read_cpu_topology(root_);
  EXPECT_EQ(topology.quota_cpus, 0);
  EXPECT_EQ(memory_available_bytes(root_), 10'240);
  if (topology.cores.front() == 0) {
    EXPECT_EQ(topology.l2_bytes, 512 << 10);
  }
  EXPECT_EQ(topology.l3_bytes, 32 << 20);
}

TEST_F(FakeTree, AnEmptyMachineHasDefaults) {
  CpuTopology topology = read_cpu_topology(root_);
  EXPECT_EQ(topology.cpu_name, "unknown");
  EXPECT_GE(topology.cores.size(), 1u);
  EXPECT_GE(compute_threads_default(topology), 1);
  EXPECT_EQ(memory_available_bytes(root_), 0);
}

TEST(TopologyTest, ThisMachineIsSensible) {
  CpuTopology topology = read_cpu_topology();
  EXPECT_LE(topology.cores.size(), static_cast<size_t>(topology.n_logical));
  EXPECT_GT(memory_available_bytes(), 0);
  EXPECT_GT(topology.l2_bytes, 0);
}

TEST(ProbeTest, BandwidthIsPositive) {
  ThreadPool pool(2, false);
  CpuTopology topology;
  topology.l3_bytes = 1 << 20;  // small: the figure is not judged here
  Bandwidth bandwidth = probe_bandwidth(pool, topology, 0.02).value();
  EXPECT_GT(bandwidth.one_thread_gbps, 0);
  EXPECT_GT(bandwidth.all_threads_gbps, 0);
  EXPECT_EQ(bandwidth.buffer_bytes, 4 << 20);
}

TEST(HeartbeatTest, Advances) {
  Heartbeat heartbeat;
  heartbeat.beat();
  heartbeat.beat();
  EXPECT_EQ(heartbeat.read(), 2u);
}

}  // namespace
}  // namespace millrace::device
