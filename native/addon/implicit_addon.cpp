// Bindings of the factorisation for implicit feedback: factorise, foldIn, writeInteractions,
// interactionCounts.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "arrays.hpp"
#include "boundary.hpp"
#include "pointsman/hash.hpp"
#include "train/implicit.hpp"
#include "train/interactions.hpp"

namespace pointsman::addon {
namespace {

using train::ImplicitSettings;
using train::Table;

Napi::Object member(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be an object");
  return value.As<Napi::Object>();
}

constexpr int64_t kSafe = (int64_t{1} << 53) - 1;

// { factors, unobserved, penalty, exponent, deviation, sweeps, seed }
ImplicitSettings settings_of(const Napi::Value& value) {
  const Napi::Object chosen = member(value, "settings");
  ImplicitSettings s;
  s.factors = static_cast<uint32_t>(integer(chosen.Get("factors"), "factors", 1, train::kMaxFactors));
  s.unobserved = number(chosen.Get("unobserved"), "unobserved");
  s.penalty = number(chosen.Get("penalty"), "penalty");
  s.exponent = number(chosen.Get("exponent"), "exponent");
  s.deviation = number(chosen.Get("deviation"), "deviation");
  s.sweeps = static_cast<uint32_t>(integer(chosen.Get("sweeps"), "sweeps", 1, 1'000'000));
  s.seed = static_cast<uint64_t>(integer(chosen.Get("seed"), "seed", 0, kSafe));
  train::check(s);
  return s;
}

// Interactions in memory or in a file, opened on the pool.
struct Source {
  explicit Source(const Napi::Value& value) {
    const Napi::Object source = member(value, "source");
    if (source.Get("path").IsString()) {
      path = text(source.Get("path"), "path");
      return;
    }
    users = static_cast<size_t>(integer(source.Get("users"), "users", 0, UINT32_MAX - 1));
    items = static_cast<size_t>(integer(source.Get("items"), "items", 0, UINT32_MAX - 1));
    user = copy(words(source.Get("user"), "user"));
    item = copy(words(source.Get("item"), "item"));
    if (!source.Get("weight").IsUndefined()) {
      weight = copy(floats(source.Get("weight"), "weight"));
      if (weight.size() != user.size())
        throw Error(Code::WRONG_SHAPE, "there must be one weight for each user");
    }
    if (user.size() != item.size()) throw Error(Code::WRONG_SHAPE, "there must be one item for each user");
    const auto below = [](const std::vector<uint32_t>& ids, size_t count) {
      return std::all_of(ids.begin(), ids.end(), [count](uint32_t id) { return id < count; });
    };
    if (!below(user, users) || !below(item, items))
      throw Error(Code::WRONG_SHAPE, "an interaction's user or item is out of range");
    if (!std::all_of(weight.begin(), weight.end(), [](float w) { return w >= 0 && w <= 1e30f; }))
      throw Error(Code::NOT_FINITE, "weights must be from 0 to 1e30");
  }

  void open(const Cancel& cancel, const Progress& progress) {
    if (!path.empty()) {
      file = std::make_unique<train::InteractionFile>(path, cancel, progress);
      fingerprint = file->fingerprint();
      return;
    }
    own_by_user = std::make_unique<train::OwnLines>(user, item, weight, users);
    own_by_item = std::make_unique<train::OwnLines>(item, user, weight, items);
    const auto hash = [](const auto& values, uint64_t seed) {
      return hash64(values.data(), values.size() * sizeof(values[0]), seed);
    };
    fingerprint = hash(user, hash(item, hash(weight, users ^ (uint64_t{items} << 32))));
    for (auto* ids : {&user, &item}) std::vector<uint32_t>().swap(*ids);
    std::vector<float>().swap(weight);
  }

  const train::Lines& by_user() const { return file ? file->by_user() : *own_by_user; }
  const train::Lines& by_item() const { return file ? file->by_item() : *own_by_item; }

  std::string path;
  size_t users = 0, items = 0;
  std::vector<uint32_t> user, item;
  std::vector<float> weight;
  uint64_t fingerprint = 0;
  std::unique_ptr<train::InteractionFile> file;
  std::unique_ptr<train::OwnLines> own_by_user, own_by_item;
};

// Without the padding. Made on the JavaScript thread; its memory is JavaScript's own.
Napi::Value rows_of(Napi::Env env, const Table& table) {
  auto array = Napi::Float32Array::New(env, table.count * table.factors);
  for (size_t i = 0; i < table.count; ++i)
    std::copy_n(table.row(i), table.factors, array.Data() + i * table.factors);
  return array;
}

// k × k of a padded matrix whose lower triangle is to be filled.
std::vector<float> square_of(const std::vector<float>& gram, const Table& table) {
  std::vector<float> out(size_t{table.factors} * table.factors);
  for (size_t i = 0; i < table.factors; ++i) {
    for (size_t j = 0; j < table.factors; ++j)
      out[i * table.factors + j] = gram[std::min(i, j) * table.stride + std::max(i, j)];
  }
  return out;
}

// (source, settings, checkpoint path | undefined, resume, threads, listener)
//   → { users, items, gram, interactions, done } with `done` the sweeps of the checkpoint
Napi::Value factorise(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    auto source = std::make_shared<Source>(info[0]);
    const ImplicitSettings settings = settings_of(info[1]);
    const std::string checkpoint = info[2].IsUndefined() ? "" : text(info[2], "checkpoint");
    const bool resume = info[3].ToBoolean();
    const auto threads = static_cast<unsigned>(integer(info[4], "threads", 1, 1024));
    return launch(info.Env(), info[5], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      source->open(cancel, {});
      const train::Lines &by_user = source->by_user(), &by_item = source->by_item();
      train::Checkpoint start;
      if (resume) {
        start = train::read_checkpoint(checkpoint, by_user.count(), by_item.count(), settings,
                                       source->fingerprint, cancel);
      } else {
        start.items = train::first_items(by_item.count(), settings);
      }
      const uint32_t before = start.done;
      auto found = std::make_shared<train::Factorisation>(
          train::factorise(by_user, by_item, settings, std::move(start.items), start.done, threads, cancel,
                           progress, [&](uint32_t done, const Table& items) {
                             if (checkpoint.empty()) return;
                             train::write_checkpoint(checkpoint, items, done, by_user.count(), settings,
                                                     source->fingerprint, cancel);
                           }));
      const auto interactions = static_cast<double>(by_user.entries());
      return [found, before, interactions](Napi::Env env) -> Napi::Value {
        auto out = Napi::Object::New(env);
        out.Set("users", rows_of(env, found->users));
        out.Set("items", rows_of(env, found->items));
        out.Set("gram", to_array(env, square_of(found->gram, found->items)));
        out.Set("interactions", Napi::Number::New(env, interactions));
        out.Set("done", Napi::Number::New(env, before));
        return out;
      };
    });
  });
}

// (vectors, starts, weights | undefined, gram, others, settings, threads): of several histories the vectors
// of their items, one after another; → histories × k
Napi::Value fold_in(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const ImplicitSettings settings = settings_of(info[5]);
    const size_t k = settings.factors;
    // Copied before they are checked: shared memory may change meanwhile.
    const std::vector<float> vectors = copy(floats(info[0], "vectors")),
                             square = copy(floats(info[3], "gram"));
    const std::vector<uint32_t> starts = copy(words(info[1], "starts"));
    std::vector<float> weights;
    if (!info[2].IsUndefined()) weights = copy(floats(info[2], "weights"));
    const auto others = static_cast<size_t>(integer(info[4], "others", 0, UINT32_MAX));
    const size_t count = vectors.size() / k;
    const bool fits = vectors.size() == count * k && square.size() == k * k && !starts.empty() &&
                      starts[0] == 0 && starts.back() == count &&
                      std::is_sorted(starts.begin(), starts.end()) &&
                      (info[2].IsUndefined() || weights.size() == count);
    if (!fits) throw Error(Code::WRONG_SHAPE, "histories, weights or the Gram matrix do not fit the factors");
    const auto finite = [](float x) { return std::isfinite(x); };
    if (!std::all_of(vectors.begin(), vectors.end(), finite) ||
        !std::all_of(square.begin(), square.end(), finite) ||
        !std::all_of(weights.begin(), weights.end(), [](float w) { return w >= 0 && w <= 1e30f; })) {
      throw Error(Code::NOT_FINITE, "vectors must be finite, weights from 0 to 1e30");
    }
    auto table = std::make_shared<Table>(count, settings.factors);
    for (size_t i = 0; i < count; ++i) std::copy_n(vectors.data() + i * k, k, table->row(i));
    auto gram = std::make_shared<std::vector<float>>(size_t{table->stride} * table->stride);
    for (size_t i = 0; i < k; ++i) std::copy_n(square.data() + i * k, k, gram->data() + i * table->stride);
    std::vector<uint32_t> line(count), id(count);
    for (size_t h = 0; h + 1 < starts.size(); ++h) {
      std::fill(line.begin() + starts[h], line.begin() + starts[h + 1], static_cast<uint32_t>(h));
    }
    for (size_t i = 0; i < count; ++i) id[i] = static_cast<uint32_t>(i);
    auto lines = std::make_shared<train::OwnLines>(line, id, weights, starts.size() - 1);
    const auto threads = static_cast<unsigned>(integer(info[6], "threads", 1, 1024));
    return launch(info.Env(), info.Env().Undefined(), [=](const Cancel& cancel, const Progress&) -> Settle {
      auto out = std::make_shared<Table>(lines->count(), settings.factors);
      train::solve_lines(*lines, *table, *gram, others, settings, *out, threads, cancel, {});
      return [out](Napi::Env env) { return rows_of(env, *out); };
    });
  });
}

Napi::Object counts_of(Napi::Env env, const train::InteractionCounts& counts) {
  auto out = Napi::Object::New(env);
  out.Set("users", Napi::Number::New(env, static_cast<double>(counts.users)));
  out.Set("experts", Napi::Number::New(env, static_cast<double>(counts.items)));
  out.Set("interactions", Napi::Number::New(env, static_cast<double>(counts.count)));
  out.Set("weighted", Napi::Boolean::New(env, counts.weighted));
  return out;
}

Napi::Value bytes_of(Napi::Env env, const std::string& from) {
  auto array = Napi::Uint8Array::New(env, from.size());
  std::copy(from.begin(), from.end(), array.Data());
  return array;
}

std::string owned(std::span<const uint8_t> from) { return {from.begin(), from.end()}; }

// (records, path, { users, experts, weighted }, user names, expert names, memory, listener) → counts
Napi::Value write_interactions(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const std::string records = text(info[0], "records"), path = text(info[1], "path");
    const Napi::Object shape = member(info[2], "shape");
    const auto users = static_cast<uint64_t>(integer(shape.Get("users"), "users", 0, UINT32_MAX - 1));
    const auto items = static_cast<uint64_t>(integer(shape.Get("experts"), "experts", 0, UINT32_MAX - 1));
    const bool weighted = shape.Get("weighted").ToBoolean();
    const std::string user_names = owned(bytes(info[3], "user names"));
    const std::string item_names = owned(bytes(info[4], "expert names"));
    const auto memory = static_cast<uint64_t>(integer(info[5], "memory", 1, kSafe));
    return launch(info.Env(), info[6], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      const train::InteractionCounts counts = train::write_interactions(
          records, path, users, items, weighted, user_names, item_names, memory, cancel, progress);
      return [counts](Napi::Env env) -> Napi::Value { return counts_of(env, counts); };
    });
  });
}

// (path, listener) → counts with userNames, expertNames (Uint8Array); the whole file is verified.
Napi::Value interaction_counts(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const std::string path = text(info[0], "path");
    return launch(info.Env(), info[1], [=](const Cancel& cancel, const Progress& progress) -> Settle {
      auto file = std::make_shared<train::InteractionFile>(path, cancel, progress);
      return [file](Napi::Env env) -> Napi::Value {
        auto out = counts_of(env, file->counts());
        out.Set("userNames", bytes_of(env, file->user_names()));
        out.Set("expertNames", bytes_of(env, file->item_names()));
        return out;
      };
    });
  });
}

}  // namespace

void init_implicit(Napi::Env env, Napi::Object exports) {
  exports.Set("factorise", Napi::Function::New(env, factorise, "factorise"));
  exports.Set("foldIn", Napi::Function::New(env, fold_in, "foldIn"));
  exports.Set("writeInteractions", Napi::Function::New(env, write_interactions, "writeInteractions"));
  exports.Set("interactionCounts", Napi::Function::New(env, interaction_counts, "interactionCounts"));
}

}  // namespace pointsman::addon
