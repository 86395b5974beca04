#include "core/backends.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <utility>

#include "pointsman/error.hpp"

extern "C" const pointsman_backend pointsman_cpu_backend;  // cpu/search.cpp

namespace pointsman {
namespace {

// The folder that this code was loaded from: plugins lie beside it.
std::string own_folder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr) return ".";
  const std::string path = info.dli_fname;
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash);
}

std::atomic<const std::vector<BackendState>*> looked_for{nullptr};

struct Package {
  std::mutex mutex;
  std::string name, path;
};
Package& plugin_package() {
  static Package package;
  return package;
}

// A plugin exports `pointsman_backend_table`, a pointsman_backend. It is never unloaded.
BackendState load_plugin(const std::string& name) {
  BackendState state{nullptr, name, ""};
  std::string path = own_folder() + "/libpointsman_" + name + ".so";
  if (access(path.c_str(), F_OK) != 0) {
    Package& package = plugin_package();
    const std::scoped_lock lock(package.mutex);
    path = package.path;
    if (path.empty()) {  // the usual case needs no loader's words
      state.reason = "not installed: no plugin beside the addon";
      if (!package.name.empty()) state.reason += ", and no package " + package.name;
      return state;
    }
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    state.reason = std::string("no plugin: ") + (why ? why : path.c_str());
    return state;
  }
  const auto* table = static_cast<const pointsman_backend*>(dlsym(library, "pointsman_backend_table"));
  if (table == nullptr) {
    state.reason = path + " exports no backend table";
  } else if (table->abi != POINTSMAN_BACKEND_ABI) {
    state.reason = path + " has the ABI version " + std::to_string(table->abi) + ", not " +
                   std::to_string(POINTSMAN_BACKEND_ABI);
  } else {
    char reason[256] = "";
    if (table->probe(reason, sizeof reason) == 0) {
      state.table = table;
      state.reason = path;
    } else {
      state.reason = reason;
    }
  }
  return state;
}

}  // namespace

const pointsman_backend& cpu_backend() { return pointsman_cpu_backend; }

void set_plugin_package(std::string name, std::string path) {
  Package& package = plugin_package();
  const std::scoped_lock lock(package.mutex);
  package.name = std::move(name);
  package.path = std::move(path);
}

const std::vector<BackendState>& backends() {
  static const auto* found = [] {
    auto* all = new std::vector<BackendState>{
        {&pointsman_cpu_backend, "cpu", "always there"},
        load_plugin("cuda"),
    };
    looked_for.store(all);
    return all;
  }();
  return *found;
}

BackendState choose_backend(const std::string& wanted, uint32_t dimensions) {
  BackendState cpu{&pointsman_cpu_backend, "cpu", "asked for"};
  if (wanted == "cpu") return cpu;  // without a look at the others: a driver takes its time
  BackendState gpu = backends()[1];
  gpu.insist = wanted == "cuda";
  std::string why_not = gpu.reason;
  if (gpu.table != nullptr && dimensions > gpu.table->max_dimensions) {
    why_not = "it takes at most " + std::to_string(gpu.table->max_dimensions) + " dimensions";
  } else if (gpu.table != nullptr) {
    return gpu;
  }
  if (gpu.insist) throw Error(Code::BACKEND_UNAVAILABLE, "the CUDA backend cannot run here: " + why_not);
  cpu.reason = "cuda is not available: " + why_not;
  return cpu;
}

void forget_block(uint64_t block_id) noexcept {
  const auto* all = looked_for.load();
  if (all == nullptr) return;
  for (const BackendState& state : *all) {
    if (state.table != nullptr && state.table->forget != nullptr) state.table->forget(block_id);
  }
}

}  // namespace pointsman
