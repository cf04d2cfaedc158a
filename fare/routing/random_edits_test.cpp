// Random routers under random edits, against a second implementation: double precision, from scratch, no shortcuts,
// written from the interface description (docs/intervention.md) and not from route.cpp.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <sstream>

#include "fare/core/philox.h"
#include "fare/routing/receipt.h"
#include "fare/routing/route_testing.h"

namespace fare {
namespace {

using namespace testing;

constexpr double kOut = -std::numeric_limits<double>::infinity();

// Numbers in order, so that a failing seed can be repeated.
class Dice {
 public:
  explicit Dice(uint32_t seed) : stream_(seed, "test/random-edits") {}
  int64_t below(int64_t n) { return static_cast<int64_t>(stream_.index(next_++, static_cast<uint64_t>(n))); }
  double between(double low, double high) { return low + (high - low) * stream_.uniform(next_++); }
  bool coin() { return below(2) == 1; }
  std::vector<int32_t> experts(int64_t num_experts, int64_t num) {
    std::vector<int32_t> all(num_experts);
    for (int64_t e = 0; e < num_experts; ++e) all[e] = static_cast<int32_t>(e);
    for (int64_t i = 0; i < num; ++i) std::swap(all[i], all[i + below(num_experts - i)]);
    all.resize(num);
    return all;
  }

 private:
  RandomStream stream_;
  uint64_t next_ = 0;
};

struct Answer {
  std::vector<int32_t> order;
  std::map<int32_t, double> weight;
  double shared = 1;
  bool near_tie = false;
};

std::vector<double> softmax(const std::vector<double>& z) {
  double largest = kOut, sum = 0;
  for (const double value : z) largest = std::max(largest, value);
  std::vector<double> p;
  for (const double value : z) p.push_back(std::exp(value - largest));
  for (const double value : p) sum += value;
  for (double& value : p) value /= sum;
  return p;
}

double sum_of(const std::map<int32_t, double>& weight) {
  double sum = 0;
  for (const auto& [expert, value] : weight) sum += value;
  return sum;
}

// The route after the edits of logits and selection, without keep_sum.
Answer choose(const RouterSpec& spec, std::vector<double> z, const std::vector<const Edit*>& edits) {
  for (const Edit* edit : edits) {
    if (const auto* add = std::get_if<AddLogit>(&edit->op);
        add && add->affects == AddLogit::Affects::kSelectionAndWeight)
      for (size_t i = 0; i < add->experts.size(); ++i) z[add->experts[i]] += add->values[i];
    if (const auto* t = std::get_if<Temperature>(&edit->op))
      for (double& value : z) value /= t->value;
    if (const auto* mask = std::get_if<Mask>(&edit->op); mask && mask->mode == Mask::Mode::kRefill)
      for (const int32_t e : mask->experts) z[e] = kOut;
  }
  std::map<int32_t, int> forced;  // +1 on, -1 off
  for (const Edit* edit : edits) {
    if (const auto* on = std::get_if<Activate>(&edit->op))
      for (const int32_t e : on->experts) forced[e] = 1;
    if (const auto* off = std::get_if<Deactivate>(&edit->op))
      for (const int32_t e : off->experts) forced[e] = -1;
  }
  const std::vector<double> plain = softmax(z);
  double highest = kOut, lowest = -kOut;
  for (size_t e = 0; e < z.size(); ++e)
    if (z[e] != kOut) highest = std::max(highest, std::log(plain[e])), lowest = std::min(lowest, std::log(plain[e]));
  if (!forced.empty())
    for (size_t e = 0; e < z.size(); ++e) {
      if (z[e] == kOut) continue;
      z[e] = std::log(plain[e]);
      if (forced.contains(static_cast<int32_t>(e)))
        z[e] = forced[static_cast<int32_t>(e)] > 0 ? highest + 0.01 : lowest - 0.01;
    }
  const std::vector<double> p = softmax(z);
  std::vector<double> shifted = z;
  int64_t k = spec.top_k;
  double top_p = -1;
  for (const Edit* edit : edits) {
    if (const auto* add = std::get_if<AddLogit>(&edit->op); add && add->affects == AddLogit::Affects::kSelection)
      for (size_t i = 0; i < add->experts.size(); ++i) shifted[add->experts[i]] += add->values[i];
    if (const auto* size = std::get_if<SetTopK>(&edit->op)) k = size->k, top_p = -1;
    if (const auto* mass = std::get_if<TopP>(&edit->op)) top_p = mass->p;
  }
  std::vector<double> value = softmax(shifted);
  const std::vector<double> mass = value;
  if (!spec.selection_bias.empty())
    for (size_t e = 0; e < z.size(); ++e) value[e] += spec.selection_bias[e];

  Answer answer;
  std::vector<int32_t> candidates;
  for (size_t e = 0; e < z.size(); ++e)
    if (z[e] != kOut) candidates.push_back(static_cast<int32_t>(e));
  std::stable_sort(candidates.begin(), candidates.end(), [&](int32_t a, int32_t b) { return value[a] > value[b]; });
  double running = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const double gap = i == 0 ? 1 : value[candidates[i - 1]] - value[candidates[i]];
    // Equal by construction (both forced) is a tie both implementations settle by index; close by chance is not.
    if (gap != 0 && gap < 1e-6) answer.near_tie = true;
    const bool take = top_p < 0 ? static_cast<int64_t>(i) < k : i == 0 || running <= top_p;
    if (top_p >= 0 && std::abs(running - top_p) < 1e-5) answer.near_tie = true;
    if (!take) break;
    running += mass[candidates[i]];
    answer.order.push_back(candidates[i]);
  }
  double total = 0;
  for (const int32_t e : answer.order) total += p[e];
  for (const int32_t e : answer.order)
    answer.weight[e] = (spec.weight_mode == WeightMode::kRenormalised ? p[e] / total : p[e]) * spec.scaling_factor;
  return answer;
}

bool wants_sum_kept(const EditOp& op) {
  if (const auto* add = std::get_if<AddLogit>(&op)) return add->keep_sum;
  if (const auto* mask = std::get_if<Mask>(&op)) return mask->keep_sum;
  if (const auto* on = std::get_if<Activate>(&op)) return on->keep_sum;
  if (const auto* off = std::get_if<Deactivate>(&op)) return off->keep_sum;
  return false;
}

// 0 logits, 1 forcing, 2 selection, 3 weights.
int point(const EditOp& op) {
  if (const auto* add = std::get_if<AddLogit>(&op)) return add->affects == AddLogit::Affects::kSelection ? 2 : 0;
  if (const auto* mask = std::get_if<Mask>(&op)) return mask->mode == Mask::Mode::kRefill ? 0 : 3;
  const std::string name = op_name(op);
  if (name == "temperature") return 0;
  if (name == "activate" || name == "deactivate") return 1;
  if (name == "set_top_k" || name == "top_p") return 2;
  return 3;
}

Answer reference(const RouterSpec& spec, const std::vector<double>& z, const std::vector<const Edit*>& in_scope) {
  std::vector<const Edit*> early;
  for (int wanted = 0; wanted < 3; ++wanted)
    for (const Edit* edit : in_scope)
      if (point(edit->op) == wanted) early.push_back(edit);
  Answer answer = choose(spec, z, early);
  double factor = 1;
  for (size_t i = 0; i < early.size(); ++i) {
    if (!wants_sum_kept(early[i]->op)) continue;
    const Answer before = choose(spec, z, {early.begin(), early.begin() + static_cast<long>(i)});
    const Answer after = choose(spec, z, {early.begin(), early.begin() + static_cast<long>(i) + 1});
    answer.near_tie |= before.near_tie || after.near_tie;
    factor *= sum_of(before.weight) / sum_of(after.weight);
  }
  for (auto& [expert, weight] : answer.weight) weight *= factor;
  for (const Edit* edit : in_scope) {
    const double before = sum_of(answer.weight);
    bool keep = false;
    if (const auto* mask = std::get_if<Mask>(&edit->op); mask && mask->mode != Mask::Mode::kRefill) {
      for (const int32_t e : mask->experts) {
        answer.weight.erase(e);
        std::erase(answer.order, e);
      }
      keep = mask->mode == Mask::Mode::kRenormalize;
    }
    if (const auto* by_score = std::get_if<Reweight>(&edit->op)) {
      for (size_t i = 0; i < by_score->experts.size(); ++i)
        if (answer.weight.contains(by_score->experts[i]))
          answer.weight[by_score->experts[i]] *= std::exp(-by_score->lambda * by_score->scores[i]);
      keep = true;
    }
    if (const auto* scale = std::get_if<ScaleWeight>(&edit->op)) {
      for (const int32_t e : scale->experts)
        if (answer.weight.contains(e)) answer.weight[e] *= scale->factor;
      keep = scale->keep_sum;
    }
    if (const auto* shared = std::get_if<SharedScale>(&edit->op)) answer.shared *= shared->factor;
    if (keep && !answer.weight.empty()) {
      const double ratio = before / sum_of(answer.weight);
      for (auto& [expert, weight] : answer.weight) weight *= ratio;
    }
  }
  return answer;
}

Edit random_edit(Dice& dice, const RouterSpec& spec) {
  const int64_t num_experts = spec.num_experts;
  const bool keep_sum = dice.coin();
  const auto values = [&](size_t num) {
    std::vector<double> drawn;
    for (size_t i = 0; i < num; ++i) drawn.push_back(dice.between(-2, 2));
    return drawn;
  };
  const std::vector<int32_t> few = dice.experts(num_experts, 1 + dice.below(std::max<int64_t>(1, num_experts / 4)));
  switch (dice.below(12)) {
    case 0: return edit_of(AddLogit{few, values(few.size()), AddLogit::Affects::kSelectionAndWeight, keep_sum});
    case 1: return edit_of(AddLogit{few, values(few.size()), AddLogit::Affects::kSelection, keep_sum});
    case 2: return edit_of(Temperature{dice.between(0.5, 2)});
    case 3: return edit_of(Mask{few, Mask::Mode::kRefill, keep_sum});
    case 4: return edit_of(Mask{few, Mask::Mode::kRenormalize, false});
    case 5: return edit_of(Mask{few, Mask::Mode::kZero, false});
    // Forcing together with a correction bias has its own tests; here selection is by value.
    case 6: return spec.selection_bias.empty() ? edit_of(Activate{few, keep_sum}) : edit_of(Temperature{0.9});
    case 7: return spec.selection_bias.empty() ? edit_of(Deactivate{few, keep_sum}) : edit_of(Temperature{1.1});
    case 8: return edit_of(SetTopK{1 + dice.below(num_experts)});
    case 9: return edit_of(TopP{dice.between(0, 0.95)});
    case 10: return edit_of(Reweight{few, values(few.size()), dice.between(-2, 2)});
    default:
      return dice.coin() ? edit_of(ScaleWeight{few, dice.between(0.1, 4), keep_sum})
                         : edit_of(SharedScale{dice.between(0, 2)});
  }
}

TEST(RandomEdits, AgreeWithASecondImplementation) {
  int64_t compared = 0, skipped = 0;
  for (uint32_t seed = 0; seed < 600; ++seed) {
    Dice dice(seed);
    RouterSpec spec = spec_of(2 + dice.below(24), 1, dice.coin() ? WeightMode::kRaw : WeightMode::kRenormalised);
    spec.top_k = 1 + dice.below(std::max<int64_t>(1, spec.num_experts / 2));
    if (dice.below(4) == 0)
      for (int64_t e = 0; e < spec.num_experts; ++e)
        spec.selection_bias.push_back(static_cast<float>(dice.between(-0.2, 0.2)));
    if (dice.below(4) == 0) spec.scaling_factor = dice.between(0.5, 16);
    std::vector<Edit> edits;
    for (int64_t i = dice.below(5); i >= 0; --i) edits.push_back(random_edit(dice, spec));
    const int64_t num_rows = 1 + dice.below(12);
    at::Tensor logits = at::empty({num_rows, spec.num_experts});
    for (int64_t i = 0; i < logits.numel(); ++i)
      logits.mutable_data_ptr<float>()[i] = static_cast<float>(dice.between(-3, 3));
    std::vector<ScopedEdit> all = scoped(edits);
    for (ScopedEdit& one : all) {
      if (dice.coin()) continue;
      for (int64_t t = 0; t < num_rows; ++t) one.scope_T.push_back(dice.coin());
    }
    const Decision decision = route(logits, spec, all);
    const int64_t num_slots = decision.after.ids_TK.size(1);
    for (int64_t t = 0; t < num_rows; ++t) {
      std::ostringstream note;
      note << "seed " << seed << ", row " << t << ", edits:";
      std::vector<const Edit*> in_scope;
      for (const ScopedEdit& one : all)
        if (one.scope_T.empty() || one.scope_T[t]) {
          in_scope.push_back(one.edit);
          note << " " << op_name(one.edit->op);
        }
      std::vector<double> z;
      for (int64_t e = 0; e < spec.num_experts; ++e) z.push_back(logits[t][e].item<float>());
      const Answer answer = reference(spec, z, in_scope);
      if (answer.near_tie) {
        ++skipped;
        continue;
      }
      ++compared;
      std::vector<Slot> expected;
      double largest = 1e-3;
      for (const int32_t e : answer.order) {
        expected.push_back({e, answer.weight.at(e)});
        largest = std::max(largest, answer.weight.at(e));
      }
      ASSERT_LE(static_cast<int64_t>(expected.size()), num_slots) << note.str();
      expect_row(decision.after, t, expected, note.str(), 3e-6 * largest);
      const double shared = decision.shared_scale_T.defined() ? decision.shared_scale_T[t].item<float>() : 1;
      EXPECT_NEAR(shared, answer.shared, 1e-6) << note.str();
      if (HasFailure()) return;
    }
  }
  EXPECT_GT(compared, 2000);
  EXPECT_LT(skipped, compared / 10);
}

}  // namespace
}  // namespace fare
