#include "fare/diagnosis/pair_routes.h"

#include <map>

namespace fare {
namespace {

constexpr int64_t kBatchTokens = 8192;  // fed tokens whose logits are held at once

}  // namespace

void for_each_pair_routes(Measurer& measurer, std::span<const EncodedPair* const> pairs,
                          const std::function<void(const PairRoutes&)>& use) {
  const int64_t num_experts = measurer.model().router.num_experts;
  for (size_t begin = 0; begin < pairs.size();) {
    std::vector<Request> requests;
    int64_t tokens = 0;
    size_t end = begin;
    while (end < pairs.size() && (end == begin || tokens < kBatchTokens)) {
      for (const Request* request : {&pairs[end]->stereo, &pairs[end]->anti}) {
        tokens += static_cast<int64_t>(request->context.size() + request->continuation.size()) - 1;
        requests.push_back(*request);
      }
      ++end;
    }
    // A batch may be cut into several units, so rows are looked up per unit and kept until the batch is whole.
    struct Place {
      size_t unit = 0;
      std::vector<int32_t> rows;
    };
    std::vector<Place> places(requests.size());
    struct Seen {
      at::Tensor logits_TE, ids_TK, weights_TK;
    };
    std::vector<std::map<int64_t, Seen>> seen_of_unit;
    UnitObserver observer;
    observer.begin = [&](const UnitRun& run) {
      for (size_t i = 0; i < run.requests.size(); ++i)
        places[static_cast<size_t>(run.requests[i])] = {seen_of_unit.size(), run.packed->rows[i]};
      seen_of_unit.emplace_back();
    };
    observer.on_decision = [&](int64_t layer, const at::Tensor& logits_TE, const Decision& decision) {
      seen_of_unit.back()[layer] = {logits_TE, decision.before.ids_TK, decision.before.weights_TK};
    };
    measurer.observe(requests, observer);

    for (size_t p = begin; p < end; ++p) {
      const Place &stereo = places[2 * (p - begin)], &anti = places[2 * (p - begin) + 1];
      for (const auto& [layer, of_stereo] : seen_of_unit[stereo.unit]) {
        PairRoutes routes;
        routes.index = p;
        routes.layer = layer;
        routes.num_experts = num_experts;
        std::vector<int32_t> shifted = anti.rows;
        Seen both = of_stereo;
        if (anti.unit != stereo.unit) {
          const Seen& of_anti = seen_of_unit[anti.unit].at(layer);
          both = {at::cat({of_stereo.logits_TE, of_anti.logits_TE}, 0), at::cat({of_stereo.ids_TK, of_anti.ids_TK}, 0),
                  at::cat({of_stereo.weights_TK, of_anti.weights_TK}, 0)};
          for (int32_t& row : shifted) row += static_cast<int32_t>(of_stereo.logits_TE.size(0));
        }
        routes.logits = both.logits_TE.const_data_ptr<float>();
        routes.ids = both.ids_TK.const_data_ptr<int32_t>();
        routes.weights = both.weights_TK.const_data_ptr<float>();
        routes.k = both.ids_TK.size(1);
        routes.stereo_rows = stereo.rows;
        routes.anti_rows = shifted;
        use(routes);
      }
    }
    measurer.progress().check();
    measurer.progress()("routes of pairs", static_cast<int64_t>(end), static_cast<int64_t>(pairs.size()));
    begin = end;
  }
}

}  // namespace fare
