// Bindings of the solvers: spectralBasis, foldProjection, fitOutcomes, heldOutPredictions, fitJoint,
// heldOutJoint, fitHierarchy, posteriors, heldOutHierarchy, checksum.
#include "arrays.hpp"
#include "boundary.hpp"
#include "pointsman/hash.hpp"
#include "pointsman/thread_pool.hpp"
#include "text/features.hpp"
#include "train/hierarchical.hpp"
#include "train/joint.hpp"
#include "train/outcomes.hpp"
#include "train/spectral.hpp"

namespace pointsman::addon {
namespace {

Napi::Object member(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be an object");
  return value.As<Napi::Object>();
}

unsigned thread_count(const Napi::Value& value) {
  return static_cast<unsigned>(integer(value, "threads", 1, 1024));
}

// { starts, columns, values }, as textFeatures gives them.
struct OwnedRows {
  explicit OwnedRows(const Napi::Value& value) {
    const Napi::Object rows = member(value, "rows");
    starts = copy(words(rows.Get("starts"), "rows.starts"));
    columns = copy(words(rows.Get("columns"), "rows.columns"));
    values = copy(floats(rows.Get("values"), "rows.values"));
  }
  train::SparseRows view() const { return {starts, columns, values, text::kColumns}; }

  std::vector<uint32_t> starts, columns;
  std::vector<float> values;
};

// (rows, dimensions, seed, threads, listener) → { dimensions, vectors, eigenvalues }
Napi::Value spectral_basis(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto rows = std::make_shared<OwnedRows>(info[0]);
    const auto dimensions = static_cast<size_t>(integer(info[1], "dimensions", 1, 1024));
    const auto seed = static_cast<uint64_t>(integer(info[2], "seed", 0, (int64_t{1} << 53) - 1));
    const unsigned threads = thread_count(info[3]);
    return launch(info.Env(), info[4], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      rows->view().check();
      auto basis = std::make_shared<train::Spectrum>(
          train::spectral_basis(rows->view(), dimensions, seed, threads, cancel, progress));
      return [basis](Napi::Env env) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out.Set("dimensions", Napi::Number::New(env, static_cast<double>(basis->dimensions)));
        out.Set("vectors", to_array(env, basis->vectors));
        out.Set("eigenvalues", to_array(env, basis->eigenvalues));
        return out;
      };
    });
  });
}

// (rows, vectors, q, readout, p, threads) → Xᵀ U R, textColumns × p
Napi::Value fold_projection(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto rows = std::make_shared<OwnedRows>(info[0]);
    auto vectors = std::make_shared<std::vector<float>>(copy(floats(info[1], "vectors")));
    const auto q = static_cast<size_t>(integer(info[2], "q", 0, 1024));
    auto readout = std::make_shared<std::vector<float>>(copy(floats(info[3], "readout")));
    const auto p = static_cast<size_t>(integer(info[4], "p", 1, 4096));
    const unsigned threads = thread_count(info[5]);
    return launch(info.Env(), info.Env().Undefined(), [=](const Cancel& cancel, const Progress&) -> Settle {
      rows->view().check();
      auto out = std::make_shared<std::vector<float>>(
          train::fold_projection(rows->view(), *vectors, q, *readout, p, threads, cancel));
      return [out](Napi::Env env) -> Napi::Value { return to_array(env, *out); };
    });
  });
}

std::vector<double> numbers(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be an array of numbers");
  const auto list = value.As<Napi::Array>();
  std::vector<double> out;
  for (uint32_t i = 0; i < list.Length(); ++i) out.push_back(number(list.Get(i), name));
  return out;
}

// { coordinates, rows, dimensions, row, output, target, outputs }
struct OwnedProblem {
  explicit OwnedProblem(const Napi::Value& value) {
    const Napi::Object problem = member(value, "problem");
    values = copy(floats(problem.Get("coordinates"), "coordinates"));
    rows = static_cast<size_t>(integer(problem.Get("rows"), "rows", 0, UINT32_MAX));
    dimensions = static_cast<size_t>(integer(problem.Get("dimensions"), "dimensions", 0, 1024));
    row = copy(words(problem.Get("row"), "row"));
    output = copy(words(problem.Get("output"), "output"));
    target = copy(floats(problem.Get("target"), "target"));
    outputs = static_cast<size_t>(integer(problem.Get("outputs"), "outputs", 1, 1 << 30));
  }
  train::Coordinates coordinates() const { return {values, rows, dimensions}; }
  train::Outcomes outcomes() const { return {row, output, target, outputs}; }

  std::vector<float> values, target;
  std::vector<uint32_t> row, output;
  size_t rows = 0, dimensions = 0, outputs = 0;
};

// { rank, penalties: number[], shrinkage, biasPrior }
train::Settings settings_of(const Napi::Value& value, const OwnedProblem& problem) {
  const Napi::Object chosen = member(value, "settings");
  train::Settings settings{static_cast<size_t>(integer(chosen.Get("rank"), "rank", 0, 1024)),
                           numbers(chosen.Get("penalties"), "penalties"),
                           number(chosen.Get("shrinkage"), "shrinkage"),
                           number(chosen.Get("biasPrior"), "biasPrior")};
  train::check(problem.coordinates(), problem.outcomes(), settings);
  return settings;
}

// A problem with { shared, sharedDimensions } besides, coordinates for the shared part; without them they are
// the same.
struct OwnedJoint : OwnedProblem {
  explicit OwnedJoint(const Napi::Value& value) : OwnedProblem(value) {
    const Napi::Object problem = member(value, "problem");
    same = problem.Get("shared").IsUndefined();
    if (same) return;
    shared = copy(floats(problem.Get("shared"), "shared"));
    shared_dimensions =
        static_cast<size_t>(integer(problem.Get("sharedDimensions"), "sharedDimensions", 0, 1024));
  }
  train::JointCoordinates both() const {
    if (same) return {coordinates(), coordinates()};
    return {{shared, rows, shared_dimensions}, coordinates()};
  }

  bool same = false;
  std::vector<float> shared;
  size_t shared_dimensions = 0;
};

// { shared: number[], specific: number[], biasPrior }
train::JointSettings joint_settings_of(const Napi::Value& value) {
  const Napi::Object chosen = member(value, "settings");
  return {numbers(chosen.Get("shared"), "shared"), numbers(chosen.Get("specific"), "specific"),
          number(chosen.Get("biasPrior"), "biasPrior")};
}

// (problem, settings, threads) → [{ rank, bias, vectors, projection }], one for each penalty
Napi::Value fit_outcomes(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto problem = std::make_shared<OwnedProblem>(info[0]);
    const train::Settings settings = settings_of(info[1], *problem);
    const unsigned threads = thread_count(info[2]);
    return launch(info.Env(), info.Env().Undefined(), [=](const Cancel& cancel, const Progress&) -> Settle {
      auto models = std::make_shared<std::vector<train::Factors>>(
          train::fit(problem->coordinates(), problem->outcomes(), settings, threads, cancel));
      return [models](Napi::Env env) -> Napi::Value {
        auto list = Napi::Array::New(env);
        for (const train::Factors& model : *models) {
          auto out = Napi::Object::New(env);
          out.Set("rank", Napi::Number::New(env, static_cast<double>(model.rank)));
          out.Set("bias", to_array(env, model.bias));
          out.Set("vectors", to_array(env, model.vectors));
          out.Set("projection", to_array(env, model.projection));
          list.Set(list.Length(), out);
        }
        return list;
      };
    });
  });
}

// (problem, fold, settings, threads, listener) → penalties × outcomes
Napi::Value held_out_predictions(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto problem = std::make_shared<OwnedProblem>(info[0]);
    const train::Settings settings = settings_of(info[2], *problem);
    auto fold = std::make_shared<std::vector<uint32_t>>(copy(words(info[1], "fold")));
    const unsigned threads = thread_count(info[3]);
    return launch(info.Env(), info[4], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      auto out = std::make_shared<std::vector<float>>(train::held_out(
          problem->coordinates(), problem->outcomes(), *fold, settings, threads, cancel, progress));
      return [out](Napi::Env env) -> Napi::Value { return to_array(env, *out); };
    });
  });
}

// (problem, settings, threads) → { sharedPenalty, specificPenalty, evidence, shared, bias, projection }
Napi::Value fit_joint(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto problem = std::make_shared<OwnedJoint>(info[0]);
    const train::JointSettings settings = joint_settings_of(info[1]);
    const unsigned threads = thread_count(info[2]);
    return launch(info.Env(), info.Env().Undefined(), [=](const Cancel& cancel, const Progress&) -> Settle {
      auto model = std::make_shared<train::JointModel>(
          train::fit_joint(problem->both(), problem->outcomes(), settings, threads, cancel));
      return [model](Napi::Env env) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out.Set("sharedPenalty", Napi::Number::New(env, model->shared_penalty));
        out.Set("specificPenalty", Napi::Number::New(env, model->specific_penalty));
        out.Set("evidence", Napi::Number::New(env, model->evidence));
        out.Set("shared", to_array(env, model->shared));
        out.Set("bias", to_array(env, model->bias));
        out.Set("projection", to_array(env, model->projection));
        return out;
      };
    });
  });
}

// (problem, fold, settings, threads, listener) → 2 × outcomes: the shared part, the specific part
Napi::Value held_out_joint(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto problem = std::make_shared<OwnedJoint>(info[0]);
    auto fold = std::make_shared<std::vector<uint32_t>>(copy(words(info[1], "fold")));
    const train::JointSettings settings = joint_settings_of(info[2]);
    const unsigned threads = thread_count(info[3]);
    return launch(info.Env(), info[4], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      auto out = std::make_shared<std::vector<float>>(train::held_out_joint(
          problem->both(), problem->outcomes(), *fold, settings, threads, cancel, progress));
      return [out](Napi::Env env) -> Napi::Value { return to_array(env, *out); };
    });
  });
}

// A problem with { features, width } besides; its outputs are the experts.
struct OwnedHierarchical : OwnedProblem {
  explicit OwnedHierarchical(const Napi::Value& value) : OwnedProblem(value) {
    const Napi::Object problem = member(value, "problem");
    features = copy(floats(problem.Get("features"), "features"));
    width = static_cast<size_t>(integer(problem.Get("width"), "width", 1, 1024));
  }
  train::Hierarchical view() const { return {coordinates(), outcomes(), features, width}; }

  std::vector<float> features;
  size_t width = 0;
};

// { noise, variance, penalty, map }
train::Hierarchy hierarchy_of(const Napi::Value& value) {
  const Napi::Object given = member(value, "hierarchy");
  return {number(given.Get("noise"), "noise"), numbers(given.Get("variance"), "variance"),
          number(given.Get("penalty"), "penalty"), numbers(given.Get("map"), "map"), 0};
}

// (problem, group, rounds, threads, listener) → { noise, variance, penalty, map, evidence }
Napi::Value fit_hierarchy(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto problem = std::make_shared<OwnedHierarchical>(info[0]);
    auto group = std::make_shared<std::vector<uint32_t>>(copy(words(info[1], "group")));
    const auto rounds = static_cast<size_t>(integer(info[2], "rounds", 1, 10000));
    const unsigned threads = thread_count(info[3]);
    return launch(info.Env(), info[4], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      auto found = std::make_shared<train::Hierarchy>(
          train::fit_hierarchy(problem->view(), *group, rounds, threads, cancel, progress));
      return [found](Napi::Env env) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out.Set("noise", Napi::Number::New(env, found->noise));
        out.Set("variance", to_array(env, found->variance));
        out.Set("penalty", Napi::Number::New(env, found->penalty));
        out.Set("map", to_array(env, found->map));
        out.Set("evidence", Napi::Number::New(env, found->evidence));
        return out;
      };
    });
  });
}

// (problem, hierarchy, rank, threads) → { mean, diagonal, columns }
Napi::Value posteriors(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto problem = std::make_shared<OwnedHierarchical>(info[0]);
    auto hierarchy = std::make_shared<train::Hierarchy>(hierarchy_of(info[1]));
    const auto rank = static_cast<size_t>(integer(info[2], "rank", 0, 1024));
    const unsigned threads = thread_count(info[3]);
    return launch(info.Env(), info.Env().Undefined(), [=](const Cancel& cancel, const Progress&) -> Settle {
      auto found = std::make_shared<train::Posteriors>(
          train::posteriors(problem->view(), *hierarchy, rank, threads, cancel));
      return [found](Napi::Env env) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out.Set("mean", to_array(env, found->mean));
        out.Set("diagonal", to_array(env, found->diagonal));
        out.Set("columns", to_array(env, found->columns));
        return out;
      };
    });
  });
}

// (problem, fold, hierarchy, rounds, threads, listener) → one prediction an outcome
Napi::Value held_out_hierarchy(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto problem = std::make_shared<OwnedHierarchical>(info[0]);
    auto fold = std::make_shared<std::vector<uint32_t>>(copy(words(info[1], "fold")));
    auto hierarchy = std::make_shared<train::Hierarchy>(hierarchy_of(info[2]));
    const auto rounds = static_cast<size_t>(integer(info[3], "rounds", 1, 10000));
    const unsigned threads = thread_count(info[4]);
    return launch(info.Env(), info[5], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      auto out = std::make_shared<std::vector<float>>(
          train::held_out_hierarchy(problem->view(), *fold, *hierarchy, rounds, threads, cancel, progress));
      return [out](Napi::Env env) -> Napi::Value { return to_array(env, *out); };
    });
  });
}

// 64 bits over a Uint8Array, as 16 hexadecimal digits.
Napi::Value checksum(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const auto data = bytes(info[0], "bytes");
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx",
                  static_cast<unsigned long long>(hash64(data.data(), data.size())));
    return Napi::String::New(info.Env(), digits);
  });
}

}  // namespace

void init_train(Napi::Env env, Napi::Object exports) {
  exports.Set("spectralBasis", Napi::Function::New(env, spectral_basis, "spectralBasis"));
  exports.Set("foldProjection", Napi::Function::New(env, fold_projection, "foldProjection"));
  exports.Set("fitOutcomes", Napi::Function::New(env, fit_outcomes, "fitOutcomes"));
  exports.Set("heldOutPredictions", Napi::Function::New(env, held_out_predictions, "heldOutPredictions"));
  exports.Set("fitJoint", Napi::Function::New(env, fit_joint, "fitJoint"));
  exports.Set("heldOutJoint", Napi::Function::New(env, held_out_joint, "heldOutJoint"));
  exports.Set("fitHierarchy", Napi::Function::New(env, fit_hierarchy, "fitHierarchy"));
  exports.Set("posteriors", Napi::Function::New(env, posteriors, "posteriors"));
  exports.Set("heldOutHierarchy", Napi::Function::New(env, held_out_hierarchy, "heldOutHierarchy"));
  exports.Set("checksum", Napi::Function::New(env, checksum, "checksum"));
}

}  // namespace pointsman::addon
