#include "fare/evaluation/calibration_outputs.h"

#include <fmt/format.h>

#include <map>
#include <set>

#include "fare/benchmarks/study_data.h"
#include "fare/core/error.h"
#include "fare/models/experts.h"
#include "fare/models/forward.h"
#include "fare/scoring/prefix_tree.h"
#include "fare/scoring/scorer.h"
#include "fare/scoring/text_encoder.h"

namespace fare {
namespace {

constexpr int64_t kRowsOfAPass = 2048;

// What is gathered of one expert, over all passes.
struct Gathered {
  at::Tensor sum_D;  // float64
  int64_t rows = 0;
  std::vector<at::Tensor> kept_RD;  // float32
};
using Wanted = std::map<int64_t, std::map<int32_t, Gathered>>;  // by layer and expert

std::vector<Mask*> masks_of(std::span<Intervention* const> interventions, std::vector<const Edit*>& edits) {
  std::vector<Mask*> masks;
  for (Intervention* intervention : interventions)
    for (Edit& edit : intervention->edits)
      if (auto* mask = std::get_if<Mask>(&edit.op);
          mask != nullptr && mask->replaces_outputs() && mask->stand_ins == nullptr) {
        masks.push_back(mask);
        edits.push_back(&edit);
      }
  return masks;
}

std::vector<FedRequest> fed_texts(const std::filesystem::path& path, const Scorer& scorer, const TextEncoder& encoder) {
  std::vector<FedRequest> fed;
  for (const std::string& text : read_neutral(path).items) {
    const std::string id = fmt::format("text {}", fed.size() + 1);
    try {
      fed.push_back(fed_part(encoder.whole_text(id, text), scorer.max_length(), scorer.model().spec().vocab_size));
    } catch (const UsageError& error) {
      throw FormatError(path.string(), id, error.what());
    }
  }
  return fed;
}

void gather(const Model& model, int64_t layer, const at::Tensor& x_TD, std::map<int32_t, Gathered>& experts) {
  for (auto& [expert, gathered] : experts) {
    const at::Tensor out_RD =
        expert_output(x_TD.to(model.device(layer)), model.family().expert(layer, expert), model.execution().backend)
            .cpu()
            .to(at::kFloat);
    const at::Tensor sum_D = out_RD.sum(0, false, at::kDouble);
    gathered.sum_D = gathered.sum_D.defined() ? gathered.sum_D + sum_D : sum_D;
    const int64_t room = std::max<int64_t>(0, kMostStoredOutputs - gathered.rows);
    if (room > 0) gathered.kept_RD.push_back(out_RD.narrow(0, 0, std::min(room, out_RD.size(0))).clone());
    gathered.rows += out_RD.size(0);
  }
}

void run(const std::filesystem::path& path, const Scorer& scorer, const TextEncoder& encoder, Wanted& wanted) {
  const at::NoGradGuard no_grad;
  const Model& model = scorer.model();
  const std::vector<FedRequest> fed = fed_texts(path, scorer, encoder);
  for (size_t begin = 0; begin < fed.size();) {
    std::vector<Sequence> sequences;
    int64_t rows = 0;
    for (; begin < fed.size() && (sequences.empty() || rows < kRowsOfAPass); ++begin) {
      const int64_t length = static_cast<int64_t>(fed[begin].ids.size());
      const RopeSpec& rope = model.spec().rope;
      const int64_t rope_length = rope.depends_on_length() ? std::max(length, rope.length_threshold()) : 0;
      sequences.push_back({fed[begin].ids, {}, static_cast<int32_t>(rope_length)});
      rows += length;
    }
    ForwardOptions options;
    options.tap = [&](Site site, int64_t layer, const at::Tensor& x_TD) {
      if (site != Site::kRouterInput) return;
      if (const auto found = wanted.find(layer); found != wanted.end()) gather(model, layer, x_TD, found->second);
    };
    forward(model, pack_sequences(sequences, false).pack, options);
  }
}

}  // namespace

bool needs_calibration(const Intervention& intervention) {
  for (const Edit& edit : intervention.edits)
    if (const auto* mask = std::get_if<Mask>(&edit.op);
        mask != nullptr && mask->replaces_outputs() && mask->stand_ins == nullptr)
      return true;
  return false;
}

void take_calibration_outputs(std::span<Intervention* const> interventions, const Model& model,
                              const Tokenizer& tokenizer, int64_t max_length, std::optional<int32_t> prefix_token) {
  for (const Intervention* intervention : interventions) intervention->check(model.routed());
  ScorerOptions options;
  options.max_length = max_length;
  const Scorer scorer(model, options);
  const TextEncoder encoder(tokenizer, prefix_token);
  std::vector<const Edit*> edits;
  const std::vector<Mask*> masks = masks_of(interventions, edits);
  std::map<std::filesystem::path, Wanted> by_file;
  for (size_t i = 0; i < masks.size(); ++i)
    for (const int64_t layer : model.spec().moe_layers())
      if (edits[i]->touches(layer))
        for (const int32_t expert : masks[i]->experts) by_file[masks[i]->calibration_path][layer][expert];
  std::map<std::filesystem::path, std::pair<std::shared_ptr<StandIns>, std::shared_ptr<StandIns>>>
      results;  // means, stored
  for (auto& [path, wanted] : by_file) {
    run(path, scorer, encoder, wanted);
    auto& [means, stored] = results[path];
    means = std::make_shared<StandIns>();
    stored = std::make_shared<StandIns>();
    for (const auto& [layer, experts] : wanted)
      for (const auto& [expert, gathered] : experts) {
        const at::Tensor mean_D = gathered.sum_D / static_cast<double>(gathered.rows);
        means->outputs_ND[layer][expert] = mean_D.to(at::kFloat).unsqueeze(0).contiguous();
        stored->outputs_ND[layer][expert] = at::cat(gathered.kept_RD).contiguous();
      }
  }
  for (Mask* mask : masks) {
    const auto found = results.find(mask->calibration_path);  // a mask of no expert needs nothing
    if (found == results.end()) mask->stand_ins = std::make_shared<const StandIns>();
    else mask->stand_ins = mask->mode == Mask::Mode::kMean ? found->second.first : found->second.second;
  }
}

}  // namespace fare
