// What can be changed about a routing decision, and where. docs/intervention.md has the file format and the formulas.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "fare/routing/route_table.h"

namespace fare {

struct StandIns;  // stand_ins.h

// Which rows (fed tokens) an edit touches; all parts must hold. A default selector is everywhere.
struct Selector {
  enum class Phase { kAll, kPrompt, kGenerated };
  Phase phase = Phase::kAll;                           // score: context / continuation
  std::vector<std::string> spans;                      // rows of tokens that overlap one of these named spans
  std::vector<int32_t> token_ids;                      // rows fed one of these ids ..
  int64_t following = 0;                               // .. and this many rows after each of them
  std::vector<std::pair<int64_t, int64_t>> positions;  // [from, to) counted before truncation
  std::vector<std::string> requests;                   // request ids

  bool everywhere() const;
  // True when two requests with the same tokens so far may differ in scope: their rows cannot be shared.
  bool depends_on_request() const;
};

// A number in (0, 1) for each row, read from the router's input: 1 / (1 + exp(-(vector . x + offset))).
struct InputGate {
  std::vector<double> vector;  // one number per coordinate of x
  double offset = 0;
};

// Point "logits", in file order.
struct AddLogit {  // z'_e = z_e + value_e, times the gate where there is one
  enum class Affects { kSelectionAndWeight, kSelection };
  std::vector<int32_t> experts;
  std::vector<double> values;                      // one per expert
  Affects affects = Affects::kSelectionAndWeight;  // kSelection acts at point "selection"
  bool keep_sum = false;
  std::optional<InputGate> gate;
};
struct RouterDelta {  // z' = z + sum over j of output_j (input_j . x + offset_j): another router matrix, of rank J
  std::vector<std::vector<double>> inputs;   // J times one number per coordinate of x
  std::vector<std::vector<double>> outputs;  // J times one number per expert
  std::vector<double> offsets;               // J
  bool keep_sum = false;
};
struct Temperature {  // z' = z / value
  double value = 1;
};
struct Mask {
  enum class Mode { kRefill, kRenormalize, kZero, kMean, kResample };  // kRefill acts on logits, the others on weights
  std::vector<int32_t> experts;
  Mode mode = Mode::kRefill;
  bool keep_sum = false;  // kRefill only
  // kMean and kResample only: the file of neutral text, as written and from the working folder, and what it gives
  // (evaluation/calibration_outputs.h), which a run needs.
  std::string calibration;
  std::filesystem::path calibration_path;
  std::shared_ptr<const StandIns> stand_ins;

  bool replaces_outputs() const { return mode == Mode::kMean || mode == Mode::kResample; }
};
struct Activate {  // log-softmax(z)_e := max + 0.01, after every other logit edit
  std::vector<int32_t> experts;
  bool keep_sum = false;
};
struct Deactivate {  // log-softmax(z)_e := min - 0.01
  std::vector<int32_t> experts;
  bool keep_sum = false;
};
// Point "selection".
struct SetTopK {
  int64_t k = 0;
};
struct TopP {  // smallest set whose scores sum to more than p
  double p = 0;
};
struct ForceRoutes {  // replay of stored ids and weights
  std::shared_ptr<const RouteTable> table;
  std::string file;  // as written in the intervention file; empty when built in memory
};
// Point "weights".
struct Reweight {  // g'_e = g_e exp(-lambda s_e), rescaled to the sum before
  std::vector<int32_t> experts;
  std::vector<double> scores;  // one per expert
  double lambda = 0;
};
struct ScaleWeight {  // g'_e = factor g_e
  std::vector<int32_t> experts;
  double factor = 1;
  bool keep_sum = false;
};
struct SharedScale {  // output of the shared experts times factor
  double factor = 1;
};

using EditOp = std::variant<AddLogit, RouterDelta, Temperature, Mask, Activate, Deactivate, SetTopK, TopP, ForceRoutes,
                            Reweight, ScaleWeight, SharedScale>;

struct Edit {
  EditOp op;
  std::vector<int64_t> layers;  // decoder layer indices; empty = all MoE layers
  Selector where;

  bool touches(int64_t layer) const;
  // True when the operation provably changes nothing (lambda 0, factor 1, values all 0, temperature 1).
  bool is_identity() const;
};

// The name an operation has in intervention files ("add_logit", ..).
std::string op_name(const EditOp& op);

}  // namespace fare
