// What only an emulated device can be brought to: to be missing, to fail at any call, to compute wrongly.
#include <doctest/doctest.h>

#include <cstdlib>

#include "../cuda_emulation/emulation.hpp"
#include "../support.hpp"
#include "block_set.hpp"
#include "cuda/engine.hpp"
#include "cuda/self_check.hpp"

using namespace pointsman;
using namespace pointsman::test;

namespace {

template <typename Body>
std::string refusal(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return std::string(code_name(error.code())) + ": " + error.what();
  }
  return "none";
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::string refusal_of_device() {
  return refusal([] { cuda::Engine engine; });
}

}  // namespace

TEST_CASE("emulated: why a device will not do") {
  emulation::reset();
  auto& machine = emulation::machine();
  machine.driver = cudaErrorInsufficientDriver;
  machine.driver_version = 0;
  CHECK(contains(refusal_of_device(), "BACKEND_UNAVAILABLE: there is no NVIDIA driver"));
  machine.driver_version = 11000;
  CHECK(contains(refusal_of_device(), "driver for CUDA 11000"));
  machine = {};
  machine.devices = 0;
  CHECK(contains(refusal_of_device(), "there is no NVIDIA device"));
  machine = {};
  machine.major = 7;
  machine.minor = 5;
  CHECK(contains(refusal_of_device(), "compute capability 7.5: 8.0 is the least"));
  machine = {};
  machine.memory = 1000;
  CHECK(contains(refusal_of_device(), "too little device memory"));
  machine = {};
  machine.shared_memory = 48 * 1024;
  CHECK(refusal_of_device() == "none");
  machine = {};
  for (const char* bad : {"much", "-1", "0", "12Q", "99999999999999999999", "20000000000G"}) {
    CAPTURE(bad);
    setenv("POINTSMAN_CUDA_MEMORY", bad, 1);
    CHECK(contains(refusal_of_device(), "POINTSMAN_CUDA_MEMORY"));
  }
  setenv("POINTSMAN_CUDA_MEMORY", "64M", 1);
  {
    cuda::Engine engine;
    CHECK(engine.device().budget() == size_t{64} << 20);
  }
  unsetenv("POINTSMAN_CUDA_MEMORY");
  CHECK(emulation::allocated() == 0);
}

TEST_CASE("emulated: whichever call fails, the answer is right or an error, and the next one is right") {
  const uint32_t dimensions = 24, k = 40;
  BlockSet set(dimensions);
  set.add(make_rows(Kind::kTies, 2200, dimensions, 1), 2048);
  for (uint32_t row = 0; row < 200; ++row) set.kill(0, row);
  const Queries queries(make_rows(Kind::kTies, 5, dimensions, 2), dimensions);
  const auto blocks = set.view();
  std::vector<uint64_t> filter(40, 0x7777777777777777u);
  const Results wanted = on_cpu(blocks, dimensions, queries, k, &filter);
  // With rows on the device and on the host; buffers that overflow.
  for (const size_t memory : {size_t{0}, size_t{1} << 20}) {
    for (const cudaError_t error :
         {cudaErrorMemoryAllocation, cudaErrorLaunchOutOfResources, cudaErrorIllegalAddress}) {
      uint64_t calls = 0;  // of a run in which none fails
      {
        emulation::reset();
        cuda::Engine engine({.memory = memory, .candidates = 1});
        Request request(blocks, dimensions, queries, k, &filter);
        engine.search(request);
        calls = emulation::calls();
      }
      CHECK(calls > 60);
      for (uint64_t n = 1; n <= calls; ++n) {
        CAPTURE(n);
        emulation::reset(n);
        emulation::fail_at(n, error);
        {
          std::unique_ptr<cuda::Engine> engine;
          const auto run = [&] {
            Request request(blocks, dimensions, queries, k, &filter);
            engine->search(request);
            CHECK((request.found == wanted));
          };
          const cuda::Limits limits{.memory = memory, .candidates = 1};
          const std::string why = refusal([&] {
            engine = std::make_unique<cuda::Engine>(limits);
            run();
          });
          CHECK((why == "none" || contains(why, "OUT_OF_MEMORY") || contains(why, "BACKEND_UNAVAILABLE")));
          if (error == cudaErrorIllegalAddress) {  // lasting; it may have come where no answer depended on it
            if (engine) CHECK(contains(refusal(run), "BACKEND_UNAVAILABLE"));
          } else {
            emulation::fail_at(0, cudaSuccess);
            if (!engine) engine = std::make_unique<cuda::Engine>(limits);
            CHECK(refusal(run) == "none");
          }
        }
        CHECK(emulation::allocated() == 0);
      }
    }
  }
  emulation::reset();
}

TEST_CASE("emulated: the device's own memory runs out, blocks give way, then it is an error") {
  emulation::reset();
  const uint32_t dimensions = 64;
  emulation::machine().memory = size_t{4} << 20;
  cuda::Engine engine({.memory = size_t{1} << 30});  // more than there is
  BlockSet first(dimensions), second(dimensions), large(dimensions);
  first.add(make_rows(Kind::kRandom, 6000, dimensions, 1), 8192);
  second.add(make_rows(Kind::kRandom, 6000, dimensions, 2), 8192);
  large.add(make_rows(Kind::kRandom, 65536, dimensions, 3));
  const Queries queries(make_rows(Kind::kRandom, 2, dimensions, 4), dimensions);
  const auto run = [&](const BlockSet& set) {
    const auto blocks = set.view();
    Request request(blocks, dimensions, queries, 5);
    engine.search(request);
    CHECK((request.found == on_cpu(blocks, dimensions, queries, 5)));
  };
  for (int round = 0; round < 3; ++round) {
    run(first);
    run(second);
  }
  CHECK(contains(refusal([&] { run(large); }), "OUT_OF_MEMORY"));
  run(first);
  emulation::reset();
}

TEST_CASE("emulated: a device that computes wrongly is found out") {
  for (const auto fault : {emulation::Fault::kMultiply, emulation::Fault::kDot, emulation::Fault::kSum}) {
    emulation::reset();
    emulation::machine().fault = fault;
    cuda::Engine engine;
    CHECK(contains(refusal([&] { cuda::check_itself(engine); }), "self-check failed on emulated device"));
  }
  emulation::reset();
}

TEST_CASE("emulated: the order in which threads run changes nothing") {
  const uint32_t dimensions = 33;
  BlockSet set(dimensions);
  set.add(make_rows(Kind::kTies, 2600, dimensions, 1), 2048);
  const Queries queries(make_rows(Kind::kRandom, 10, dimensions, 2), dimensions);
  const auto blocks = set.view();
  const Results wanted = on_cpu(blocks, dimensions, queries, 30);
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    emulation::reset(seed);
    cuda::Engine engine({.candidates = seed % 2 == 0 ? 1u : 0u});
    Request request(blocks, dimensions, queries, 30);
    engine.search(request);
    CHECK((request.found == wanted));
  }
  emulation::reset();
}
