// Times the CUDA backend on made-up rows: device time by events, latency by the clock, results against the
// CPU.
//
//   pointsman_cuda_bench --rows 10000000 --dims 128 --cases 1:10,16:10,1024:10,1024:100,16:10:1 --json FILE
//
// A case is batch:k or batch:k:percent, the percentage of experts that a filter lets through. --kernels a,b
// times each case with each of these scan kernels, too; --seconds is how long a case is repeated; --no-check
// leaves out the comparison with the CPU. JSON: one object, with raw medians; times in milliseconds.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/engine.hpp"
#include "pointsman/hash.hpp"
#include "test/cuda/block_set.hpp"

using namespace pointsman;
using namespace pointsman::test;

namespace {

struct Case {
  uint32_t batch, k;
  double percent;  // of a filter; 100: none
};

struct Timed {
  double device, latency;  // medians, seconds
  int repeats;
};

std::vector<std::string> split(const std::string& text, char by) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, by);) parts.push_back(part);
  return parts;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Normal numbers, by row: the same whatever the threads.
void normals(uint64_t row, float* values, uint32_t count) {
  for (uint32_t i = 0; i < count; i += 2) {
    const uint64_t a = mix64(row * 8192 + i), b = mix64(a);
    const double radius = std::sqrt(-2 * std::log((static_cast<double>(a >> 11) + 0.5) * 0x1p-53));
    const double angle = 6.283185307179586 * static_cast<double>(b >> 11) * 0x1p-53;
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < count) values[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

// Bytes read and written a second by copies within the device.
double copy_rate(cuda::Device& device) {
  const size_t bytes = std::min(size_t{4} << 30, device.budget() / 4);
  const cuda::Memory from = device.allocate(bytes), to = device.allocate(bytes);
  const cuda::Event begin(device), end(device);
  const cudaStream_t stream = device.uploads();
  device.check(cudaMemsetAsync(from.as<void>(), 0x5A, bytes, stream), "copy");
  std::vector<double> seconds;
  for (int i = 0; i < 12; ++i) {
    device.check(cudaEventRecord(begin.get(), stream), "copy");
    device.check(cudaMemcpyAsync(to.as<void>(), from.as<void>(), bytes, cudaMemcpyDeviceToDevice, stream),
                 "copy");
    device.check(cudaEventRecord(end.get(), stream), "copy");
    device.check(cudaEventSynchronize(end.get()), "copy");
    float milliseconds = 0;
    device.check(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "copy");
    if (i >= 2) seconds.push_back(std::max(1e-9, milliseconds * 1e-3));
  }
  return 2.0 * static_cast<double>(bytes) / median(seconds);
}

Timed time_case(cuda::Engine& engine, Request& request, const char* kernel, double wanted,
                cuda::Report& report) {
  for (int i = 0; i < 2; ++i) report = engine.search(request, kernel);
  std::vector<double> device, latency;
  const double until = now() + wanted;
  while (device.size() < 5 || (now() < until && device.size() < 2000)) {
    const double start = now();
    report = engine.search(request, kernel);
    latency.push_back(now() - start);
    device.push_back(report.device_seconds);
  }
  return {median(device), median(latency), static_cast<int>(device.size())};
}

int run(const std::map<std::string, std::string>& options) {
  const auto option = [&](const char* name, const char* otherwise) {
    const auto found = options.find(name);
    return found == options.end() ? std::string(otherwise) : found->second;
  };
  const auto rows = static_cast<uint32_t>(std::stoul(option("rows", "1000000")));
  const auto dimensions = static_cast<uint32_t>(std::stoul(option("dims", "128")));
  const double seconds = std::stod(option("seconds", "1"));
  const bool check = options.find("no-check") == options.end();
  std::vector<Case> cases;
  uint32_t widest = 1;
  for (const std::string& text : split(option("cases", "1:10,16:10,1024:10"), ',')) {
    const auto parts = split(text, ':');
    if (parts.size() < 2 || parts.size() > 3) throw Error(Code::BAD_ARGUMENT, "not a case: " + text);
    cases.push_back({static_cast<uint32_t>(std::stoul(parts[0])), static_cast<uint32_t>(std::stoul(parts[1])),
                     parts.size() == 3 ? std::stod(parts[2]) : 100});
    widest = std::max(widest, cases.back().batch);
  }

  cuda::Engine engine;
  const double copy = copy_rate(engine.device());
  std::printf("%s; copy %.0f GB/s (read and written)\n", engine.device().description().c_str(), copy * 1e-9);
  BlockSet set(dimensions);
  double start = now();
  set.generate(rows, [&](uint32_t row, float* values) { normals(row, values, dimensions); });
  std::printf("%u x %u rows made in %.1f s\n", rows, dimensions, now() - start);
  std::vector<float> vectors(size_t{widest} * dimensions);
  for (uint32_t q = 0; q < widest; ++q)
    normals((uint64_t{1} << 40) + q, &vectors[size_t{q} * dimensions], dimensions);
  const auto blocks = set.view();

  std::ostringstream json;
  json << "{\"device\":\"" << engine.device().description() << "\",\"copy_bytes_per_second\":" << copy
       << ",\"rows\":" << rows << ",\"dimensions\":" << dimensions << ",\"cases\":[";
  std::vector<std::string> kernels = {""};  // the engine's own choice
  for (const std::string& name : split(option("kernels", ""), ',')) kernels.push_back(name);
  std::printf("%6s %5s %6s %10s %10s %10s %9s %8s %7s %s\n", "batch", "k", "filter", "kernel", "device ms",
              "p50 ms", "codes GB/s", "of copy", "TMAC/s", "checked");
  bool all_right = true;
  bool first = true;
  for (const Case& c : cases) {
    const Queries queries({vectors.begin(), vectors.begin() + c.batch * dimensions}, dimensions);
    std::vector<uint64_t> filter;
    if (c.percent < 100) {
      filter.resize(rows / 64 + 1);
      for (uint32_t h = 0; h < rows; ++h) {
        if (static_cast<double>(mix64(h + 77) >> 11) * 0x1p-53 < c.percent / 100)
          filter[h / 64] |= uint64_t{1} << (h % 64);
      }
    }
    for (const std::string& kernel : kernels) {
      Request request(blocks, dimensions, queries, c.k, filter.empty() ? nullptr : &filter);
      cuda::Report report;
      const Timed timed =
          time_case(engine, request, kernel.empty() ? nullptr : kernel.c_str(), seconds, report);
      const double code_rate = static_cast<double>(rows) * dimensions / timed.device;
      const char* right = "no";
      if (check) {
        const Results wanted = on_cpu(blocks, dimensions, queries, c.k, filter.empty() ? nullptr : &filter);
        right = request.found == wanted ? "equal" : "DIFFERENT";
        all_right = all_right && request.found == wanted;
      }
      std::printf("%6u %5u %5g%% %10s %10.3f %10.3f %9.0f %7.0f%% %7.1f %s\n", c.batch, c.k, c.percent,
                  report.kernel, timed.device * 1e3, timed.latency * 1e3, code_rate * 1e-9,
                  100 * code_rate / copy, code_rate * c.batch * 1e-12, right);
      json << (first ? "" : ",") << "{\"batch\":" << c.batch << ",\"k\":" << c.k
           << ",\"percent\":" << c.percent << ",\"kernel\":\"" << report.kernel
           << "\",\"chosen\":" << (kernel.empty() ? "true" : "false")
           << ",\"device_ms\":" << timed.device * 1e3 << ",\"p50_ms\":" << timed.latency * 1e3
           << ",\"repeats\":" << timed.repeats << ",\"redone\":" << report.redone
           << ",\"rows_on_device\":" << (report.rows_on_device ? "true" : "false") << ",\"checked\":\""
           << right << "\"}";
      first = false;
    }
  }
  json << "]}\n";
  const std::string file = option("json", "");
  if (!file.empty()) {
    std::ofstream out(file);
    out << json.str();
    if (!out.flush()) throw Error(Code::FILE_IO, file + " could not be written");
  }
  return all_right ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  std::map<std::string, std::string> options;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--no-check") {
      options["no-check"] = "";
    } else if (name.rfind("--", 0) == 0 && i + 1 < count &&
               std::strstr("--rows --dims --cases --kernels --seconds --json", name.c_str()) != nullptr) {
      options[name.substr(2)] = arguments[++i];
    } else {
      std::fprintf(stderr, "unknown option %s; the options stand at the head of native/bench/cuda.cpp\n",
                   arguments[i]);
      return 2;
    }
  }
  try {
    return run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
