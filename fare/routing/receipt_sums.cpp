#include "fare/routing/receipt_sums.h"

namespace fare {

Json receipt_sums(const Receipt& receipt) {
  Json layers = Json::object();
  for (const auto& [layer, r] : receipt.layers)
    layers[std::to_string(layer)] = {{"edits_applied", r.edits_applied},
                                     {"tokens_in_scope", r.tokens_in_scope},
                                     {"topk_changed", r.topk_changed},
                                     {"gate_mass_moved_sum", r.gate_mass_moved_sum},
                                     {"tokens_without_experts", r.tokens_without_experts},
                                     {"experts_removed", r.experts_removed},
                                     {"changed", r.changed}};
  return {{"tokens", receipt.tokens}, {"layers", layers}};
}

Receipt receipt_from(const Json& json) {
  Receipt receipt;
  receipt.tokens = json.at("tokens").get<int64_t>();
  for (const auto& [layer, r] : json.at("layers").items())
    receipt.layers[std::stoll(layer)] = {.edits_applied = r.at("edits_applied").get<int64_t>(),
                                         .tokens_in_scope = r.at("tokens_in_scope").get<int64_t>(),
                                         .topk_changed = r.at("topk_changed").get<int64_t>(),
                                         .gate_mass_moved_sum = r.at("gate_mass_moved_sum").get<double>(),
                                         .tokens_without_experts = r.at("tokens_without_experts").get<int64_t>(),
                                         .experts_removed = r.at("experts_removed").get<std::set<int32_t>>(),
                                         .changed = r.at("changed").get<bool>()};
  return receipt;
}

}  // namespace fare
