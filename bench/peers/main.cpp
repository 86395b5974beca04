// One peer in a process of its own, so that its threads and environment are its own: the benchmark starts it,
// and its rounds alternate with those of the others.
//
//   pointsman_peers PEER ROWS QUERIES DIMENSIONS THREADS     PEER: openblas, faiss, faiss-blas, faiss-ivf
//   pointsman_peers --libraries                              says which libraries it was built with
//
// ROWS and QUERIES are files of float32 values, row-major. Every answer is a line of JSON; the first one,
// after the index is built, says what runs. Commands, a line each:
//   search FIRST COUNT K ids|quiet   searches queries FIRST … FIRST + COUNT − 1. {"milliseconds":…}, measured
//                                    inside; after it, if asked for, COUNT × K int32, row-major: row numbers
//   tune NPROBE K_FACTOR             sets an approximate peer. {}
// The end of its input ends it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <vector>

#include "peer.hpp"

namespace {

Matrix map_matrix(const char* path, size_t dimensions) {
  const int file = open(path, O_RDONLY);
  struct stat facts = {};
  if (file < 0 || fstat(file, &facts) != 0) throw std::runtime_error(std::string("cannot read ") + path);
  const size_t bytes = static_cast<size_t>(facts.st_size);
  if (bytes == 0 || bytes % (dimensions * sizeof(float)) != 0)
    throw std::runtime_error(std::string(path) + " does not hold whole rows");
  void* values = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (values == MAP_FAILED) throw std::runtime_error(std::string("cannot map ") + path);
  return {static_cast<const float*>(values), bytes / sizeof(float) / dimensions, dimensions};
}

std::unique_ptr<Peer> make(const std::string& name, const Matrix& rows, unsigned threads) {
#ifdef WITH_OPENBLAS
  if (name == "openblas") return make_openblas(rows, threads);
#endif
#ifdef WITH_FAISS
  if (name == "faiss") return make_faiss_flat(rows, threads, false);
  if (name == "faiss-blas") return make_faiss_flat(rows, threads, true);
  if (name == "faiss-ivf") return make_faiss_ivf(rows, threads);
#endif
  (void)rows, (void)threads;
  throw std::runtime_error("not installed: " + name);
}

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void say(const std::string& json) {
  std::printf("%s\n", json.c_str());
  std::fflush(stdout);
}

void answer(Peer& peer, const Matrix& queries, const std::string& line) {
  std::istringstream words(line);
  std::string command, mode;
  words >> command;
  if (command == "tune") {
    int nprobe = 0;
    float k_factor = 0;
    if (!(words >> nprobe >> k_factor) || nprobe < 1 || k_factor < 1) throw std::runtime_error("bad command");
    peer.tune(nprobe, k_factor);
    say("{}");
    return;
  }
  size_t first = 0, count = 0, k = 0;
  if (command != "search" || !(words >> first >> count >> k >> mode) || count < 1 || k < 1 ||
      first > queries.rows || count > queries.rows - first) {
    throw std::runtime_error("bad command");
  }
  std::vector<int32_t> ids(count * k);
  const auto start = std::chrono::steady_clock::now();
  peer.search(queries.values + first * queries.dimensions, count, k, ids.data());
  say("{\"milliseconds\":" + std::to_string(since(start)) + "}");
  if (mode == "ids") {
    std::fwrite(ids.data(), sizeof(int32_t), ids.size(), stdout);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && std::string(arguments[1]) == "--libraries") {
#ifdef WITH_OPENBLAS
    std::printf("openblas ");
#endif
#ifdef WITH_FAISS
    std::printf("faiss ");
#endif
    std::printf("\n");
    return 0;
  }
  try {
    if (count != 6) throw std::runtime_error("PEER ROWS QUERIES DIMENSIONS THREADS");
    const size_t dimensions = std::strtoul(arguments[4], nullptr, 10);
    const unsigned threads = static_cast<unsigned>(std::strtoul(arguments[5], nullptr, 10));
    if (dimensions == 0 || threads == 0) throw std::runtime_error("dimensions and threads must be positive");
    const Matrix rows = map_matrix(arguments[2], dimensions);
    const Matrix queries = map_matrix(arguments[3], dimensions);
    const auto start = std::chrono::steady_clock::now();
    const std::unique_ptr<Peer> peer = make(arguments[1], rows, threads);
    // Each peer has its own copy by now.
    munmap(const_cast<float*>(rows.values), rows.rows * rows.dimensions * sizeof(float));
    say("{\"name\":\"" + peer->name() + "\",\"version\":\"" + peer->version() + "\",\"setting\":\"" +
        peer->setting() + "\",\"buildSeconds\":" + std::to_string(since(start) / 1000) +
        ",\"bytesPerRow\":" + std::to_string(peer->bytes_per_row()) + "}");
    for (std::string line; std::getline(std::cin, line);) answer(*peer, queries, line);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
