// Bindings of the engine: Batch (batch.hpp), Filter, Index, doctor().
#include <cstring>
#include <optional>

#include "account.hpp"
#include "arrays.hpp"
#include "batch.hpp"
#include "boundary.hpp"
#include "core/backends.hpp"
#include "core/directory.hpp"
#include "core/search_queue.hpp"
#include "pointsman/index.hpp"
#include "pointsman/isa.hpp"

namespace pointsman::addon {
namespace {

class FilterObject : public Napi::ObjectWrap<FilterObject> {
 public:
  static constexpr napi_type_tag kTag = {0x706F696E74736D61, 0x6E2E66696C746572};

  explicit FilterObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<FilterObject>(info) {
    guarded(info, [&] {
      tag(info.This(), kTag);
      return info.Env().Undefined();
    });
  }

  static Napi::Object make(Napi::Env env, Filter filter) {
    const auto object = environment(env).filter.New({});
    auto* self = Unwrap(object);
    self->account_.emplace(env, filter.bits.size() * sizeof(filter.bits[0]));
    object.Set("size", filter.size);
    self->filter = std::make_shared<const Filter>(std::move(filter));
    return object;
  }
  static Napi::Function define(Napi::Env env) { return DefineClass(env, "Filter", {}); }

  std::shared_ptr<const Filter> filter;  // null when made by JavaScript itself

 private:
  std::optional<Account> account_;
};

class IndexObject : public Napi::ObjectWrap<IndexObject> {
 public:
  static constexpr napi_type_tag kTag = {0x706F696E74736D61, 0x6E2E696E646578};

  explicit IndexObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<IndexObject>(info) {
    guarded(info, [&]() -> Napi::Value {
      tag(info.This(), kTag);
      account_ = std::make_shared<Account>(info.Env());
      if (auto opened = std::move(environment(info.Env()).opened)) {  // by open(), just now
        adopt(std::move(opened));
        return info.Env().Undefined();
      }
      const double dimensions = number(info[0], "dimensions");
      if (!(dimensions >= 1 && dimensions <= kMaxDimensions) ||
          dimensions != static_cast<uint32_t>(dimensions)) {
        throw Error(Code::BAD_DIMENSIONS, "dimensions must be an integer from 1 to 4096");
      }
      const auto threads = static_cast<unsigned>(integer(info[1], "threads", 0, 1024));
      adopt(std::make_shared<Index>(static_cast<uint32_t>(dimensions), threads, text(info[2], "backend")));
      return info.Env().Undefined();
    });
  }

  static Napi::Value open(const Napi::CallbackInfo& info) {
    return guarded(info, [&] {
      auto path = text(info[0], "path");
      const auto threads = static_cast<unsigned>(integer(info[1], "threads", 0, 1024));
      auto backend = text(info[2], "backend");
      const bool verify = info[3].ToBoolean();
      return launch(info.Env(), info[4], [=](const Cancel& cancel, const Progress& progress) -> Settle {
        std::shared_ptr<Index> index = Index::open(path, threads, backend, verify, cancel, progress);
        return [index](Napi::Env env) -> Napi::Value {
          auto& opened = environment(env).opened;
          opened = index;
          try {
            return environment(env).index.New({});
          } catch (...) {
            opened.reset();  // or the next index would take it over
            throw;
          }
        };
      });
    });
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Index",
        {StaticMethod<&IndexObject::open>("open"), InstanceMethod<&IndexObject::upsert>("upsert"),
         InstanceMethod<&IndexObject::remove>("remove"), InstanceMethod<&IndexObject::filter>("filter"),
         InstanceMethod<&IndexObject::has>("has"), InstanceMethod<&IndexObject::handle_of>("handleOf"),
         InstanceMethod<&IndexObject::vector>("vector"), InstanceMethod<&IndexObject::id_of>("idOf"),
         InstanceMethod<&IndexObject::ids>("ids"), InstanceMethod<&IndexObject::resolver>("resolver"),
         InstanceMethod<&IndexObject::search>("search"),
         InstanceMethod<&IndexObject::search_sync>("searchSync"), InstanceMethod<&IndexObject::save>("save"),
         InstanceMethod<&IndexObject::stats>("stats"), InstanceMethod<&IndexObject::close>("close")});
  }

 private:
  void adopt(std::shared_ptr<Index> index) {
    index_ = std::move(index);
    account_->set(index_->bytes());
    writes_ = std::make_shared<Strand>();
    searches_ = std::make_shared<SearchQueue>(index_);
  }
  const std::shared_ptr<Index>& index() const {
    if (!index_) throw Error(Code::CLOSED, "the index was closed");
    return index_;
  }
  static std::shared_ptr<const Filter> filter_of(const Napi::Value& value) {
    if (value.IsUndefined() || value.IsNull()) return nullptr;
    auto filter = unwrap<FilterObject>(value, "filter").filter;
    if (!filter) throw Error(Code::BAD_ARGUMENT, "filter was not made by an index");
    return filter;
  }
  // Counts, scores and handles one after another in one buffer: three arrays of their own take JavaScript
  // longer than a small search.
  static Napi::ArrayBuffer to_js(Napi::Env env, const SearchResult& result) {
    static_assert(sizeof(result.counts[0]) == sizeof(result.scores[0]));
    auto buffer = Napi::ArrayBuffer::New(
        env, (result.counts.size() + result.scores.size() + result.handles.size()) * sizeof(uint32_t));
    auto* to = static_cast<uint8_t*>(buffer.Data());
    const auto append = [&to](const auto& values) {
      const size_t bytes = values.size() * sizeof(values[0]);
      if (bytes > 0) std::memcpy(to, values.data(), bytes);
      to += bytes;
    };
    append(result.counts);
    append(result.scores);
    append(result.handles);
    return buffer;
  }
  static Napi::Array strings(Napi::Env env, const auto& texts) {
    auto array = Napi::Array::New(env, texts.size());
    uint32_t i = 0;
    for (const auto& t : texts) array.Set(i++, Napi::String::New(env, t.data(), t.size()));
    return array;
  }

  Napi::Value upsert(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&] {
      const auto target = index();
      auto rows = unwrap<BatchObject>(info[0], "batch").take(target->dimensions());
      return launch(
          info.Env(), info[1],
          [target, rows, account = std::weak_ptr(account_)](const Cancel& cancel,
                                                            const Progress& progress) -> Settle {
            const std::span<const float> values(rows->values.as<float>(), rows->count * rows->dimensions);
            target->upsert(rows->ids.views(), values, cancel, progress);
            return [account, bytes = target->bytes()](Napi::Env env) -> Napi::Value {
              if (const auto own = account.lock()) own->set(bytes);
              return env.Undefined();
            };
          },
          writes_);
    });
  }

  Napi::Value remove(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&] {
      const auto target = index();
      auto ids = std::make_shared<Texts>();
      ids->add(info[0], info[1]);
      return launch(
          info.Env(), info.Env().Undefined(),
          [target, ids, account = std::weak_ptr(account_)](const Cancel&, const Progress&) -> Settle {
            const size_t removed = target->remove(ids->views());
            return [removed, account, bytes = target->bytes()](Napi::Env env) -> Napi::Value {
              if (const auto own = account.lock()) own->set(bytes);
              return Napi::Number::New(env, static_cast<double>(removed));
            };
          },
          writes_);
    });
  }

  Napi::Value filter(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      Texts ids;
      ids.add(info[0], info[1]);
      return FilterObject::make(info.Env(), index()->filter(ids.views(), info[2].ToBoolean()));
    });
  }

  Napi::Value has(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      return Napi::Boolean::New(info.Env(), index()->has(text(info[0], "id")));
    });
  }

  Napi::Value handle_of(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      const uint32_t handle = index()->handle_of(text(info[0], "id"));
      return handle == UINT32_MAX ? info.Env().Undefined() : Napi::Number::New(info.Env(), handle);
    });
  }

  Napi::Value vector(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      const std::vector<float> values = index()->vector(text(info[0], "id"));
      return values.empty() ? info.Env().Undefined() : to_array(info.Env(), values);
    });
  }

  Napi::Value id_of(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      return Napi::String::New(
          info.Env(), index()->id_of(static_cast<uint32_t>(integer(info[0], "handle", 0, UINT32_MAX))));
    });
  }

  Napi::Value ids(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      uint32_t next = 0;
      const auto page = index()->ids(static_cast<uint32_t>(integer(info[0], "start", 0, UINT32_MAX)),
                                     static_cast<uint32_t>(integer(info[1], "count", 1, 1 << 20)), next);
      auto object = Napi::Object::New(info.Env());
      object.Set("ids", strings(info.Env(), page));
      object.Set("next", next);
      return object;
    });
  }

  // A function (handles) → ids that also knows removed experts and goes on working after close().
  Napi::Value resolver(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      return Napi::Function::New(info.Env(),
                                 [directory = index()->directory()](const Napi::CallbackInfo& call) {
                                   return guarded(call, [&]() -> Napi::Value {
                                     const auto handles = words(call[0], "handles");
                                     std::vector<std::string_view> texts(handles.size());
                                     directory->texts(handles, texts.data());
                                     return strings(call.Env(), texts);
                                   });
                                 });
    });
  }

  Napi::Value search(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      const auto target = index();
      const auto queries = floats(info[0], "queries");
      const auto k = static_cast<uint32_t>(integer(info[1], "k", 0, UINT32_MAX));
      auto filter = filter_of(info[2]);
      if (target->hardly_takes_time(queries, filter != nullptr)) {
        // Handing it over would take longer than doing it, on this thread too.
        auto deferred = Napi::Promise::Deferred::New(info.Env());
        deferred.Resolve(to_js(info.Env(), target->search(queries, k, filter.get(), 1, Cancel())));
        auto handle = Napi::Object::New(info.Env());
        handle.Set("promise", deferred.Promise());
        return handle.As<Napi::Value>();
      }
      return launch(info.Env(), [&](std::shared_ptr<const Cancel> cancel, End end) {
        searches_->submit({{queries.begin(), queries.end()},
                           k,
                           std::move(filter),
                           std::move(cancel),
                           [end = std::move(end)](SearchResult&& found, std::exception_ptr error) {
                             auto result = std::make_shared<SearchResult>(std::move(found));
                             end([result](Napi::Env env) -> Napi::Value { return to_js(env, *result); },
                                 std::move(error));
                           }});
      });
    });
  }

  Napi::Value search_sync(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      const auto filter = filter_of(info[2]);
      return to_js(info.Env(), index()->search(floats(info[0], "queries"),
                                               static_cast<uint32_t>(integer(info[1], "k", 0, UINT32_MAX)),
                                               filter.get(), 1, Cancel()));
    });
  }

  Napi::Value save(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&] {
      const auto target = index();
      // In the order of the writes before it.
      return launch(
          info.Env(), info[1],
          [target, path = text(info[0], "path")](const Cancel& cancel, const Progress& progress) -> Settle {
            target->save(path, cancel, progress);
            return [](Napi::Env env) -> Napi::Value { return env.Undefined(); };
          },
          writes_);
    });
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      const IndexStats stats = index()->stats();
      auto object = Napi::Object::New(info.Env());
      const auto set = [&](const char* name, uint64_t value) {
        object.Set(name, static_cast<double>(value));
      };
      set("size", stats.size);
      set("dimensions", stats.dimensions);
      set("blocks", stats.blocks);
      set("bytes", stats.bytes);
      set("deadRows", stats.dead_rows);
      set("nextHandle", stats.next_handle);
      set("searches", stats.searches);
      set("queries", stats.queries);
      object.Set("searchSeconds", stats.search_seconds);
      set("version", stats.version);
      set("threads", stats.threads);
      object.Set("backend", stats.backend);
      object.Set("backendReason", stats.backend_reason);
      object.Set("isa", stats.isa);
      object.Set("isaReason", stats.isa_reason);
      object.Set("pruning", stats.pruning);
      object.Set("codings", stats.codings);
      return object;
    });
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    return method<IndexObject>(info, [&]() -> Napi::Value {
      // The ids stay for results that were given out (`resolver`), until the collector finds this object.
      if (index_) account_ = std::make_shared<Account>(info.Env(), index_->directory()->bytes());
      index_.reset();  // running work holds it until it ends
      searches_.reset();
      return info.Env().Undefined();
    });
  }

  std::shared_ptr<Index> index_;  // null once closed
  std::shared_ptr<Strand> writes_;
  std::shared_ptr<SearchQueue> searches_;
  std::shared_ptr<Account> account_;  // replaced when closed: writes that still run have the old one
};

Napi::Value doctor(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    auto object = Napi::Object::New(env);
    try {
      object.Set("isa", active_kernels().isa);
      object.Set("isaReason", active_kernels_reason());
    } catch (const Error& error) {
      object.Set("isa", "none");
      object.Set("isaReason", error.what());
    }
    auto isas = Napi::Array::New(env);
    for (const IsaChoice& choice : available_kernels()) {
      auto entry = Napi::Object::New(env);
      entry.Set("name", choice.kernels->isa);
      entry.Set("supported", choice.supported);
      isas.Set(isas.Length(), entry);
    }
    object.Set("isas", isas);
    auto list = Napi::Array::New(env);
    for (const BackendState& state : backends()) {
      auto entry = Napi::Object::New(env);
      entry.Set("name", state.name);
      entry.Set("available", state.table != nullptr);
      entry.Set("reason", state.reason);
      list.Set(list.Length(), entry);
    }
    object.Set("backends", list);
    object.Set("threads", ThreadPool::shared().size());
    return object;
  });
}

Napi::Value plugin_package(const Napi::CallbackInfo& info) {
  return guarded(info, [&]() -> Napi::Value {
    set_plugin_package(text(info[0], "the package's name"), text(info[1], "the plugin's path"));
    return info.Env().Undefined();
  });
}

}  // namespace

void init_index(Napi::Env env, Napi::Object exports) {
  const Napi::Function filter = FilterObject::define(env), index = IndexObject::define(env);
  environment(env).filter = Napi::Persistent(filter);
  environment(env).index = Napi::Persistent(index);
  exports.Set("Batch", BatchObject::define(env));
  exports.Set("Filter", filter);
  exports.Set("Index", index);
  exports.Set("doctor", Napi::Function::New(env, doctor, "doctor"));
  exports.Set("pluginPackage", Napi::Function::New(env, plugin_package, "pluginPackage"));
}

}  // namespace pointsman::addon
