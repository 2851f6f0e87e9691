#include "cpu/query_block.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "cpu/integers.h"
#include "cpu/joint_estimates.h"
#include "cpu/visits.h"

namespace expansive {
namespace {

constexpr int64_t kGroupBytes = 128 << 10;  // of panels: they stay in a second-level cache
constexpr float kNever = std::numeric_limits<float>::infinity();  // no value reaches it

int64_t list_storage(const SearchPlan& plan) {
  return longest_list(plan.k, plan.estimates_jointly()) + plan.database.kernels->panel_columns +
         kSpareCandidates;
}

}  // namespace

int64_t QueryBlock::bytes_per_query(const SearchPlan& plan) {
  const int64_t reach_of_tile = (kMostTileQueries * (kBoxDims + 1) + 2 * kBoxDims) * 4;
  const int64_t reach = divide_up(reach_of_tile, plan.database.kernels->tile_queries);
  // While a list is screened again, the kept candidates lie beside the whole list.
  const int64_t kept =
      kept_length(plan.database, plan.k) + (plan.database.bytes ? list_storage(plan) : 0);
  return (list_storage(plan) + kept) * 8 +
         joint_estimate_bytes(plan, std::max(list_storage(plan), kept)) +
         std::min(plan.k, plan.database.rows.n) * 16 + plan.database.images.words() * 4 + reach +
         static_cast<int64_t>(sizeof(Nearest) + sizeof(CandidateList) + sizeof(int64_t) +
                              sizeof(float));
}

QueryBlock::QueryBlock(const SearchPlan& plan, const QueryImages& batch, int64_t first, int64_t end)
    : plan_(plan),
      batch_(batch),
      kernels_(*plan.database.kernels),
      first_(first),
      end_(end),
      tiles_(divide_up(end - first, kernels_.tile_queries)),
      images_(tiles_ * kernels_.tile_queries * plan.database.images.words()),
      thresholds_(static_cast<size_t>(tiles_ * kernels_.tile_queries), kNever),
      list_values_(static_cast<size_t>(size() * list_storage(plan))),
      list_columns_(list_values_.size()),
      lists_(thresholds_.size()),
      seated_(static_cast<size_t>(size())),
      reach_(kernels_, plan.database.box_dims(), tiles_) {
  std::fill_n(images_.data(), tiles_ * kernels_.tile_queries * plan.database.images.words(), 0u);
  nearest_.reserve(static_cast<size_t>(size()));
  for (int64_t i = 0; i < size(); ++i) {
    admit(i);
    seat(i, i);
  }
}

void QueryBlock::admit(int64_t i) {
  const int64_t place = first_ + i;
  nearest_.emplace_back(plan_, query(i));
  nearest_.back().place(batch_.image(place), batch_.byte_image(place), batch_.byte_error(place));
  CandidateList& list = lists_[static_cast<size_t>(i)];
  list.values = list_values_.data() + i * list_storage(plan_);
  list.columns = list_columns_.data() + i * list_storage(plan_);
  list.full = first_list_length(plan_.database, plan_.k);
}

void QueryBlock::seat(int64_t i, int64_t seat) {
  const ImageMaker& maker = plan_.database.images;
  const int64_t width = kernels_.tile_queries;
  std::array<float, kBoxDims> point{};
  seated_[static_cast<size_t>(seat)] = i;
  const uint32_t* words = batch_.words(first_ + i);
  uint32_t* out = images_.data() + seat / width * width * maker.words() + seat % width;
  for (int64_t j = 0; j < maker.words(); ++j)
    out[j * width] = query_word(kernels_.elements, words[j]);
  maker.lead(words, plan_.database.box_dims(), point.data());
  reach_.place(seat / width, seat % width, point.data());
}

void QueryBlock::set_threshold(int64_t seat, float threshold) {
  thresholds_[static_cast<size_t>(seat)] = threshold;
  if (!plan_.database.images.rotates()) return;  // nothing has a box
  reach_.set(seat / kernels_.tile_queries, seat % kernels_.tile_queries,
             threshold == kNever ? -1.0f : seated(seat).squared_reach());
}

void QueryBlock::visit(const Panels& panels, const float* negated_half_norms, int64_t first_panel,
                       int64_t end_panel, const Image& worst, Interrupt& interrupt, int worker) {
  negated_half_norms_ = negated_half_norms;
  for (int64_t i = 0; i < size(); ++i) set_threshold(i, seated(i).begin(panels, worst));
  const Range visited{first_panel, end_panel};
  std::vector<Related> related;
  for (int64_t tile = 0; tile < tiles_; ++tile) {
    related.emplace_back(related_panels(tile, panels, visited));
    if (!panels.has_boxes()) continue;
    interrupt.check(worker);
    screen_nearest(tile, panels, related.back());
  }
  screen_all(panels, visited, related, interrupt, worker);
  screen_again(settle(interrupt, worker), panels, visited, interrupt, worker);
}

// For queries whose guesses went too far: they are few, and sit in the first tiles meanwhile.
void QueryBlock::screen_again(const std::vector<int64_t>& queries, const Panels& panels,
                              Range visited, Interrupt& interrupt, int worker) {
  if (queries.empty()) return;
  const auto count = static_cast<int64_t>(queries.size());
  for (int64_t i = 0; i < count; ++i) {
    seat(queries[static_cast<size_t>(i)], i);
    set_threshold(i, seated(i).begin_again());
  }
  std::vector<Related> related;
  for (int64_t tile = 0; tile < divide_up(count, kernels_.tile_queries); ++tile) {
    related.emplace_back(related_panels(tile, panels, visited));
  }
  screen_all(panels, visited, related, interrupt, worker);
  settle(interrupt, worker);
  for (int64_t i = 0; i < count; ++i) seat(i, i);
}

// Screens the nearest cluster of panels, takes it out of the runs and tightens the thresholds.
void QueryBlock::screen_nearest(int64_t tile, const Panels& panels, Related& related) {
  const Range cluster = reach_.nearest_cluster(tile, panels, related.runs);
  Runs left;
  for (const Range& run : related.runs) {
    const Range inside{std::max(run.begin, cluster.begin), std::min(run.end, cluster.end)};
    if (inside.begin >= inside.end) {
      left.push_back(run);
      continue;
    }
    screen(tile, panels, inside, related);
    left.push_back({run.begin, inside.begin});
    left.push_back({inside.end, run.end});
  }
  for (int64_t i = tile * kernels_.tile_queries; i < tile_end(tile); ++i) make_room(i, 0.0);
  related = Related(std::move(left));
}

void QueryBlock::screen_all(const Panels& panels, Range visited, std::vector<Related>& related,
                            Interrupt& interrupt, int worker) {
  const int64_t panel_bytes = kernels_.panel_columns * plan_.database.images.words() * 4;
  const int64_t group = std::max<int64_t>(1, kGroupBytes / panel_bytes);
  const bool in_order = panels.has_boxes();  // as reach_ has it
  for (Related& mine : related) mine.seen = 0;
  for (const Range& some : visits(visited, group, in_order)) {
    for (size_t tile = 0; tile < related.size(); ++tile) {
      interrupt.check(worker);
      screen_related(static_cast<int64_t>(tile), panels, some, related[tile]);
    }
  }
}

void QueryBlock::screen_related(int64_t tile, const Panels& panels, Range some, Related& related) {
  for (const Range& run : related.runs) {
    const Range part{std::max(some.begin, run.begin), std::min(some.end, run.end)};
    if (part.begin >= part.end) continue;
    if (panels.has_boxes()) {
      reach_.visit(tile, panels, part, [&](Range near) { screen(tile, panels, near, related); });
    } else {
      screen(tile, panels, part, related);
    }
    related.seen += part.end - part.begin;
  }
}

// Finishes every query that is active, and says which must be screened again.
std::vector<int64_t> QueryBlock::settle(Interrupt& interrupt, int worker) {
  std::vector<int64_t> settled, again;
  std::vector<ToEstimate> left;
  for (int64_t i = 0; i < size(); ++i) {
    interrupt.check(worker);
    if (!is_active(i)) continue;
    CandidateList undecided = seated(i).take_undecided(lists_[static_cast<size_t>(i)]);
    if (seated(i).measure_some(undecided)) left.push_back({&seated(i), undecided});
    settled.push_back(i);
  }
  make_estimates(plan_, left, interrupt, worker);
  for (ToEstimate& one : left) {
    interrupt.check(worker);
    one.nearest->measure_estimated(one.candidates);
  }
  for (const int64_t i : settled) {
    set_threshold(i, kNever);
    if (seated(i).has_guessed_too_much()) again.push_back(seated_[static_cast<size_t>(i)]);
  }
  return again;
}

bool QueryBlock::is_active(int64_t seat) const {
  return thresholds_[static_cast<size_t>(seat)] != kNever;
}

int64_t QueryBlock::tile_end(int64_t tile) const {
  return std::min(size(), (tile + 1) * kernels_.tile_queries);
}

QueryBlock::Related::Related(Runs panels) : runs(std::move(panels)) {
  for (const Range& run : runs) count += run.end - run.begin;
}

double QueryBlock::Related::share_seen(int64_t more) const {
  return static_cast<double>(seen + more) / static_cast<double>(count);
}

QueryBlock::Runs QueryBlock::related_panels(int64_t tile, const Panels& panels,
                                            Range visited) const {
  if (plan_.relation == Relation::any) return {visited};
  // Queries are in class order, so the classes of a tile are a contiguous stretch of positions, or
  // lie in one if queries are screened again; a query without a class in the database (code -1)
  // adds nothing to it.
  Range classes{std::numeric_limits<int64_t>::max(), 0};
  std::vector<Range> each;
  for (int64_t i = tile * kernels_.tile_queries; i < tile_end(tile); ++i) {
    if (!is_active(i)) continue;
    const Range own = own_class(seated_[static_cast<size_t>(i)]);
    each.push_back(own);
    if (own.begin == own.end) continue;
    classes = {std::min(classes.begin, own.begin), std::max(classes.end, own.end)};
  }
  const bool one_class = std::all_of(each.begin(), each.end(), [&](const Range& own) {
    return own.begin == each.front().begin && own.end == each.front().end;
  });
  const int64_t width = kernels_.panel_columns;
  const auto clip = [&](int64_t panel) { return std::clamp(panel, visited.begin, visited.end); };
  if (plan_.relation == Relation::friendly) {
    if (classes.begin >= classes.end) return {};
    return {{clip((std::max(classes.begin, panels.first()) - panels.first()) / width),
             clip(divide_up(std::max(classes.end - panels.first(), int64_t{0}), width))}};
  }
  if (!one_class || classes.begin >= classes.end) return {visited};
  const int64_t before =
      clip(divide_up(std::max(classes.begin - panels.first(), int64_t{0}), width));
  const int64_t after = clip(std::max(classes.end - panels.first(), int64_t{0}) / width);
  if (after <= before) return {visited};
  return {{visited.begin, before}, {after, visited.end}};
}

void QueryBlock::screen(int64_t tile, const Panels& panels, Range run, const Related& related) {
  const int64_t words = plan_.database.images.words(), width = kernels_.tile_queries;
  ScreenTask task;
  task.queries = images_.data() + tile * width * words;
  task.thresholds = thresholds_.data() + tile * width;
  task.lists = lists_.data() + tile * width;
  task.panels = panels.data();
  task.negated_half_norms = negated_half_norms_;
  task.words = words;
  task.end_panel = run.end;
  task.column_offset = static_cast<uint32_t>(panels.first());
  for (task.first_panel = run.begin; task.first_panel < run.end;) {
    task.first_panel = kernels_.screen(task);
    for (int64_t i = tile * width; i < tile_end(tile); ++i) {
      const CandidateList& list = lists_[static_cast<size_t>(i)];
      if (list.count >= list.full) make_room(i, related.share_seen(task.first_panel - run.begin));
    }
  }
}

void QueryBlock::make_room(int64_t seat, double seen) {
  set_threshold(seat, seated(seat).make_room(lists_[static_cast<size_t>(seat)], seen));
}

void QueryBlock::merge(const QueryBlock& other) {
  for (size_t i = 0; i < nearest_.size(); ++i) nearest_[i].merge(other.nearest_[i]);
}

}  // namespace expansive
