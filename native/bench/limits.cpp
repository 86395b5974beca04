// What this machine can do at most, measured: bytes read from memory and copied into memory that was not used
// before, and multiply-adds in float32, bf16 and 8 bits with the instructions that an instruction set has.
//
//   pointsman_limits [THREADS [ISA [SECONDS]]]   all processors, the best set, and about 0.05 s for each of
//   five runs
//
// Prints JSON. Figures are of all threads together, the best of five runs; null where the set lacks the
// instruction. A byte copied is read once and written once. Memory is the engine's own kind of buffer, so it
// is in huge pages where the engine's rows would be.
#include "limits.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "pointsman/buffer.hpp"

namespace {

using pointsman::bench::Arithmetic;
using pointsman::bench::Loop;

constexpr int kRuns = 5;
constexpr size_t kBytes = size_t{256} << 20;  // read by each thread: far more than any cache of one core

double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Units of work per second, of all threads together; body(t) does `units` of them.
double rate(unsigned threads, double units, const std::function<void(unsigned)>& body) {
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const double took = seconds_of([&] {
      std::vector<std::thread> team;
      for (unsigned t = 0; t < threads; ++t) team.emplace_back([&body, t] { body(t); });
      for (auto& thread : team) thread.join();
    });
    best = std::max(best, units * threads / took);
  }
  return best;
}

double rate(unsigned threads, const Loop& loop, double seconds) {
  long rounds = 1000;
  while (seconds_of([&] { loop.run(rounds); }) < seconds && rounds < (1l << 40)) rounds *= 2;
  return rate(threads, loop.operations * static_cast<double>(rounds), [&](unsigned) { loop.run(rounds); });
}

void print(const char* name, const Loop* loop, unsigned threads, double seconds) {
  if (loop == nullptr) {
    std::printf(",\n  \"%sOperationsPerSecond\": null", name);
  } else {
    std::printf(",\n  \"%sOperationsPerSecond\": %.4g,\n  \"%sInstruction\": \"%s\"", name,
                rate(threads, *loop, seconds), name, loop->instruction);
  }
}

// The share of the buffers that the system backs with huge pages; −1 where it doesn't say.
double huge_share(double bytes) {
  std::ifstream facts("/proc/self/smaps_rollup");
  for (std::string word; facts >> word;) {
    double kilobytes = 0;
    if (word == "AnonHugePages:" && facts >> kilobytes) return std::min(1.0, kilobytes * 1024 / bytes);
  }
  return -1;
}

const Arithmetic* find(const char* isa) {
  for (const Arithmetic& set : pointsman::bench::arithmetics()) {
    if (set.supported && (isa == nullptr || std::strcmp(isa, set.isa) == 0)) return &set;
  }
  return nullptr;
}

}  // namespace

int main(int count, char** arguments) {
  const unsigned threads = count > 1 ? static_cast<unsigned>(std::max(1, std::atoi(arguments[1])))
                                     : std::max(1u, std::thread::hardware_concurrency());
  const double seconds = count > 3 ? std::atof(arguments[3]) : 0.05;
  const Arithmetic* set = find(count > 2 ? arguments[2] : nullptr);
  if (set == nullptr) {
    std::fprintf(stderr, "this processor or build lacks %s\n", arguments[2]);
    return 2;
  }

  std::vector<pointsman::Buffer> memory;
  for (unsigned t = 0; t < threads; ++t) {
    memory.emplace_back(kBytes);
    std::memset(memory.back().as<char>(), 1, kBytes);
  }
  const auto read = [&](bool prefetch) {
    return rate(threads, kBytes, [&](unsigned t) { set->read(memory[t].as<char>(), kBytes, prefetch); });
  };
  std::printf("{\n  \"isa\": \"%s\",\n  \"threads\": %u", set->isa, threads);
  std::printf(",\n  \"readBytesPerSecond\": %.4g", std::max(read(false), read(true)));
  // As whoever builds something does: memory comes from the system at its first use, zeroed.
  std::printf(",\n  \"freshBytesPerSecond\": %.4g", rate(threads, kBytes / 2, [&](unsigned t) {
                pointsman::Buffer fresh(kBytes / 2);
                std::memcpy(fresh.as<char>(), memory[t].as<char>(), kBytes / 2);
              }));
  std::printf(",\n  \"hugePageShare\": %.3g", huge_share(static_cast<double>(kBytes) * threads));
  print("float32", set->float32, threads, seconds);
  print("bf16", set->bf16, threads, seconds);
  print("int8", set->int8, threads, seconds);
  print("int8Upper", set->int8_upper, threads, seconds);
  std::printf("\n}\n");
}
