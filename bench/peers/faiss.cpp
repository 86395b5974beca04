// FAISS: IndexFlatIP, which is exact, and IVF,PQx4fs,RFlat, which is approximate.
#include <faiss/AutoTune.h>
#include <faiss/IndexFlat.h>
#include <faiss/index_factory.h>
#include <faiss/utils/distances.h>
#include <faiss/utils/utils.h>
#include <omp.h>
#include <openblas_config.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "peer.hpp"

extern "C" {
void openblas_set_num_threads(int threads);
char* openblas_get_corename(void);
}

namespace {

class Faiss : public Peer {
 public:
  Faiss(std::unique_ptr<faiss::Index> index, std::string setting, double bytes_per_row)
      : index_(std::move(index)), setting_(std::move(setting)), bytes_per_row_(bytes_per_row) {}

  std::string version() const override {
    return std::to_string(FAISS_VERSION_MAJOR) + "." + std::to_string(FAISS_VERSION_MINOR) + "." +
           std::to_string(FAISS_VERSION_PATCH);
  }
  std::string setting() const override {
    std::string options = faiss::get_compile_options();
    options.erase(options.find_last_not_of(' ') + 1);
    return setting_ + ", " + std::to_string(omp_get_max_threads()) + " threads; compiled " + options +
           ", BLAS: OpenBLAS " + openblas_get_corename();
  }
  double bytes_per_row() const override { return bytes_per_row_; }
  void search(const float* queries, size_t count, size_t k, int32_t* ids) override {
    scores_.resize(count * k);
    labels_.resize(count * k);
    index_->search(static_cast<int64_t>(count), queries, static_cast<int64_t>(k), scores_.data(),
                   labels_.data());
    std::copy(labels_.begin(), labels_.end(), ids);
  }

 protected:
  std::unique_ptr<faiss::Index> index_;

 private:
  std::string setting_;
  double bytes_per_row_;
  std::vector<float> scores_;
  std::vector<int64_t> labels_;
};

class Flat final : public Faiss {
 public:
  Flat(std::unique_ptr<faiss::Index> index, bool blas_always, double bytes_per_row)
      : Faiss(std::move(index),
              blas_always ? "exact, distance_compute_blas_threshold = 1, OMP_WAIT_POLICY = passive"
                          : "exact, default setting",
              bytes_per_row),
        blas_always_(blas_always) {}
  std::string name() const override {
    return blas_always_ ? "FAISS IndexFlatIP, BLAS always" : "FAISS IndexFlatIP";
  }

 private:
  bool blas_always_;
};

class Ivf final : public Faiss {
 public:
  using Faiss::Faiss;
  std::string name() const override { return "FAISS IVF"; }
  void tune(int nprobe, float k_factor) override {
    const faiss::ParameterSpace space;
    space.set_index_parameter(index_.get(), "nprobe", nprobe);
    space.set_index_parameter(index_.get(), "k_factor_rf", k_factor);
  }
};

void use(unsigned threads) {
  omp_set_num_threads(static_cast<int>(threads));
  openblas_set_num_threads(static_cast<int>(threads));
}

}  // namespace

std::unique_ptr<Peer> make_faiss_flat(const Matrix& rows, unsigned threads, bool blas_always) {
  use(threads);
  if (blas_always) faiss::distance_compute_blas_threshold = 1;
  auto index = std::make_unique<faiss::IndexFlatIP>(static_cast<int64_t>(rows.dimensions));
  index->add(static_cast<int64_t>(rows.rows), rows.values);
  return std::make_unique<Flat>(std::move(index), blas_always, 4.0 * static_cast<double>(rows.dimensions));
}

// About 2·√n lists (2,048 for a million rows), a power of two; the finest product quantiser of at most 64
// parts.
std::unique_ptr<Peer> make_faiss_ivf(const Matrix& rows, unsigned threads) {
  use(threads);
  const double wanted = 2 * std::sqrt(static_cast<double>(rows.rows));
  const size_t lists = size_t{1} << std::lround(std::log2(wanted));
  size_t parts = std::min<size_t>(64, rows.dimensions);
  while (rows.dimensions % parts != 0) --parts;
  const std::string key = "IVF" + std::to_string(lists) + ",PQ" + std::to_string(parts) + "x4fs,RFlat";
  std::unique_ptr<faiss::Index> index(
      faiss::index_factory(static_cast<int>(rows.dimensions), key.c_str(), faiss::METRIC_INNER_PRODUCT));
  // Its clustering takes at most 256 points for each list.
  index->train(static_cast<int64_t>(std::min(rows.rows, 256 * lists)), rows.values);
  index->add(static_cast<int64_t>(rows.rows), rows.values);
  const double bytes =
      4.0 * static_cast<double>(rows.dimensions) + static_cast<double>(parts) / 2 + 8;  // floats, codes, id
  return std::make_unique<Ivf>(std::move(index), "approximate, " + key, bytes);
}
