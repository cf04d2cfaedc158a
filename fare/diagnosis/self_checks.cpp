#include "fare/diagnosis/self_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <set>

#include "fare/core/philox.h"
#include "fare/routing/near_tie.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/scoring/trace_recorder.h"
#include "fare/stats/distributions.h"
#include "fare/stats/self_check.h"

namespace fare {
namespace {

constexpr size_t kPairs = 12;
constexpr size_t kUtilityItems = 4;
constexpr size_t kChoices = 2;

// What two right computations of a token's log-probability in f32 may differ by, nats. Random models of 1 B parameters
// reach 1.7e-5 a token when other rows are multiplied together.
constexpr double kRoundingNats = 1e-4;

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();
constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// At most `count` indices of [0, size), spread evenly.
std::vector<size_t> spread(size_t size, size_t count) {
  std::vector<size_t> indices;
  for (size_t i = 0; i < std::min(size, count); ++i) indices.push_back(i * size / std::min(size, count));
  return indices;
}

// In prefix order, so that every run lays its rows out in the order of the requests.
std::vector<Request> chosen_requests(const Study& study, const Scorer& scorer) {
  std::vector<Request> requests;
  for (const size_t i : spread(study.pairs.size(), kPairs)) {
    requests.push_back(study.pairs[i].stereo);
    requests.push_back(study.pairs[i].anti);
  }
  for (const size_t i : spread(study.utility.size(), kUtilityItems)) {
    const auto& choices = study.utility[i].choices;
    requests.insert(requests.end(), choices.begin(),
                    choices.begin() + static_cast<int64_t>(std::min(choices.size(), kChoices)));
  }
  std::vector<FedRequest> fed;
  for (const Request& request : requests)
    fed.push_back(fed_part(request, scorer.max_length(), scorer.model().spec().vocab_size));
  std::vector<Sequence> sequences;
  for (const FedRequest& one : fed) sequences.push_back({one.ids, {}, 0});
  std::vector<Request> ordered;
  for (const int64_t i : prefix_order(sequences)) ordered.push_back(requests[static_cast<size_t>(i)]);
  return ordered;
}

// Largest difference of a token's log-probability; NaN when a value is not finite.
double largest_difference(const Score& a, const Score& b) {
  double largest = 0;
  for (size_t i = 0; i < a.token_logprobs_nats.size(); ++i) {
    const double x = a.token_logprobs_nats[i], y = b.token_logprobs_nats[i];
    if (!std::isfinite(x) || !std::isfinite(y)) return kUndefined;
    largest = std::max(largest, std::abs(x - y));
  }
  return largest;
}

double largest_difference(const std::vector<Score>& a, const std::vector<Score>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double one = largest_difference(a[i], b[i]);
    if (std::isnan(one)) return one;
    largest = std::max(largest, one);
  }
  return largest;
}

// Passed when `value` is defined and within `limit`.
SelfCheck check_of(const std::string& name, double value, double limit, const std::string& unit) {
  SelfCheck check{name, value <= limit, value, limit, unit};
  if (std::isnan(value)) check.reason = "a log-probability is not finite";
  else if (!check.passed) check.reason = fmt::format("{:.3g} {} is more than {:.3g}", value, unit, limit);
  return check;
}

// Two values at hand are one bit pattern only if their difference is 0; the reverse fails for 0 and -0 alone, which no
// log-probability of interest is.
SelfCheck same_bits(const std::string& name, double value) { return check_of(name, value, 0, "nats"); }

// A random edit of one layer: a normal draw for every expert's logit.
Intervention random_edit(const RoutedModel& model, int64_t layer, uint64_t seed) {
  AddLogit add;
  const RandomStream stream(seed, "self-check/edit", static_cast<uint32_t>(layer));
  for (int64_t e = 0; e < model.router.num_experts; ++e) {
    add.experts.push_back(static_cast<int32_t>(e));
    add.values.push_back(stats::normal_draw(stream, static_cast<uint64_t>(e)));
  }
  Intervention intervention;
  intervention.name = "self-check";
  intervention.edits.push_back({add, {layer}, {}});
  return intervention;
}

class Checker {
 public:
  Checker(Measurer& measurer, uint64_t seed)
      : measurer_(measurer),
        scorer_(measurer.scorer()),
        model_(measurer.model()),
        seed_(seed),
        requests_(chosen_requests(measurer.study(), scorer_)),
        quiet_{nullptr, nullptr, measurer.progress().cancelled},
        f32_(scorer_.model().execution().dtype == at::kFloat) {}

  std::vector<SelfCheck> run() {
    std::vector<SelfCheck> checks;
    own_route_ = record(scorer_, together_);
    checks.push_back(replay());
    checks.push_back(null_patch());
    checks.push_back(cached_suffix());
    batches(checks);
    checks.push_back(same_bits("bit-equal repeat", largest_difference(together_, scores(scorer_))));
    checks.push_back(whole_distribution());
    if (!f32_) against_f32(checks);
    return checks;
  }

 private:
  std::vector<Score> scores(const Scorer& scorer) const { return scorer.run(requests_, {}, {}, quiet_).base.scores; }

  RunResult edited(const Scorer& scorer, const Intervention& intervention) const {
    const Intervention* one = &intervention;
    return scorer.run(requests_, {&one, 1}, {}, quiet_).edited.front();
  }

  // A scorer that gives every request its own rows.
  Scorer unshared() const {
    ScorerOptions options = scorer_.options();
    options.share_prefixes = false;
    return Scorer(scorer_.model(), options);
  }

  // A base run of `scorer`: its scores, the requests that stand at a near-tie, and its routes as an intervention.
  Intervention record(const Scorer& scorer, std::vector<Score>& base) {
    auto table =
        std::make_shared<RouteTable>(trace_rows(requests_, scorer_.max_length(), scorer_.model().spec().vocab_size));
    const TraceSink keep = keep_in_memory(*table, model_.moe_layers, model_.router.top_k);
    std::vector<int64_t> request_of;
    for (size_t i = 0; i < requests_.size(); ++i)
      request_of.resize(static_cast<size_t>(table->offsets[i + 1]), static_cast<int64_t>(i));
    TraceRecorder recorder(*table, -1,
                           [&](int64_t layer, std::span<const int64_t> to_row, std::span<const int64_t> from_row,
                               const float* logits, const int32_t* ids, const float* weights, int64_t slots) {
                             keep(layer, to_row, from_row, logits, ids, weights, slots);
                             const int64_t num_experts = model_.router.num_experts;
                             const int64_t rows = *std::max_element(from_row.begin(), from_row.end()) + 1;
                             const std::vector<double> gaps = selection_gaps(
                                 at::from_blob(const_cast<float*>(logits), {rows, num_experts}, at::kFloat),
                                 scorer_.model().router(layer));
                             for (size_t i = 0; i < to_row.size(); ++i)
                               if (gaps[static_cast<size_t>(from_row[i])] <= kRoutingNearTie)
                                 near_tie_.insert(request_of[static_cast<size_t>(to_row[i])]);
                           });
    base = scorer.run(requests_, {}, recorder.observer(), quiet_).base.scores;
    ForceRoutes force;
    force.table = table;
    Intervention own;
    own.name = "self-check";
    own.edits.push_back({force, {}, {}});
    return own;
  }

  SelfCheck replay() const {
    const RunResult run = edited(scorer_, own_route_);
    SelfCheck check =
        check_of("replay identity", largest_difference(together_, run.scores), f32_ ? kRoundingNats : 2e-2, "nats");
    for (const int64_t layer : model_.moe_layers) {
      const auto found = run.receipt.layers.find(layer);
      const int64_t replayed = found == run.receipt.layers.end() ? 0 : found->second.tokens_in_scope;
      if (replayed == run.receipt.tokens) continue;
      check.passed = false;
      check.reason = fmt::format("layer {}: {} of {} tokens were replayed", layer, replayed, run.receipt.tokens);
    }
    return check;
  }

  SelfCheck null_patch() {
    Intervention zero;
    zero.name = "self-check";
    AddLogit add;
    for (int64_t e = 0; e < model_.router.num_experts; ++e) add.experts.push_back(static_cast<int32_t>(e));
    add.values.assign(add.experts.size(), 0.0);
    zero.edits.push_back({add, {}, {}});
    // Forced routes are never shared between requests, so the base gets own rows too, and its own routes: the last bits
    // of router logits may depend on how many rows are multiplied together.
    const Scorer own_rows = unshared();
    std::vector<Score> base;
    const Intervention own = record(own_rows, base);
    const double forced = largest_difference(base, edited(own_rows, own).scores);
    const double added = largest_difference(together_, edited(scorer_, zero).scores);
    return same_bits("null patch", std::isnan(forced) || std::isnan(added) ? kUndefined : std::max(forced, added));
  }

  SelfCheck cached_suffix() const {
    ScorerOptions options = scorer_.options();
    options.resume = true;
    const Scorer resumed(scorer_.model(), options);
    options.resume = false;
    const Scorer whole(scorer_.model(), options);
    const auto& layers = model_.moe_layers;
    double largest = 0;
    for (const int64_t layer : std::set<int64_t>{layers[layers.size() / 2], layers.back()}) {
      const Intervention edit = random_edit(model_, layer, seed_);
      const double one = largest_difference(edited(resumed, edit).scores, edited(whole, edit).scores);
      largest = std::isnan(one) || std::isnan(largest) ? kUndefined : std::max(largest, one);
    }
    return check_of("cached suffix", largest, 1e-6, "nats");
  }

  // After the contexts of two requests: every token of the vocabulary scored as any continuation is.
  SelfCheck whole_distribution() const {
    double largest = 0;
    for (const Request& request : {requests_.front(), requests_.back()}) {
      std::vector<Request> every(static_cast<size_t>(scorer_.model().spec().vocab_size), {.context = request.context});
      for (size_t v = 0; v < every.size(); ++v) every[v].continuation = {static_cast<int32_t>(v)};
      double sum = 0;
      for (const Score& score : scorer_.run(every, {}, {}, quiet_).base.scores) sum += std::exp(score.logprob_nats);
      const double one = std::abs(sum - 1);
      largest = std::isnan(one) || std::isnan(largest) ? kUndefined : std::max(largest, one);
    }
    return check_of("sum of softmax", largest, f32_ ? 1e-4 : 2e-2, "probability");
  }

  void batches(std::vector<SelfCheck>& checks) const {
    double largest = 0, limit = kRoundingNats;  // of the request that is nearest to its limit, or furthest above
    size_t compared = 0;
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (f32_ && near_tie_.contains(static_cast<int64_t>(i))) continue;
      const auto alone = scorer_.run({&requests_[i], 1}, {}, {}, quiet_).base.scores;
      const double one = std::abs(alone[0].logprob_nats - together_[i].logprob_nats);
      const double allowed = kRoundingNats * static_cast<double>(alone[0].token_logprobs_nats.size());
      ++compared;
      if (!std::isfinite(one) || std::isnan(largest)) largest = kUndefined;
      else if (f32_ ? one / allowed >= largest / limit : one >= largest) largest = one, limit = allowed;
    }
    SelfCheck invariance = check_of("batch invariance", largest, f32_ ? limit : kNoLimit, "nats");
    if (!f32_) invariance.reason = "a noise floor: bf16 has no bound";
    if (compared == 0) {
      invariance.value = kUndefined;
      invariance.passed = invariance.required = false;
      invariance.reason = "every request has a near-tie, so none can be compared";
    }
    checks.push_back(invariance);
    SelfCheck ties =
        check_of("near-ties", static_cast<double>(near_tie_.size()) / static_cast<double>(requests_.size()), 0.01,
                 "share of requests");
    ties.required = false;
    checks.push_back(ties);
  }

  void against_f32(std::vector<SelfCheck>& checks) const {
    const Model& model = scorer_.model();
    Execution execution = model.execution();
    execution.dtype = at::kFloat;
    const auto precise = Model::open(model.checkpoint().folder(), execution);
    RouteTable table = trace_rows(requests_, scorer_.max_length(), model.spec().vocab_size);
    TraceRecorder recorder(table, -1, keep_in_memory(table, model_.moe_layers, model_.router.top_k));
    const std::vector<Score> scores =
        Scorer(*precise, scorer_.options()).run(requests_, {}, recorder.observer(), quiet_).base.scores;

    int64_t routed = 0, different = 0;
    const RouteTable& own = *std::get<ForceRoutes>(own_route_.edits.front().op).table;
    for (const auto& [layer, theirs] : table.layers) {
      const RouteTable::Layer& ours = own.layers.at(layer);
      for (size_t begin = 0; begin < ours.ids.size(); begin += static_cast<size_t>(ours.k)) {
        const auto set_of = [&](const RouteTable::Layer& routes) {
          return std::set<int32_t>(routes.ids.begin() + static_cast<int64_t>(begin),
                                   routes.ids.begin() + static_cast<int64_t>(begin) + routes.k);
        };
        ++routed;
        different += set_of(ours) != set_of(theirs) ? 1 : 0;
      }
    }
    const auto measured = [&](const std::string& name, double value, const std::string& unit) {
      SelfCheck check = check_of(name, value, kNoLimit, unit);
      check.required = false;
      if (check.passed) check.reason = "a noise floor: bf16 has no bound";
      checks.push_back(check);
    };
    measured("f32 top-k", static_cast<double>(different) / static_cast<double>(routed), "share of routed tokens");
    measured("f32 scores", largest_difference(together_, scores), "nats");
  }

  Measurer& measurer_;
  const Scorer& scorer_;
  const RoutedModel& model_;
  uint64_t seed_;
  std::vector<Request> requests_;
  Progress quiet_;
  bool f32_;
  std::vector<Score> together_;
  std::set<int64_t> near_tie_;  // requests
  Intervention own_route_;
};

SelfCheck statistics(int num_threads) {
  stats::SelfCheckOptions options;
  options.num_threads = num_threads;
  std::string failed;
  int64_t count = 0;
  for (const stats::SelfCheck& one : stats::run_self_checks(options)) {
    if (one.passed) continue;
    ++count;
    failed += (failed.empty() ? "" : "; ") +
              fmt::format("{}: {:.4g} where {:.4g} is right", one.name, one.value, one.expected);
  }
  SelfCheck check = check_of("statistics", static_cast<double>(count), 0, "failed checks");
  check.reason = failed;
  return check;
}

}  // namespace

std::vector<SelfCheck> run_self_checks(Measurer& measurer, const DiagnosisOptions& options) {
  std::vector<SelfCheck> checks = Checker(measurer, options.seed).run();
  checks.push_back(statistics(options.num_threads));
  return checks;
}

bool all_required_passed(std::span<const SelfCheck> checks) {
  return std::all_of(checks.begin(), checks.end(), [](const SelfCheck& c) { return c.passed || !c.required; });
}

OrderedJson self_checks_json(std::span<const SelfCheck> checks) {
  OrderedJson list = OrderedJson::array();
  for (const SelfCheck& check : checks) {
    OrderedJson row;
    row["name"] = check.name;
    row["passed"] = check.passed;
    for (const auto& [name, value] : {std::pair{"value", check.value}, std::pair{"limit", check.limit}}) {
      if (std::isfinite(value)) {
        row[name] = value;
      } else {
        row[name] = nullptr;
        row[std::string(name) + "_reason"] = check.reason.empty() ? "undefined here" : check.reason;
      }
    }
    row["unit"] = check.unit;
    row["required"] = check.required;
    list.push_back(std::move(row));
  }
  return list;
}

}  // namespace fare
