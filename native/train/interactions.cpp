#include "train/interactions.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pointsman/thread_pool.hpp"

namespace pointsman::train {
namespace {

constexpr FileKind kInteractions{"PTSMNACT", 1, "a file of interactions"};

struct Header {
  FileHead head;
  uint64_t users, items, count, weighted, user_names_bytes, item_names_bytes;
};

struct Layout {
  uint64_t user_starts, item_starts, user_ids, user_weights, item_ids, item_weights, user_names, item_names,
      size;
};

Layout lay_out(const Header& h) {
  Sections sections;
  Layout l{};
  l.user_starts = sections.add((h.users + 1) * 8);
  l.item_starts = sections.add((h.items + 1) * 8);
  l.user_ids = sections.add(h.count * 4);
  l.user_weights = sections.add(h.weighted ? h.count * 4 : 0);
  l.item_ids = sections.add(h.count * 4);
  l.item_weights = sections.add(h.weighted ? h.count * 4 : 0);
  l.user_names = sections.add(h.user_names_bytes);
  l.item_names = sections.add(h.item_names_bytes);
  l.size = sections.end();
  return l;
}

struct Record {
  uint32_t user, item;
  float weight;
};

// Calls body(record) for each, in order.
template <typename Body>
void each_record(const InputFile& file, const Cancel& cancel, const std::function<void(uint64_t)>& tick,
                 const Body& body) {
  std::vector<Record> piece(1 << 16);
  const uint64_t count = file.size() / sizeof(Record);
  for (uint64_t at = 0; at < count; at += piece.size()) {
    cancel.check();
    const uint64_t take = std::min<uint64_t>(piece.size(), count - at);
    file.read(at * sizeof(Record), piece.data(), take * sizeof(Record));
    for (uint64_t e = 0; e < take; ++e) body(piece[e]);
    tick(take);
  }
}

// The lines first … end of one side, as many as fit the memory, sorted and written, then the next ones.
template <typename Line, typename Other>
void write_side(const InputFile& records, OutputFile& out, const std::vector<uint64_t>& starts,
                uint64_t ids_at, uint64_t weights_at, bool weighted, uint64_t most, const Cancel& cancel,
                const std::function<void(uint64_t)>& tick, const Line& line_of, const Other& other_of) {
  const size_t lines = starts.size() - 1;
  for (size_t first = 0; first < lines;) {
    size_t end = first + 1;
    while (end < lines && starts[end + 1] - starts[first] <= most) ++end;
    const uint64_t base = starts[first], count = starts[end] - base;
    std::vector<uint64_t> next(starts.begin() + static_cast<std::ptrdiff_t>(first),
                               starts.begin() + static_cast<std::ptrdiff_t>(end));
    std::vector<uint32_t> ids(count);
    std::vector<float> weights(weighted ? count : 0);
    each_record(records, cancel, tick, [&](const Record& r) {
      const size_t line = line_of(r);
      if (line < first || line >= end) return;
      const uint64_t to = next[line - first]++ - base;
      if (to >= count) throw Error(Code::FILE_CORRUPT, records.path() + " changed while it was read");
      ids[to] = other_of(r);
      if (weighted) weights[to] = r.weight;
    });
    out.write(ids_at + base * 4, ids.data(), count * 4);
    if (weighted) out.write(weights_at + base * 4, weights.data(), count * 4);
    first = end;
  }
}

uint64_t scans_of(const std::vector<uint64_t>& starts, uint64_t most) {
  uint64_t scans = 0;
  for (size_t first = 0; first + 1 < starts.size(); ++scans) {
    size_t end = first + 1;
    while (end + 1 < starts.size() && starts[end + 1] - starts[first] <= most) ++end;
    first = end;
  }
  return scans;
}

class FileLines : public Lines {
 public:
  FileLines(const InputFile& file, uint64_t starts_at, uint64_t lines, uint64_t ids_at, uint64_t weights_at,
            bool weighted, uint64_t count)
      : file_(file), ids_at_(ids_at), weights_at_(weights_at), weighted_(weighted) {
    starts_.resize(lines + 1);
    file.read(starts_at, starts_.data(), (lines + 1) * 8);
    if (starts_.front() != 0 || starts_.back() != count || !std::is_sorted(starts_.begin(), starts_.end()))
      throw Error(Code::FILE_CORRUPT, file.path() + " was altered");
  }
  Entries read(uint64_t from, uint64_t to, Scratch& scratch) const override {
    scratch.ids.resize(to - from);
    file_.read(ids_at_ + from * 4, scratch.ids.data(), (to - from) * 4);
    if (!weighted_) return {scratch.ids.data(), nullptr};
    scratch.weights.resize(to - from);
    file_.read(weights_at_ + from * 4, scratch.weights.data(), (to - from) * 4);
    return {scratch.ids.data(), scratch.weights.data()};
  }

 private:
  const InputFile& file_;
  uint64_t ids_at_, weights_at_;
  bool weighted_;
};

}  // namespace

InteractionCounts write_interactions(const std::string& records_path, const std::string& path, uint64_t users,
                                     uint64_t items, bool weighted, const std::string& user_names,
                                     const std::string& item_names, uint64_t memory, const Cancel& cancel,
                                     const Progress& progress) {
  const InputFile records(records_path);
  if (records.size() % sizeof(Record) != 0) throw Error(Code::FILE_CORRUPT, records_path + " is truncated");
  const uint64_t count = records.size() / sizeof(Record), most = std::max<uint64_t>(1, memory / 8);
  std::vector<uint64_t> user_starts(users + 1, 0), item_starts(items + 1, 0);
  uint64_t done = 0, total = count;
  const auto tick = [&](uint64_t n) {
    done += n;
    if (progress) progress(done, total);
  };
  each_record(
      records, cancel, [](uint64_t) {},
      [&](const Record& r) {
        if (r.user >= users || r.item >= items)
          throw Error(Code::WRONG_SHAPE, "an interaction names user " + std::to_string(r.user) +
                                             " and expert " + std::to_string(r.item) + " of " +
                                             std::to_string(users) + " and " + std::to_string(items));
        if (!(r.weight >= 0 && r.weight <= 1e30f))
          throw Error(Code::NOT_FINITE, "weights must be from 0 to 1e30");
        ++user_starts[r.user + size_t{1}];
        ++item_starts[r.item + size_t{1}];
      });
  for (uint64_t i = 0; i < users; ++i) user_starts[i + 1] += user_starts[i];
  for (uint64_t i = 0; i < items; ++i) item_starts[i + 1] += item_starts[i];
  total = count * (scans_of(user_starts, most) + scans_of(item_starts, most));

  Header h{};
  h.users = users;
  h.items = items;
  h.count = count;
  h.weighted = weighted;
  h.user_names_bytes = user_names.size();
  h.item_names_bytes = item_names.size();
  const Layout l = lay_out(h);
  h.head.size = l.size;
  OutputFile out(path);
  out.write(l.user_starts, user_starts.data(), user_starts.size() * 8);
  out.write(l.item_starts, item_starts.data(), item_starts.size() * 8);
  out.write(l.user_names, user_names.data(), user_names.size());
  out.write(l.item_names, item_names.data(), item_names.size());
  write_side(
      records, out, user_starts, l.user_ids, l.user_weights, weighted, most, cancel, tick,
      [](const Record& r) { return r.user; }, [](const Record& r) { return r.item; });
  write_side(
      records, out, item_starts, l.item_ids, l.item_weights, weighted, most, cancel, tick,
      [](const Record& r) { return r.item; }, [](const Record& r) { return r.user; });
  out.commit(kInteractions, &h, sizeof h, ThreadPool::shared().size(), cancel);
  return {users, items, count, weighted};
}

InteractionFile::InteractionFile(const std::string& path, const Cancel& cancel, const Progress& progress)
    : file_(path) {
  Header h{};
  file_.read_header(kInteractions, &h, sizeof h);
  file_.verify(0, ThreadPool::shared().size(), cancel, progress);
  constexpr uint64_t kMost = uint64_t{1} << 48;
  const bool sound = h.users < UINT32_MAX && h.items < UINT32_MAX && h.count < kMost && h.weighted <= 1 &&
                     h.user_names_bytes < kMost && h.item_names_bytes < kMost;
  const Layout l = sound ? lay_out(h) : Layout{};
  if (l.size != h.head.size) throw Error(Code::FILE_CORRUPT, path + " was altered");
  counts_ = {h.users, h.items, h.count, h.weighted == 1};
  by_user_ = std::make_unique<FileLines>(file_, l.user_starts, h.users, l.user_ids, l.user_weights,
                                         h.weighted, h.count);
  by_item_ = std::make_unique<FileLines>(file_, l.item_starts, h.items, l.item_ids, l.item_weights,
                                         h.weighted, h.count);
  user_names_.resize(h.user_names_bytes);
  file_.read(l.user_names, user_names_.data(), user_names_.size());
  item_names_.resize(h.item_names_bytes);
  file_.read(l.item_names, item_names_.data(), item_names_.size());
  fingerprint_ = h.head.header_hash;
}

namespace {

constexpr FileKind kCheckpoint{"PTSMNCKP", 1, "a checkpoint"};

struct CheckpointHeader {
  FileHead head;
  uint64_t users, items, fingerprint;
  uint64_t seed;
  uint32_t factors, done;
  double unobserved, penalty, exponent, deviation;
};

CheckpointHeader checkpoint_header(uint64_t users, uint64_t items, const ImplicitSettings& s,
                                   uint64_t fingerprint) {
  CheckpointHeader h{};
  h.users = users;
  h.items = items;
  h.fingerprint = fingerprint;
  h.seed = s.seed;
  h.factors = s.factors;
  h.unobserved = s.unobserved;
  h.penalty = s.penalty;
  h.exponent = s.exponent;
  h.deviation = s.deviation;
  h.head.size = kHeaderBytes + items * Table(0, s.factors).stride * sizeof(float);
  return h;
}

}  // namespace

void write_checkpoint(const std::string& path, const Table& items, uint32_t done, uint64_t users,
                      const ImplicitSettings& settings, uint64_t fingerprint, const Cancel& cancel) {
  CheckpointHeader h = checkpoint_header(users, items.count, settings, fingerprint);
  h.done = done;
  OutputFile out(path);
  out.write(kHeaderBytes, items.values.as<char>(), h.head.size - kHeaderBytes);
  out.commit(kCheckpoint, &h, sizeof h, ThreadPool::shared().size(), cancel);
}

Checkpoint read_checkpoint(const std::string& path, uint64_t users, uint64_t items,
                           const ImplicitSettings& settings, uint64_t fingerprint, const Cancel& cancel) {
  InputFile file(path);
  CheckpointHeader h{};
  file.read_header(kCheckpoint, &h, sizeof h);
  file.verify(0, ThreadPool::shared().size(), cancel, {});
  const CheckpointHeader wanted = checkpoint_header(users, items, settings, fingerprint);
  if (h.users != users || h.items != items || h.fingerprint != fingerprint)
    throw Error(Code::BAD_ARGUMENT, path + " is the checkpoint of other interactions");
  if (h.seed != wanted.seed || h.factors != wanted.factors || h.unobserved != wanted.unobserved ||
      h.penalty != wanted.penalty || h.exponent != wanted.exponent || h.deviation != wanted.deviation)
    throw Error(Code::BAD_ARGUMENT, path + " is the checkpoint of a run with other settings");
  if (h.head.size != wanted.head.size || h.done < 1) throw Error(Code::FILE_CORRUPT, path + " was altered");
  if (h.done > settings.sweeps) {
    throw Error(Code::BAD_ARGUMENT,
                path + " has " + std::to_string(h.done) + " sweeps, more than were asked for");
  }
  Checkpoint out{Table(items, settings.factors), h.done};
  file.read(kHeaderBytes, out.items.values.as<char>(), h.head.size - kHeaderBytes);
  return out;
}

}  // namespace pointsman::train
