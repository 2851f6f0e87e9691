#include <cuda_runtime.h>
#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace emulation {

Place here;

namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr int kMostIdleRounds = 100;
enum class State { ready, polling, at_block_barrier, at_warp_barrier, ended };

struct Fiber {
  ucontext_t start;
  jmp_buf place;
  std::vector<char> stack;
  State state;
  bool started;
};

std::vector<Fiber> fibers;
jmp_buf scheduler;
ucontext_t scheduler_start;
unsigned current;
const std::function<void()>* running;
std::vector<double> shared_memory;
unsigned char slots[1024][64];

[[noreturn]] void run_kernel() {
  (*running)();
  fibers[current].state = State::ended;
  _longjmp(scheduler, 1);
}

void resume(unsigned i) {
  current = i;
  here.thread.x = i;
  if (_setjmp(scheduler) != 0) return;
  if (fibers[i].started) _longjmp(fibers[i].place, 1);
  fibers[i].started = true;
  setcontext(&fibers[i].start);
}

void give_way(State state) {
  Fiber& me = fibers[current];
  me.state = state;
  if (_setjmp(me.place) == 0) _longjmp(scheduler, 1);
}

// Opens a barrier at which all threads of [begin, end) that have not ended stand.
bool open(unsigned begin, unsigned end, State barrier) {
  bool any = false;
  for (unsigned i = begin; i < end; ++i) {
    if (fibers[i].state == State::ended) continue;
    if (fibers[i].state != barrier) return false;
    any = true;
  }
  for (unsigned i = begin; any && i < end; ++i) {
    if (fibers[i].state == barrier) fibers[i].state = State::ready;
  }
  return any;
}

void run_block(unsigned threads) {
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& fiber = fibers[i];
    fiber.state = State::ready;
    fiber.started = false;
    getcontext(&fiber.start);
    fiber.stack.resize(kStackBytes);
    fiber.start.uc_stack.ss_sp = fiber.stack.data();
    fiber.start.uc_stack.ss_size = kStackBytes;
    fiber.start.uc_link = &scheduler_start;
    makecontext(&fiber.start, run_kernel, 0);
  }
  // A thread that polls may have gone on from one wait to the next, so not each such round is idle.
  for (int idle_rounds = 0; idle_rounds < kMostIdleRounds; ++idle_rounds) {
    bool progress = false;
    for (unsigned i = 0; i < threads; ++i) {
      const bool polls = fibers[i].state == State::polling;
      if (polls) fibers[i].state = State::ready;
      while (fibers[i].state == State::ready) resume(i), progress |= !polls;
      progress |= polls && fibers[i].state != State::polling;
    }
    for (unsigned warp = 0; warp < threads; warp += 32) {
      progress |= open(warp, warp + 32 < threads ? warp + 32 : threads, State::at_warp_barrier);
    }
    progress |= open(0, threads, State::at_block_barrier);
    if (progress) idle_rounds = 0;
  }
  for (unsigned i = 0; i < threads; ++i) {
    if (fibers[i].state == State::ended) continue;
    std::fprintf(stderr, "thread %u waits forever\n", i);
    std::abort();
  }
}

}  // namespace

void launch(unsigned blocks, unsigned threads, size_t shared_bytes,
            const std::function<void()>& kernel) {
  if (fibers.size() < threads) fibers.resize(threads);
  shared_memory.assign(shared_bytes / sizeof(double) + 1, 1e-77);
  running = &kernel;
  here.threads.x = threads;
  here.blocks.x = blocks;
  for (unsigned block = 0; block < blocks; ++block) {
    here.block.x = block;
    run_block(threads);
  }
}

double* dynamic_shared_memory() { return shared_memory.data(); }
void await_block() { give_way(State::at_block_barrier); }
void await_warp() { give_way(State::at_warp_barrier); }
void await_others() { give_way(State::polling); }
unsigned char* exchange_slot(unsigned lane) { return slots[here.thread.x / 32 * 32 + lane]; }

}  // namespace emulation

// The machine is as the environment says, or has one device that will do.
namespace {
int64_t from_environment(const char* name, int64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoll(value, nullptr, 10);
}
int64_t device_memory() { return from_environment("EMULATED_MEMORY", 1 << 30); }

// Kept until somebody asks.
cudaError_t last_error = cudaSuccess;
cudaError_t fail(cudaError_t status) { return last_error = status; }

std::map<void*, size_t> allocated;
size_t bytes_in_use = 0;
}  // namespace

const char* cudaGetErrorString(cudaError_t) { return "an emulated error"; }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = static_cast<int>(from_environment("EMULATED_DRIVER", 13000));
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = static_cast<int>(from_environment("EMULATED_DEVICES", 1));
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"emulated", static_cast<int>(from_environment("EMULATED_MAJOR", 8)), 0,
                 static_cast<size_t>(device_memory())};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr wanted, int) {
  switch (wanted) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = static_cast<int>(from_environment("EMULATED_MAJOR", 8));
      break;
    case cudaDevAttrMemoryPoolsSupported:
      *value = static_cast<int>(from_environment("EMULATED_POOLS", 1));
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = 2;
  }
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = static_cast<size_t>(device_memory());
  *free = *total - bytes_in_use;
  return cudaSuccess;
}
// Memory starts as bytes that are no sensible number of any type.
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  std::memset(*memory, 0xCB, bytes);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t) {
  if (bytes_in_use + bytes > static_cast<size_t>(device_memory())) {
    return fail(cudaErrorMemoryAllocation);
  }
  cudaMallocHost(memory, bytes);
  allocated[*memory] = bytes;
  bytes_in_use += bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t) {
  bytes_in_use -= allocated[memory];
  allocated.erase(memory);
  return std::free(memory), cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) { return std::free(memory), cudaSuccess; }
// With EMULATED_BUSY copies to the device stay under way until something waits for them.
static std::vector<std::function<void()>> under_way;
static cudaError_t finish_copies() {
  for (const auto& copy : under_way) copy();
  return under_way.clear(), cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  const auto copy = [=] { std::memcpy(to, from, bytes); };
  if (kind == cudaMemcpyHostToDevice && from_environment("EMULATED_BUSY", 0) != 0) {
    return under_way.emplace_back(copy), cudaSuccess;
  }
  finish_copies();
  return copy(), cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  return std::memset(to, value, bytes), cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) { return finish_copies(); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return *event = nullptr, cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return finish_copies(); }
cudaError_t cudaEventQuery(cudaEvent_t) {
  return under_way.empty() ? cudaSuccess : fail(cudaErrorNotReady);
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
