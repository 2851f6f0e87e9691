#include "cpu/copies.h"

#include <algorithm>
#include <cstring>

#include "cpu/hash.h"
#include "cpu/integers.h"
#include "cpu/threads.h"

namespace expansive {
namespace {

constexpr int64_t kSampledRows = 512;
constexpr int64_t kManyInSample = 4;
constexpr int64_t kRowsPerTask = 4096;
constexpr int16_t kNone = -1;  // a row that is none of the frequent ones

// A row's bits, with zero's sign dropped: rows are copies if their values are equal.
using Bits = std::vector<unsigned char>;

template <typename Word>
void drop_signs_of_zeros(Bits& row) {
  constexpr auto kNegativeZero = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
  for (size_t at = 0; at < row.size(); at += sizeof(Word)) {
    Word word;
    std::memcpy(&word, row.data() + at, sizeof word);
    if (word == kNegativeZero) word = 0;
    std::memcpy(row.data() + at, &word, sizeof word);
  }
}

const Bits& bits_of(const Rows& rows, int64_t row) {
  thread_local Bits bits;
  const auto* begin = static_cast<const unsigned char*>(rows.row(row));
  bits.assign(begin, begin + rows.d * size_of(rows.dtype));
  if (size_of(rows.dtype) == 2) drop_signs_of_zeros<uint16_t>(bits);
  if (size_of(rows.dtype) == 4) drop_signs_of_zeros<uint32_t>(bits);
  if (size_of(rows.dtype) == 8) drop_signs_of_zeros<uint64_t>(bits);
  return bits;
}

uint64_t hash_row(const Rows& rows, int64_t row) {
  const Bits& bits = bits_of(rows, row);
  const auto size = static_cast<int64_t>(bits.size());
  return hash_words(bits.data(), size, 0, divide_up(size, 8));
}

// Hashes that come up often in a sample, ascending.
std::vector<uint64_t> frequent_hashes(const Rows& rows) {
  const int64_t sampled = std::min(rows.n, kSampledRows);
  std::vector<uint64_t> hashes(static_cast<size_t>(sampled));
  for (int64_t i = 0; i < sampled; ++i) {
    hashes[static_cast<size_t>(i)] = hash_row(rows, i * rows.n / sampled);
  }
  std::sort(hashes.begin(), hashes.end());
  std::vector<uint64_t> frequent;
  for (auto begin = hashes.begin(); begin != hashes.end();) {
    const auto end = std::upper_bound(begin, hashes.end(), *begin);
    if (end - begin >= kManyInSample) frequent.push_back(*begin);
    begin = end;
  }
  return frequent;
}

}  // namespace

Copies::Copies(const Rows& rows, const Grouping& grouping, int threads, Interrupt& interrupt) {
  const std::vector<uint64_t> frequent = frequent_hashes(rows);
  if (frequent.empty()) return;
  // Of each row, which of the frequent ones it may be: by class, then by row number.
  std::vector<int16_t> kind(static_cast<size_t>(rows.n), kNone);
  parallel_for(divide_up(rows.n, kRowsPerTask), threads, interrupt, [&](int64_t task, int) {
    const int64_t end = std::min(rows.n, (task + 1) * kRowsPerTask);
    for (int64_t position = task * kRowsPerTask; position < end; ++position) {
      const uint64_t hash = hash_row(rows, grouping.row(position));
      const auto found = std::lower_bound(frequent.begin(), frequent.end(), hash);
      if (found == frequent.end() || *found != hash) continue;
      kind[static_cast<size_t>(position)] = static_cast<int16_t>(found - frequent.begin());
    }
  });
  for (const Range& of_class : grouping.classes()) {
    std::vector<std::vector<uint32_t>> groups(frequent.size());
    std::vector<Bits> firsts(frequent.size());  // of each group
    for (int64_t position = of_class.begin; position < of_class.end; ++position) {
      const int16_t mine = kind[static_cast<size_t>(position)];
      if (mine == kNone) continue;
      const int64_t row = grouping.row(position);
      std::vector<uint32_t>& group = groups[static_cast<size_t>(mine)];
      Bits& first = firsts[static_cast<size_t>(mine)];
      if (group.empty()) first = bits_of(rows, row);
      if (first == bits_of(rows, row)) group.push_back(static_cast<uint32_t>(row));
    }
    for (std::vector<uint32_t>& group : groups) {
      most_ = std::max(most_, static_cast<int64_t>(group.size()));
      if (group.size() > 1) groups_.push_back(std::move(group));
    }
  }
}

void Copies::hide(int64_t k, const Grouping& grouping, const Elements& elements, int64_t first,
                  std::vector<float>& negated_half_norms) const {
  const int64_t end = first + static_cast<int64_t>(negated_half_norms.size());
  for (const std::vector<uint32_t>& group : groups_) {
    for (size_t i = static_cast<size_t>(k) + 1; i < group.size(); ++i) {
      const int64_t position = grouping.position(group[i]);
      if (position < first || position >= end) continue;
      negated_half_norms[static_cast<size_t>(position - first)] = -hiding_half_norm(elements);
    }
  }
}

}  // namespace expansive
