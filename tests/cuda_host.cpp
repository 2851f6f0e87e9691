// The CUDA search's rules, run on the host: what its kernels share with this file is every bound,
// every place in memory (cuda_fragments.h) and the whole choice of tiles; what it imitates is the
// tensor core (as rough as it may be) and a team of threads.
//
// Prints a line for each part and exits with 0, or says what is wrong and exits with 1.
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/half.h"
#include "cuda/bounds.h"
#include "cuda/selection.h"
#include "cuda/tiles.h"
#include "cuda_fragments.h"

using namespace expansive;
using namespace expansive::cuda;

namespace {

// ---- a tensor core -----------------------------------------------------------------------------

double cut(double value, double unit) { return std::trunc(value / unit) * unit; }

// A sum of products as rough as the measured model allows: every addend is cut at 2^-23 of the
// largest, then the sum is cut to float32.
float add_products(float sum, const float* a, const float* b, int count) {
  double largest = std::fabs(static_cast<double>(sum));
  for (int i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(a[i]) * static_cast<double>(b[i])));
  }
  if (largest == 0.0) return 0.0f;
  const double unit = std::ldexp(1.0, std::ilogb(largest) - 23);
  double total = cut(sum, unit);
  for (int i = 0; i < count; ++i) total += cut(static_cast<double>(a[i]) * b[i], unit);
  if (total == 0.0) return 0.0f;
  return static_cast<float>(cut(total, std::ldexp(1.0, std::ilogb(total) - 23)));
}

float product(const float* a, const float* b, int64_t d) {
  float sum = 0.0f;
  for (int64_t j = 0; j < d; j += 8) sum = add_products(sum, a + j, b + j, 8);
  return sum;
}

// The NaN that a GPU makes, nearly all ones, and others: rounding must not carry into the sign.
void check_nan() {
  for (const uint32_t bits : {0x7FFFFFFFu, 0xFFFFFFFFu, 0x7F800001u, 0xFFC00000u}) {
    BFloat16 rounded;
    from_float(float_of(bits), &rounded);
    require(std::isnan(to_float(rounded)), "bfloat16 of NaN");
  }
}

// Every tile that pass B may read has been written by exactly one strip of pass A.
void check_runs() {
  std::mt19937 random(2);
  for (int round = 0; round < 3000; ++round) {
    const int64_t n = 1 + static_cast<int64_t>(random() % 1500);
    std::vector<int64_t> bounds{0, n};
    for (unsigned cuts = random() % 6; cuts > 0; --cuts) bounds.push_back(random() % (n + 1));
    std::sort(bounds.begin(), bounds.end());
    const size_t classes = bounds.size() - 1;
    size_t first = random() % (classes + 1), last = random() % (classes + 1);  // 0: no class
    if (first > last) std::swap(first, last);
    const auto begin_of = [&](size_t c) {
      return static_cast<uint32_t>(c == 0 ? 0 : bounds[c - 1]);
    };
    const auto end_of = [&](size_t c) { return static_cast<uint32_t>(c == 0 ? 0 : bounds[c]); };
    const int block_rows = round % 2 == 0 ? kBlockRows : kWideBlockRows;
    const int64_t blocks = divide_up(n, block_rows), strip = 1 + static_cast<int64_t>(random() % 5);
    for (const Relation relation : {Relation::enemy, Relation::friendly}) {
      std::vector<int> visits(static_cast<size_t>(blocks), 0);
      for (int64_t at = 0; at < blocks; at += strip) {
        const Run run =
            wanted_run(at, std::min(at + strip, blocks), block_rows, relation == Relation::enemy,
                       begin_of(first), end_of(first), begin_of(last), end_of(last), n);
        require(count_blocks(run) >= 0, "a strip of negative length");
        for (int64_t i = 0; i < count_blocks(run); ++i) {
          ++visits.at(static_cast<size_t>(block_number(run, i)));
        }
      }
      for (size_t c = first; c <= last; ++c) {
        for (const int rows : {16, 32, 64}) {
          Selection s{};
          s.n = n;
          s.tile_rows = rows;
          s.relation = relation;
          s.class_begin = begin_of(c);
          s.class_end = end_of(c);
          const TileRange range = related_tiles(s);
          for (int64_t position = 0; position < n; ++position) {
            const int tile = static_cast<int>(position / rows);
            if (is_related(s, position)) require(may_hold(range, tile), "a tile is left out");
            if (may_hold(range, tile)) {
              require(visits[static_cast<size_t>(position / block_rows)] == 1,
                      "a tile is read that is not written once");
            }
          }
        }
      }
    }
  }
  std::printf("runs: ok\n");
}

// ---- teams -------------------------------------------------------------------------------------

// Threads that stand for those of a block.
struct Team {
  int number;
  int count;
  pthread_barrier_t* barrier;
  int rank() const { return number; }
  int size() const { return count; }
  void sync() const { pthread_barrier_wait(barrier); }
  int add(int* counter, int amount) const {
    return __atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
  }
  int read(const int* counter) const { return __atomic_load_n(counter, __ATOMIC_RELAXED); }
  int sum(int mine, int* counter) const {
    sync();
    if (number == 0) *counter = 0;
    sync();
    add(counter, mine);
    sync();
    return *counter;
  }
};

void run_team(int count, const std::function<void(const Team&)>& work) {
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, static_cast<unsigned>(count));
  std::vector<std::thread> threads;
  for (int i = 1; i < count; ++i) threads.emplace_back([&, i] { work(Team{i, count, &barrier}); });
  work(Team{0, count, &barrier});
  for (std::thread& thread : threads) thread.join();
  pthread_barrier_destroy(&barrier);
}

// ---- searches ----------------------------------------------------------------------------------

struct Data {
  int64_t n, d;
  std::vector<double> x;  // in class order
  std::vector<uint32_t> class_begin, class_end;
};

double squared_distance(const double* a, const double* b, int64_t d) {
  double sums[8] = {};
  for (int64_t j = 0; j < d; ++j) sums[j % 8] = std::fma(a[j] - b[j], a[j] - b[j], sums[j % 8]);
  for (int i = 0; i < 4; ++i) sums[i] += sums[i + 4];
  for (int i = 0; i < 2; ++i) sums[i] += sums[i + 2];
  return sums[0] + sums[1];
}

struct Image {
  std::vector<float> coordinates;
  double squared_norm, error;
};

Image make_image(const double* row, const std::vector<double>& centre, double scale, int64_t d) {
  Image image{std::vector<float>(static_cast<size_t>(padded_features(d)), 0.0f), 0.0, 0.0};
  double squared_error = 0.0;
  for (size_t j = 0; j < static_cast<size_t>(d); ++j) {
    const double exact = (row[j] - centre[j]) * scale;
    BFloat16 rounded;
    from_double(exact, &rounded);
    if (std::fabs(to_float(rounded)) < kLeastCoordinate) rounded.bits = 0;
    const double value = to_double(rounded);
    image.coordinates[j] = static_cast<float>(value);
    image.squared_norm += value * value;
    squared_error += (value - exact) * (value - exact);
  }
  if (!(image.squared_norm <= kLongestImage)) {
    return {std::vector<float>(image.coordinates.size(), 0.0f), 0.0,
            std::numeric_limits<double>::infinity()};
  }
  image.error = image_error(image.squared_norm, squared_error);
  return image;
}

struct Found {
  std::vector<std::pair<double, uint32_t>> nearest;
  int64_t measured;
};

// Searches for points outside the database, all rows of which are measured by brute force too.
void check_search(const std::string& name, const Data& data, const std::vector<double>& points,
                  int64_t k, Relation relation, int rows_per_tile, double largest) {
  const int64_t n = data.n, d = data.d, tiles = divide_up(n, rows_per_tile);
  const double gamma = screen_gamma(padded_features(d)), scale = find_scale(largest);
  std::vector<double> centre(data.x.begin() + n / 2 * d, data.x.begin() + (n / 2 + 1) * d);
  std::vector<Image> images;
  std::vector<double> tile_errors(static_cast<size_t>(tiles), 0.0);
  for (int64_t i = 0; i < n; ++i) {
    images.push_back(make_image(data.x.data() + i * d, centre, scale, d));
    double& worst = tile_errors[static_cast<size_t>(i / rows_per_tile)];
    worst = std::max(worst, images.back().error);
  }
  int64_t measured = 0, possible = 0;
  const int64_t q = static_cast<int64_t>(points.size()) / d;
  for (int64_t query = 0; query < q; ++query) {
    const double* point = points.data() + query * d;
    const Image image = make_image(point, centre, scale, d);
    std::vector<float> values(static_cast<size_t>(tiles), -INFINITY);
    for (int64_t i = 0; i < n; ++i) {
      const Image& row = images[static_cast<size_t>(i)];
      const float value =
          product(image.coordinates.data(), row.coordinates.data(), padded_features(d)) -
          half_norm(row.squared_norm, gamma);
      float& best = values[static_cast<size_t>(i / rows_per_tile)];
      best = std::max(best, value);
    }
    // What is not a number excludes nothing.
    if (query % 5 == 4) *std::max_element(values.begin(), values.end()) = NAN;
    const size_t c = static_cast<size_t>(query) % data.class_begin.size();
    const int64_t own_row = query % 3 == 0 ? query % n : -1;
    const Selection s{values.data(),
                      tile_errors.data(),
                      *std::max_element(tile_errors.begin(), tile_errors.end()),
                      n,
                      padded_features(d),
                      std::min(k, n),
                      rows_per_tile,
                      relation,
                      data.class_begin[c],
                      data.class_end[c],
                      own_row,
                      query_norm(image.squared_norm, gamma, padded_features(d)),
                      image.error,
                      scale};
    const int64_t slots = candidate_slots(s.k);
    std::vector<double> squared(static_cast<size_t>(slots));
    std::vector<uint32_t> rows(static_cast<size_t>(slots)), wanted_groups(rows), list(kListLength);
    std::vector<float> groups(static_cast<size_t>(slots));
    Control control{};
    // Mostly few groups, of many tiles each.
    const int64_t most_groups = query % 4 == 0 ? slots : 1 + query % 7;
    const Candidates candidates{squared.data(), rows.data(),          slots,
                                groups.data(),  wanted_groups.data(), most_groups,
                                list.data(),    &control};
    run_team(query % 2 == 0 ? 1 : 4, [&](const Team& team) {
      find_nearest(team, s, candidates, [&](int first, int count) {
        const double limit = control.limit, reach = control.reach;
        for (int i = first + team.rank(); i < first + count; i += team.size()) {
          const int tile = static_cast<int>(list[static_cast<size_t>(i)]);
          if (is_excluded(s.values[tile], s.norm, reach, s.tile_errors[tile])) continue;
          __atomic_fetch_add(&measured, 1, __ATOMIC_RELAXED);
          const int64_t end = std::min(n, (int64_t{tile} + 1) * rows_per_tile);
          for (int64_t row = int64_t{tile} * rows_per_tile; row < end; ++row) {
            if (!is_related(s, row) || row == own_row) continue;
            const double value = squared_distance(point, data.x.data() + row * d, d);
            if (value <= limit) add_candidate(team, s, candidates, value, row);
          }
        }
      });
    });
    possible += tiles;
    std::vector<std::pair<double, uint32_t>> expected;
    for (int64_t i = 0; i < n; ++i) {
      if (is_related(s, i) && i != own_row) {
        expected.emplace_back(squared_distance(point, data.x.data() + i * d, d),
                              static_cast<uint32_t>(i));
      }
    }
    std::sort(expected.begin(), expected.end());
    for (int64_t i = 0; i < s.k; ++i) {
      const size_t at = static_cast<size_t>(i);
      const bool exists = at < expected.size();
      require(rows[at] == (exists ? expected[at].second : kNoRow) &&
                  (!exists || squared[at] == expected[at].first),
              name + ": neighbour " + std::to_string(i) + " of query " + std::to_string(query));
    }
  }
  std::printf("%s: ok, %.1f %% of the tiles measured\n", name.c_str(),
              100.0 * static_cast<double>(measured) / static_cast<double>(possible));
}

using Maker = std::function<double(std::mt19937&, int64_t, int64_t)>;

void check_searches() {
  std::normal_distribution<double> normal;
  const auto spread = [&](std::mt19937& random, int64_t i, int64_t) {
    return normal(random) * std::pow(10.0, static_cast<double>(i % 17) - 8.0);
  };
  const std::vector<std::pair<std::string, Maker>> makers{
      {"normal", [&](std::mt19937& random, int64_t, int64_t) { return normal(random); }},
      {"shifted", [&](std::mt19937& random, int64_t, int64_t) { return normal(random) + 1e4; }},
      {"ties", [](std::mt19937& random, int64_t, int64_t) { return double(random() % 3) - 1.0; }},
      {"equal", [](std::mt19937&, int64_t, int64_t) { return 0.1; }},
      {"tiny", [&](std::mt19937& random, int64_t, int64_t) { return normal(random) * 1e-310; }},
      {"huge", [&](std::mt19937& random, int64_t, int64_t) { return normal(random) * 1e149; }},
      {"spread", spread},
      {"clusters",
       [&](std::mt19937& random, int64_t i, int64_t) {
         return static_cast<double>(i * 8 / 1000) * 50.0 + normal(random) * 1e-6;
       }},
  };
  for (const auto& [name, make] : makers) {
    for (const int64_t d : {3, 64}) {
      std::mt19937 random(3);
      Data data{1000, d, {}, {0, 0, 130, 700}, {0, 130, 700, 1000}};  // the first class is unknown
      double largest = 0.0;
      for (int64_t i = 0; i < data.n * d; ++i) {
        data.x.push_back(make(random, i / d, i % d));
        largest = std::max(largest, std::fabs(data.x.back()));
      }
      std::vector<double> points;  // rows, what lies between them, and one far away
      for (int64_t i = 0; i < 14 * d; ++i) {
        const int64_t query = i / d;
        const double value = data.x[static_cast<size_t>((query * 41 % data.n) * d + i % d)];
        points.push_back(query == 0 ? (largest < 1e100 ? 1e60 : 0.0)
                         : query < 12
                             ? value
                             : value * 1.001 + 0.002 * static_cast<double>(random() % 300));
      }
      for (const int64_t k : {1, 10, 700}) {
        for (const Relation relation : {Relation::any, Relation::enemy, Relation::friendly}) {
          check_search(name + ", d=" + std::to_string(d) + ", k=" + std::to_string(k) +
                           ", relation " + std::to_string(static_cast<int>(relation)),
                       data, points, k, relation, d == 3 ? 16 : 64, largest);
        }
      }
    }
  }
}

// More tiles at a time than the list holds: it is filled, measured and filled again.
void check_long_lists() {
  std::mt19937 random(5);
  Data data{70000, 3, {}, {0, 20000}, {20000, 70000}};
  for (int64_t i = 0; i < data.n * data.d; ++i) data.x.push_back(double(random() % 1000));
  const std::vector<double> points(data.x.begin() + 30, data.x.begin() + 42);
  const int64_t tiles = divide_up(data.n, 32);
  require(tiles > kFullList + kLooks * 4, "the list holds every tile");
  for (const Relation relation : {Relation::any, Relation::enemy}) {
    check_search("long lists", data, points, 3000, relation, 32, 1000.0);
  }
}

// What each share of the bound is for, alone: integers up to 256 are exact in bfloat16, other
// numbers are not, and only long sums of products are cut.
void check_margins() {
  std::mt19937 random(4);
  const auto fill = [&](std::vector<double>& values, int64_t count, bool exact) {
    for (int64_t i = 0; i < count; ++i) {
      const double whole = static_cast<double>(random() % 201);
      values.push_back(exact ? whole : whole + static_cast<double>(random() % 1000) / 1000.0);
    }
  };
  for (const bool exact_rows : {false, true}) {
    Data data{2000, 2, {}, {0}, {0}};
    std::vector<double> points;
    fill(data.x, data.n * data.d, exact_rows);
    fill(points, 300 * data.d, !exact_rows);
    const std::string name = exact_rows ? "rounded queries" : "rounded rows";
    for (const int64_t k : {1, 5}) check_search(name, data, points, k, Relation::any, 32, 201.0);
  }
  // Far from the centre, each query with two rows at one distance on both sides of it: products cut
  // differently must not hide the first.
  Data data{1000, 1600, {}, {0}, {0}};
  for (int64_t i = 0; i < data.n * data.d; ++i) {
    const double corner = i / data.d <= data.n / 2 ? 0.0 : 220.0;  // the centre is in the first
    data.x.push_back(corner + static_cast<double>(random() % 35));
  }
  std::vector<double> points;
  for (int64_t i = 0; i < 60 * data.d; ++i) {
    const double step = random() % 4 == 0 ? 1.0 : 0.0;
    points.push_back(220.0 + static_cast<double>(random() % 35));
    data.x[static_cast<size_t>(520 * data.d + i)] = points.back() + step;
    data.x[static_cast<size_t>(800 * data.d + i)] = points.back() - step;
  }
  check_search("rounded products", data, points, 1, Relation::any, 32, 255.0);
}

}  // namespace

int main() {
  check_nan();
  check_fragments();
  check_runs();
  check_margins();
  check_long_lists();
  check_searches();
}
