// Ids, and rows on their way into an index: what JavaScript gives is copied before it goes on.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "account.hpp"
#include "boundary.hpp"
#include "pointsman/buffer.hpp"
#include "pointsman/index.hpp"
#include "pointsman/thread_pool.hpp"

namespace pointsman::addon {

// Texts one after another.
struct Texts {
  std::string bytes;
  std::vector<size_t> ends;

  // Copies more of them: `text` is a Uint8Array, `ends` a Uint32Array of where in it each one, none of them
  // empty, ends.
  void add(const Napi::Value& text, const Napi::Value& ends_in_text) {
    const auto more = addon::bytes(text, "text");
    const auto bad_ends = [] {
      return Error(Code::BAD_ARGUMENT, "ends must rise to the length of the text");
    };
    const size_t before = bytes.size();
    const auto more_ends = words(ends_in_text, "ends");
    std::vector<size_t> own(more_ends.begin(), more_ends.end());  // shared memory may change meanwhile
    size_t last = 0;
    for (size_t& end : own) {
      if (end <= last || end > more.size()) throw bad_ends();
      last = end;
      end += before;
    }
    if (last != more.size()) throw bad_ends();
    if (const size_t all = ends.size() + own.size(); all > ends.capacity())
      ends.reserve(std::max(all, 2 * ends.capacity()));
    bytes.append(reinterpret_cast<const char*>(more.data()), more.size());
    ends.insert(ends.end(), own.begin(), own.end());
  }
  std::vector<std::string_view> views() const {
    std::vector<std::string_view> out;
    out.reserve(ends.size());
    size_t begin = 0;
    for (const size_t end : ends) {
      out.emplace_back(bytes.data() + begin, end - begin);
      begin = end;
    }
    return out;
  }
};

// On all threads, while JavaScript waits.
inline Buffer copied(std::span<const float> values) {
  constexpr size_t kAtOnce = size_t{1} << 20;
  Buffer copy(values.size_bytes());
  const auto* from = reinterpret_cast<const uint8_t*>(values.data());
  ThreadPool& pool = ThreadPool::shared();
  pool.parallel_for((values.size_bytes() + kAtOnce - 1) / kAtOnce, pool.size(), [&](size_t part, unsigned) {
    const size_t begin = part * kAtOnce;
    std::memcpy(copy.as<uint8_t>() + begin, from + begin, std::min(kAtOnce, values.size_bytes() - begin));
  });
  return copy;
}

class BatchObject : public Napi::ObjectWrap<BatchObject> {
 public:
  static constexpr napi_type_tag kTag = {0x706F696E74736D61, 0x6E2E6261746368};

  // Moved out when the batch is used.
  struct Rows {
    uint32_t dimensions = 0;
    size_t count = 0;
    Buffer values;
    Texts ids;
  };

  explicit BatchObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BatchObject>(info) {
    guarded(info, [&] {
      tag(info.This(), kTag);
      rows_ = std::make_shared<Rows>();
      rows_->dimensions = static_cast<uint32_t>(integer(info[0], "dimensions", 1, kMaxDimensions));
      const auto values = floats(info[1], "vectors");
      rows_->count = static_cast<size_t>(integer(info[2], "rows", 0, UINT32_MAX));
      if (values.size() != rows_->count * rows_->dimensions) {
        throw Error(Code::WRONG_SHAPE, "vectors must hold rows × dimensions numbers");
      }
      rows_->values = copied(values);
      account_.emplace(info.Env(), values.size_bytes());
      return info.Env().Undefined();
    });
  }

  std::shared_ptr<Rows> take(uint32_t dimensions) {
    if (!rows_) throw Error(Code::BAD_ARGUMENT, "the batch was used already");
    if (rows_->dimensions != dimensions || rows_->ids.ends.size() != rows_->count) {
      throw Error(Code::WRONG_SHAPE, "the batch has other dimensions, or not an id for each row");
    }
    account_.reset();  // from now on the upsert's
    return std::move(rows_);
  }

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Batch", {InstanceMethod<&BatchObject::add_ids>("addIds")});
  }

 private:
  Napi::Value add_ids(const Napi::CallbackInfo& info) {
    return method<BatchObject>(info, [&]() -> Napi::Value {
      if (!rows_) throw Error(Code::BAD_ARGUMENT, "the batch was used already");
      rows_->ids.add(info[0], info[1]);
      return info.Env().Undefined();
    });
  }

  std::shared_ptr<Rows> rows_;
  std::optional<Account> account_;
};

}  // namespace pointsman::addon
