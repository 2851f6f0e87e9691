// The first thing to run on a new chip: pass A by wgmma and by mma.sync, against sums on the host.
//
// docs/gpu.md says how to build it. Every case is printed before its kernels run, so one that hangs
// or fails names itself. Sums of small integers must be exact; of normal numbers it prints the
// largest error, which the bounds of cuda/bounds.h allow some units of. Then the speed of both.
// Exit status 0: all are right.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "cpu/half.h"
#include "cuda/fragments.h"
#include "cuda/kernels.h"
#include "cuda/runtime.h"

namespace expansive::cuda {
namespace {

const char* const kNames[] = {"mma", "wgmma"};

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(int64_t n) : n_(static_cast<size_t>(n)) {
    check_cuda(cudaMalloc(&data_, n_ * sizeof(T)), "allocating");
  }
  explicit DeviceArray(const std::vector<T>& v) : DeviceArray(static_cast<int64_t>(v.size())) {
    check_cuda(cudaMemcpy(data_, v.data(), n_ * sizeof(T), cudaMemcpyHostToDevice), "copying");
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(data_); }

  T* data() const { return data_; }
  std::vector<T> on_host() const {
    std::vector<T> v(n_);
    check_cuda(cudaMemcpy(v.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost), "copying");
    return v;
  }

 private:
  size_t n_;
  T* data_ = nullptr;
};

BFloat16 narrow(float v) {
  BFloat16 narrowed;
  from_float(v, &narrowed);
  return narrowed;
}

std::vector<uint16_t> make_images(const std::vector<float>& values, int64_t n, int64_t d,
                                  int64_t multiple) {
  const int64_t padded = padded_features(d);
  std::vector<uint16_t> images(static_cast<size_t>(round_up(n, multiple) * padded), 0);
  for (int64_t i = 0; i < n * d; ++i) {
    images[static_cast<size_t>(image_place(i / d, i % d, padded))] =
        narrow(values[static_cast<size_t>(i)]).bits;
  }
  return images;
}

struct Case {
  int64_t q, n, d;
  int tile;
  int multiprocessors;  // few of them make strips long
  bool whole;
  Relation relation;
};

// What a value should be, and what its error is measured by.
struct Expected {
  bool wanted;
  double value, magnitude;
};

// Rows and queries of three classes, in their order.
class Data {
 public:
  explicit Data(const Case& c) : case_(c), a_(make(c.q)), b_(make(c.n)) {
    h_.assign(static_cast<size_t>(round_up(c.n, kWideBlockRows)), -INFINITY);
    for (int64_t i = 0; i < c.n; ++i) {
      h_[static_cast<size_t>(i)] = c.whole ? -static_cast<float>(random_() % 50) : 0.0f;
    }
    const int64_t cuts[] = {0, c.n / 3, c.n / 3 + c.n / 2, c.n};
    for (int64_t i = 0; i < c.q; ++i) {
      begins_.push_back(static_cast<uint32_t>(cuts[i * 3 / c.q]));
      ends_.push_back(static_cast<uint32_t>(cuts[i * 3 / c.q + 1]));
    }
  }

  // [queries, tiles]
  std::vector<float> screen_by(bool wgmma) const {
    const DeviceArray<uint16_t> a(make_images(a_, case_.q, case_.d, kBlockQueries));
    const DeviceArray<uint16_t> b(make_images(b_, case_.n, case_.d, kWideBlockRows));
    const DeviceArray<float> h(h_);
    const DeviceArray<uint32_t> begins(begins_), ends(ends_);
    const DeviceArray<float> values(
        std::vector<float>(static_cast<size_t>(case_.q * divide_up(case_.n, case_.tile)), 1e30f));
    const bool any = case_.relation == Relation::any;
    screen({a.data(),
            b.data(),
            h.data(),
            values.data(),
            case_.q,
            case_.n,
            case_.d,
            case_.tile,
            case_.relation,
            {any ? nullptr : begins.data(), any ? nullptr : ends.data()}},
           {case_.multiprocessors, wgmma}, nullptr);
    check_cuda(cudaDeviceSynchronize(), "the screen");
    return values.on_host();
  }

  Expected expected(int64_t query, int64_t tile) const {
    Expected e = {case_.relation == Relation::any, -INFINITY, 0.0};
    const auto q = static_cast<size_t>(query);
    for (int64_t row = tile * case_.tile; row < std::min(case_.n, (tile + 1) * case_.tile); ++row) {
      const bool is_friend = row >= begins_[q] && row < ends_[q];
      e.wanted = e.wanted || is_friend == (case_.relation == Relation::friendly);
      double sum = h_[static_cast<size_t>(row)], magnitude = 0.0;
      for (int64_t j = 0; j < case_.d; ++j) {
        const double product = static_cast<double>(a_[static_cast<size_t>(query * case_.d + j)]) *
                               b_[static_cast<size_t>(row * case_.d + j)];
        sum += product;
        magnitude += std::fabs(product);
      }
      e.value = std::max(e.value, sum);
      e.magnitude = std::max(e.magnitude, magnitude);
    }
    return e;
  }

 private:
  std::vector<float> make(int64_t n) {
    std::uniform_int_distribution<int> whole(-4, 4);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(n * case_.d));
    for (float& v : values) {
      v = case_.whole ? static_cast<float>(whole(random_)) : to_float(narrow(normal(random_)));
    }
    return values;
  }

  Case case_;
  std::mt19937 random_{1};
  std::vector<float> a_, b_, h_;
  std::vector<uint32_t> begins_, ends_;
};

bool is_right(const Case& c) {
  std::printf(
      "%ld queries, %ld rows, %ld features, tiles of %d, %d multiprocessors, relation %d%s: ",
      long{c.q}, long{c.n}, long{c.d}, c.tile, c.multiprocessors, static_cast<int>(c.relation),
      c.whole ? "" : ", normal");
  const Data data(c);
  std::vector<float> got[2];
  for (const int wgmma : {0, 1}) {
    std::fflush(stdout);
    got[wgmma] = data.screen_by(wgmma != 0);
    std::printf("%s ran, ", kNames[wgmma]);
  }
  int64_t wrong = 0;
  double units[2] = {};
  const int64_t tiles = divide_up(c.n, c.tile);
  for (int64_t at = 0; at < c.q * tiles; ++at) {
    const Expected e = data.expected(at / tiles, at % tiles);
    for (int wgmma = 0; e.wanted && wgmma < 2; ++wgmma) {
      const double value = got[wgmma][static_cast<size_t>(at)];
      const double error = std::fabs(value - e.value) / (e.magnitude * 0x1p-23 + 1e-300);
      units[wgmma] = std::max(units[wgmma], error);
      const double allowed = 4.0 * static_cast<double>(padded_features(c.d)) + 32.0;
      if (c.whole ? value == e.value : error <= allowed) continue;
      if (wrong++ < 3) {
        std::printf("\n  %s, query %ld, tile %ld: %g, not %g", kNames[wgmma], long{at / tiles},
                    long{at % tiles}, value, e.value);
      }
    }
  }
  std::printf("%ld wrong", long{wrong});
  if (!c.whole) {
    std::printf(", errors up to %.3f and %.3f of 2^-23 of the sum of products", units[0], units[1]);
  }
  std::printf("\n");
  return wrong == 0;
}

void time_both(int64_t q, int64_t n, int64_t d) {
  const int64_t padded = padded_features(d);
  std::vector<float> values(static_cast<size_t>(n * d));
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = i < 1'000'003 ? normal(random) : values[i - 1'000'003];
  }
  const DeviceArray<uint16_t> a(make_images(values, q, d, kBlockQueries));
  const DeviceArray<uint16_t> b(make_images(values, n, d, kWideBlockRows));
  const DeviceArray<float> h(std::vector<float>(static_cast<size_t>(round_up(n, kWideBlockRows))));
  const DeviceArray<float> out(q * divide_up(n, tile_rows(d)));
  int multiprocessors = 0;
  check_cuda(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0), "asking");
  cudaEvent_t begin, end;
  check_cuda(cudaEventCreate(&begin), "making an event");
  check_cuda(cudaEventCreate(&end), "making an event");
  for (const int wgmma : {0, 1}) {
    float best = INFINITY;
    for (int i = 0; i < 5; ++i) {
      check_cuda(cudaEventRecord(begin), "recording");
      screen({a.data(),
              b.data(),
              h.data(),
              out.data(),
              q,
              n,
              d,
              tile_rows(d),
              Relation::any,
              {nullptr, nullptr}},
             {multiprocessors, wgmma != 0}, nullptr);
      check_cuda(cudaEventRecord(end), "recording");
      check_cuda(cudaEventSynchronize(end), "the screen");
      float ms = 0.0f;
      check_cuda(cudaEventElapsedTime(&ms, begin, end), "timing");
      best = std::min(best, ms);
    }
    std::printf("%ld features, %s: %.3f ms, %.0f TFLOP/s\n", long{d}, kNames[wgmma], best,
                2.0 * static_cast<double>(q * n * padded) / best * 1e-9);
    std::fflush(stdout);
  }
}

bool all_right() {
  const Relation any = Relation::any;
  bool right = true;
  // From one stage of one block on.
  for (const int64_t d : {1, 16, 64, 65, 128, 129, 200, 512, 513, 576, 640, 2048}) {
    right &= is_right({3, 40, d, 32, 132, true, any});
  }
  for (const int tile : {16, 32, 64}) {
    for (const int multiprocessors : {132, 0, 2}) {
      for (const int64_t d : {3, 128, 192, 400, 520}) {
        right &= is_right({300, 2600, d, tile, multiprocessors, true, any});
      }
    }
  }
  // Strips of 64 blocks: the ring goes round often.
  for (const int64_t d : {3, 130}) right &= is_right({128, 70000, d, 64, 0, true, any});
  for (const Relation relation : {Relation::enemy, Relation::friendly}) {
    for (const int64_t d : {3, 130, 600}) right &= is_right({400, 3000, d, 64, 2, true, relation});
  }
  for (const int64_t d : {16, 64, 128, 512, 2048}) {
    right &= is_right({256, 1024, d, 64, 132, false, any});
  }
  return right;
}

}  // namespace
}  // namespace expansive::cuda

int main() {
  const bool right = expansive::cuda::all_right();
  std::printf(right ? "ALL RIGHT\n" : "WRONG\n");
  for (const int64_t d : {64, 128, 256, 512, 576, 1024, 2048}) {
    expansive::cuda::time_both(16384, 131072, d);
  }
  return right ? 0 : 1;
}
