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

// Texts one after another, with views once all are in.
struct Texts {
  std::string bytes;
  std::vector<size_t> ends;

  void add(const Napi::Value& list, const char* name) {
    if (!list.IsArray()) throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be an array of strings");
    const auto array = list.As<Napi::Array>();
    const uint32_t count = array.Length();
    for (uint32_t i = 0; i < count; ++i) add_one(array.Get(i), name);
  }
  void append(const Texts& other) {
    const size_t before = bytes.size();
    ends.reserve(ends.size() + other.ends.size());
    bytes += other.bytes;
    for (const size_t end : other.ends) ends.push_back(before + end);
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

 private:
  void add_one(const Napi::Value& value, const char* name) {
    // Most are short: one call gives text and length, unless it may have been cut off.
    char small[64];
    size_t length = 0;
    if (napi_get_value_string_utf8(value.Env(), value, small, sizeof small, &length) != napi_ok ||
        length == 0) {
      throw Error(Code::BAD_ARGUMENT, std::string(name) + " must be strings that are not empty");
    }
    if (length < sizeof small - 4) {
      bytes.append(small, length);
    } else {
      napi_get_value_string_utf8(value.Env(), value, nullptr, 0, &length);
      const size_t begin = bytes.size();
      bytes.resize(begin + length + 1);  // Node-API ends it with a zero
      napi_get_value_string_utf8(value.Env(), value, bytes.data() + begin, length + 1, &length);
      bytes.resize(begin + length);
    }
    ends.push_back(bytes.size());
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
      // The array's getters may run JavaScript that uses this batch: nothing of it is touched before they are
      // done.
      Texts added;
      added.add(info[0], "ids");
      if (!rows_) throw Error(Code::BAD_ARGUMENT, "the batch was used already");
      rows_->ids.append(added);
      return info.Env().Undefined();
    });
  }

  std::shared_ptr<Rows> rows_;
  std::optional<Account> account_;
};

}  // namespace pointsman::addon
