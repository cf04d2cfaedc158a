// Finished cells of a calibration, kept so that a run that was stopped goes on with the others.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fare/calibration/fixed_candidate.h"
#include "fare/calibration/whole_pipeline.h"
#include "fare/core/json.h"
#include "fare/store/store.h"

namespace fare {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Rate, hits, of)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EngineCheck, same_verdict, verdict, largest_margin_difference)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PipelineCell, number, kind, weights, pairs, replicates, shift_pp, flips, right,
                                   verdicts, as_expected, passed_all, rejected, covered, mean_shift_pp, mean_true_pp,
                                   reached, engine, seconds)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(FixedCell, number, pairs, flips, shift_pp, at_mde, true_shift_pp, discordance,
                                   rejected, rejected_two_sided, rejected_tanh, covered, equivalent,
                                   equivalent_at_shift, same_decision, mean_shift_pp, mean_mde_pp, seconds, engine)

// Cells by build, part ("fixed", "pipeline"), number in the whole design and seed. A store must hold cells of one
// design only.
class KeptCells {
 public:
  KeptCells() = default;  // nothing is kept
  KeptCells(Store& store, std::string build) : store_(&store), build_(std::move(build)) {}

  // Fills in the cell where it was finished before.
  template <typename Cell>
  bool find(const char* part, uint64_t seed, Cell& cell) const {
    const std::optional<std::string> kept =
        store_ != nullptr ? store_->get(key(part, seed, cell.number)) : std::nullopt;
    if (kept) cell = Json::parse(*kept).get<Cell>();
    return kept.has_value();
  }

  // From any thread. A cell that was given up is not kept.
  template <typename Cell>
  void keep(const char* part, uint64_t seed, const Cell& cell) const {
    if (store_ == nullptr || !cell.failure.empty()) return;
    const RowKey row = key(part, seed, cell.number);
    store_->put_unit(row.text(), {{row, Json(cell).dump()}});
  }

 private:
  RowKey key(const char* part, uint64_t seed, uint64_t number) const {
    return {build_, "", part, std::to_string(number), "cell", seed};
  }

  Store* store_ = nullptr;
  std::string build_;
};

}  // namespace fare
