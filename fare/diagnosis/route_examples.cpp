#include "fare/diagnosis/route_examples.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "fare/diagnosis/null_fields.h"

namespace fare {
namespace {

constexpr size_t kLowered = 3, kRaised = 1, kMostLayers = 4;
constexpr int64_t kBefore = 4, kMostTokens = 32;  // fed tokens before the change, and in all

struct Used {
  std::vector<int32_t> experts;
  std::vector<double> weights;
};

Used used_at(const Route& route, int64_t row) {
  const int64_t k = route.ids_TK.size(1);
  const int32_t* ids = route.ids_TK.const_data_ptr<int32_t>() + row * k;
  const float* weights = route.weights_TK.const_data_ptr<float>() + row * k;
  std::vector<int64_t> order;
  for (int64_t slot = 0; slot < k; ++slot)
    if (ids[slot] >= 0) order.push_back(slot);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return weights[a] > weights[b]; });
  Used used;
  for (const int64_t slot : order) {
    used.experts.push_back(ids[slot]);
    used.weights.push_back(weights[slot]);
  }
  return used;
}

double moved_between(const Used& a, const Used& b) {
  std::map<int32_t, double> difference;
  for (const auto& [used, sign] : {std::pair{&a, 1.0}, std::pair{&b, -1.0}}) {
    const double sum = std::accumulate(used->weights.begin(), used->weights.end(), 0.0);
    for (size_t i = 0; sum > 0 && i < used->experts.size(); ++i)
      difference[used->experts[i]] += sign * used->weights[i] / sum;
  }
  double moved = 0;
  for (const auto& [expert, one] : difference) moved += std::abs(one) / 2;
  return moved;
}

std::vector<RouteExample> chosen_pairs(const Study& study, const TestOutcomes& test, const Outcomes& edited,
                                       const std::vector<int>& signs) {
  struct Change {
    int64_t pair = 0;
    double lowered = 0;
  };
  std::vector<Change> changes;
  for (const int64_t i : test.pairs) {
    const size_t at = static_cast<size_t>(i);
    changes.push_back(
        {i, signs[static_cast<size_t>(study.axis_of[at])] * (test.base.pairs[at].sum - edited.pairs[at].sum)});
  }
  std::stable_sort(changes.begin(), changes.end(),
                   [](const Change& a, const Change& b) { return a.lowered > b.lowered; });
  std::vector<RouteExample> examples;
  const auto add = [&](const Change& change, const char* choice) {
    const size_t at = static_cast<size_t>(change.pair);
    examples.push_back({change.pair, choice, test.base.pairs[at].sum, edited.pairs[at].sum});
  };
  for (size_t i = 0; i < std::min(kLowered, changes.size()) && changes[i].lowered > 0; ++i)
    add(changes[i], "lowered most");
  for (size_t i = 0; i < std::min(kRaised, changes.size()) && changes[changes.size() - 1 - i].lowered < 0; ++i)
    add(changes[changes.size() - 1 - i], "raised most");
  return examples;
}

}  // namespace

RouteExamples route_examples(Measurer& measurer, const SearchCandidate& candidate, const TestOutcomes& test,
                             const Outcomes& edited, const std::vector<int>& signs) {
  const Study& study = measurer.study();
  RouteExamples examples;
  examples.candidate = candidate.name;
  examples.pairs = chosen_pairs(study, test, edited, signs);
  if (examples.pairs.empty()) {
    examples.reason = "the candidate changes the margin of no test pair";
    return examples;
  }
  std::vector<Request> requests;
  for (const RouteExample& example : examples.pairs) {
    const EncodedPair& pair = study.pairs[static_cast<size_t>(example.pair)];
    requests.push_back(pair.stereo);
    requests.push_back(pair.anti);
  }
  // Whole runs: a resumed one would not show the layers that it takes over.
  ScorerOptions options = measurer.scorer().options();
  options.resume = false;
  const Scorer whole(measurer.scorer().model(), options);
  std::vector<FedRequest> fed;
  for (const Request& request : requests)
    fed.push_back(fed_part(request, whole.max_length(), measurer.scorer().model().spec().vocab_size));
  // routes[with edits][request][layer][position]
  std::vector<std::map<int64_t, std::vector<Used>>> routes[2];
  for (auto& one : routes) one.resize(requests.size());
  const UnitRun* now = nullptr;
  UnitRun current;
  UnitObserver observer;
  observer.begin = [&](const UnitRun& run) {
    current = run;
    now = &current;
  };
  observer.on_decision = [&](int64_t layer, const at::Tensor&, const Decision& decision) {
    for (size_t i = 0; i < now->requests.size(); ++i) {
      std::vector<Used>& of_text = routes[now->intervention >= 0][static_cast<size_t>(now->requests[i])][layer];
      of_text.clear();
      for (const int32_t row : now->packed->rows[i]) of_text.push_back(used_at(decision.after, row));
    }
  };
  const Intervention* edits = &candidate.intervention;
  const ScorerResult result =
      whole.run(requests, {&edits, 1}, observer, Progress{nullptr, nullptr, measurer.progress().cancelled});
  measurer.count_rows(result.rows_computed);

  std::map<int64_t, double> moved_of_layer;
  for (size_t r = 0; r < requests.size(); ++r) {
    const PairAlignment& alignment = study.pairs[static_cast<size_t>(examples.pairs[r / 2].pair)].alignment;
    const std::vector<int32_t>& differs = r % 2 == 0 ? alignment.differs_stereo : alignment.differs_anti;
    const int64_t first = differs.empty() ? 0 : std::max<int64_t>(0, differs.front() - kBefore);
    const int64_t end = std::min<int64_t>(static_cast<int64_t>(fed[r].ids.size()), first + kMostTokens);
    for (int64_t position = first; position < end; ++position)
      for (const auto& [layer, base] : routes[0][r]) {
        const Used &before = base[static_cast<size_t>(position)],
                   &after = routes[1][r].at(layer)[static_cast<size_t>(position)];
        RouteStep step;
        step.pair = r / 2;
        step.stereo = r % 2 == 0;
        step.position = position;
        step.token = fed[r].ids[static_cast<size_t>(position)];
        step.differs = std::find(differs.begin(), differs.end(), position) != differs.end();
        step.layer = layer;
        step.base_experts = before.experts;
        step.base_weights = before.weights;
        step.edited_experts = after.experts;
        step.edited_weights = after.weights;
        step.moved = moved_between(before, after);
        moved_of_layer[layer] += step.moved;
        examples.steps.push_back(std::move(step));
      }
  }
  std::vector<std::pair<double, int64_t>> most;
  for (const auto& [layer, moved] : moved_of_layer) most.push_back({-moved, layer});
  std::sort(most.begin(), most.end());
  for (size_t i = 0; i < std::min(kMostLayers, most.size()); ++i) examples.layers.push_back(most[i].second);
  std::sort(examples.layers.begin(), examples.layers.end());
  std::erase_if(examples.steps, [&](const RouteStep& step) {
    return std::find(examples.layers.begin(), examples.layers.end(), step.layer) == examples.layers.end();
  });
  return examples;
}

void put_route_examples(OrderedJson& report, const RouteExamples& examples, const Study& study,
                        const std::function<std::string(int32_t)>& spelling) {
  if (!examples.reason.empty()) return put_null(report, "route_examples", examples.reason);
  OrderedJson json;
  json["candidate"] = examples.candidate;
  json["layers"] = examples.layers;
  json["pairs"] = OrderedJson::array();
  for (const RouteExample& example : examples.pairs) {
    const StudyPair& pair = study.pairs[static_cast<size_t>(example.pair)].pair;
    json["pairs"].push_back({{"pair", pair.id},
                             {"axis", pair.axis},
                             {"choice", example.choice},
                             {"context", pair.context},
                             {"stereo", pair.stereo},
                             {"anti", pair.anti},
                             {"base_nats", example.base_nats},
                             {"edited_nats", example.edited_nats}});
  }
  json["steps"] = OrderedJson::array();
  for (const RouteStep& step : examples.steps) {
    const EncodedPair& pair = study.pairs[static_cast<size_t>(examples.pairs[step.pair].pair)];
    json["steps"].push_back({{"pair", pair.pair.id},
                             {"side", step.stereo ? "stereo" : "anti"},
                             {"position", step.position},
                             {"token", spelling ? spelling(step.token) : "#" + std::to_string(step.token)},
                             {"differs", step.differs},
                             {"layer", step.layer},
                             {"base_experts", step.base_experts},
                             {"base_weights", step.base_weights},
                             {"edited_experts", step.edited_experts},
                             {"edited_weights", step.edited_weights},
                             {"moved", step.moved}});
  }
  report["route_examples"] = std::move(json);
}

}  // namespace fare
