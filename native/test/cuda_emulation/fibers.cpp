// Kernels: blocks and threads of the emulated device.
#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "device.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx;

namespace emulation {
namespace {

constexpr size_t kStack = 128 * 1024;
constexpr size_t kBlocksAtOnce = 2;

[[noreturn]] void wrong(const char* what) {
  std::fprintf(stderr, "emulated device: %s (block %u, thread %u)\n", what, blockIdx.x, threadIdx.x);
  std::abort();
}

struct Block;

struct Warp {
  Exchange arriving, complete;
  uint32_t arrived = 0;
  Collective kind{};
};

struct Fiber {
  std::unique_ptr<char[]> stack{new char[kStack]};
  ucontext_t start;
  jmp_buf at;
  bool begun = false, done = true;
  Block* block = nullptr;
  uint32_t thread = 0;
  void* fake_stack = nullptr;
};

struct Block {
  dim3 index;
  uint32_t threads = 0, alive = 0, waiting = 0;
  int value = 0, result = 0;
  std::unique_ptr<unsigned char[]> shared;
  std::vector<Warp> warps;
  std::vector<Fiber*> fibers, at_barrier;
};

std::vector<std::unique_ptr<Fiber>> idle;
std::vector<Fiber*> ready;
Fiber* running = nullptr;
jmp_buf scheduler;
const std::function<void()>* kernel = nullptr;

#if defined(__SANITIZE_ADDRESS__)
const void* main_stack = nullptr;
size_t main_size = 0;
void* main_fake = nullptr;
void leaving(void** fake, const void* bottom, size_t size) {
  __sanitizer_start_switch_fiber(fake, bottom, size);
}
void arrived_in_fiber(Fiber* fiber) {
  __sanitizer_finish_switch_fiber(fiber->fake_stack, &main_stack, &main_size);
}
void arrived_in_main() { __sanitizer_finish_switch_fiber(main_fake, nullptr, nullptr); }
void leave_main(Fiber* fiber) { leaving(&main_fake, fiber->stack.get(), kStack); }
void leave_fiber(Fiber* fiber) { leaving(&fiber->fake_stack, main_stack, main_size); }
#else
void arrived_in_fiber(Fiber*) {}
void arrived_in_main() {}
void leave_main(Fiber*) {}
void leave_fiber(Fiber*) {}
#endif

// Back to the scheduler, until this fiber is chosen again.
void wait() {
  Fiber* self = running;
  leave_fiber(self);
  if (_setjmp(self->at) == 0) _longjmp(scheduler, 1);
  arrived_in_fiber(self);
}

void release(Block& block) {
  if (block.waiting == 0 || block.waiting < block.alive) return;
  block.result = block.value;
  block.value = 0;
  block.waiting = 0;
  for (Fiber* fiber : block.at_barrier) ready.push_back(fiber);
  block.at_barrier.clear();
}

// A fiber runs one thread after another.
void live() {
  arrived_in_fiber(running);
  for (;;) {
    (*kernel)();
    Fiber* self = running;
    self->done = true;
    --self->block->alive;
    release(*self->block);
    wait();
  }
}

void resume(Fiber* fiber) {
  running = fiber;
  const uint32_t thread = fiber->thread;
  threadIdx = dim3(thread, 0, 0);
  blockIdx = fiber->block->index;
  leave_main(fiber);
  if (_setjmp(scheduler) == 0) {
    if (fiber->begun) _longjmp(fiber->at, 1);
    fiber->begun = true;
    getcontext(&fiber->start);
    fiber->start.uc_stack.ss_sp = fiber->stack.get();
    fiber->start.uc_stack.ss_size = kStack;
    fiber->start.uc_link = nullptr;
    makecontext(&fiber->start, live, 0);
    setcontext(&fiber->start);
  }
  arrived_in_main();
  running = nullptr;
}

std::unique_ptr<Block> open_block(dim3 index, uint32_t threads, size_t shared) {
  auto block = std::make_unique<Block>();
  block->index = index;
  block->threads = block->alive = threads;
  block->shared.reset(new unsigned char[shared]);
  poison(block->shared.get(), shared);
  block->warps.resize((threads + kWarp - 1) / kWarp);
  for (uint32_t t = 0; t < threads; ++t) {
    if (idle.empty()) idle.push_back(std::make_unique<Fiber>());
    Fiber* fiber = idle.back().release();
    idle.pop_back();
    fiber->block = block.get();
    fiber->thread = t;
    fiber->done = false;
    block->fibers.push_back(fiber);
    ready.push_back(fiber);
  }
  return block;
}

}  // namespace

uint32_t lane() { return running->thread % kWarp; }

const Exchange& exchange(Collective kind, const void* value, size_t bytes) {
  Block& block = *running->block;
  Warp& warp = block.warps[running->thread / kWarp];
  if (warp.arrived == 0) {
    warp.kind = kind;
  } else if (warp.kind != kind) {
    wrong("lanes of one warp are at different instructions");
  }
  std::memcpy(warp.arriving.value[lane()], value, bytes);
  if (++warp.arrived < kWarp) {
    wait();
    return warp.complete;
  }
  warp.complete = warp.arriving;
  poison(&warp.arriving, sizeof warp.arriving);
  warp.arrived = 0;
  const uint32_t first = running->thread / kWarp * kWarp;
  for (uint32_t i = 0; i < kWarp; ++i) {
    Fiber* fiber = block.fibers[first + i];
    if (fiber->done) wrong("a lane has ended before its warp's collective instruction");
    if (fiber != running) ready.push_back(fiber);
  }
  return warp.complete;
}

int barrier(int value) {
  Block& block = *running->block;
  block.value |= value;
  ++block.waiting;
  block.at_barrier.push_back(running);
  release(block);
  wait();
  return block.result;
}

void perhaps_switch() {
  if (draw(2) == 0) return;
  ready.push_back(running);
  wait();
}

unsigned char* shared_memory() { return running->block->shared.get(); }

void run_kernel(dim3 grid, dim3 block_size, size_t shared, const std::function<void()>& body) {
  kernel = &body;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  std::vector<std::unique_ptr<Block>> open;
  uint64_t next = 0;
  // In a shuffled order, as far as a window of a few reaches.
  std::vector<uint64_t> window;
  for (;;) {
    while (open.size() < kBlocksAtOnce && (next < blocks || !window.empty())) {
      while (next < blocks && window.size() < 8) window.push_back(next++);
      const size_t which = draw(static_cast<uint32_t>(window.size()));
      const uint64_t number = window[which];
      window.erase(window.begin() + static_cast<ptrdiff_t>(which));
      open.push_back(
          open_block(dim3(static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x), 0),
                     block_size.x, shared));
    }
    if (open.empty()) break;
    if (ready.empty()) wrong("all threads wait for others");
    const size_t which = draw(static_cast<uint32_t>(ready.size()));
    Fiber* fiber = ready[which];
    ready[which] = ready.back();
    ready.pop_back();
    resume(fiber);
    for (size_t b = 0; b < open.size(); ++b) {
      if (open[b]->alive > 0) continue;
      for (Fiber* each : open[b]->fibers) idle.emplace_back(each);
      open.erase(open.begin() + static_cast<ptrdiff_t>(b));
      break;
    }
  }
}

}  // namespace emulation
