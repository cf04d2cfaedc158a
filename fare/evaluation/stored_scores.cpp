#include "fare/evaluation/stored_scores.h"

#include <fmt/format.h>

#include "fare/core/error.h"
#include "fare/core/json.h"
#include "fare/core/sha256.h"
#include "fare/evaluation/pool_texts.h"
#include "fare/scoring/score_file.h"

namespace fare {

StoredScores::StoredScores(const std::filesystem::path& folder) : folder_(folder) {
  const std::filesystem::path rows = folder / "rows.sqlite";
  if (!std::filesystem::exists(rows))
    throw IoError(folder.string() + ": holds no rows.sqlite; name the folder that fare eval --out made");
  const Store store(rows, Store::Mode::kReadOnly);
  Sha256 hash;
  bool first = true;
  store.for_each({}, [&](const Row& row, const std::string&) {
    if (row.key.scoring != "loglikelihood" && row.key.scoring != "generation") return;
    if (first) {
      model_ = row.key.model;
      intervention_ = row.key.intervention;
      first = false;
    } else if (row.key.model != model_ || row.key.intervention != intervention_) {
      throw FormatError(rows.string(), "",
                        "holds rows of more than one model or intervention; a baseline is the run of one");
    }
    hash.add(row.key.task).add(row.key.item).add(row.value_json);
    if (row.key.scoring == "generation") texts_[{row.key.task, row.key.item, row.key.seed}] = row.value_json;
    else scores_[row.key.item] = row.value_json;
  });
  if (first) throw FormatError(rows.string(), "", "holds no score of fare eval; name the folder that its --out made");
  sha256_ = hash.hex();
}

PoolScores StoredScores::of(const RequestPool& pool, const std::vector<std::string>& task_names, uint64_t seed) const {
  PoolScores result;
  result.scores.resize(pool.requests.size());
  result.near_tie.resize(pool.requests.size());
  result.texts.resize(pool.prompts.size());
  size_t missing = 0;
  std::string example;
  const auto miss = [&](const std::string& id) {
    if (missing++ == 0) example = id;
  };
  for (size_t r = 0; r < pool.requests.size(); ++r) {
    const auto found = scores_.find(pool.items[r]);
    if (found == scores_.end()) {
      miss(pool.requests[r].id);
      continue;
    }
    const Json value = Json::parse(found->second);
    result.scores[r] = score_from(value);
    result.near_tie[r] = value.at("near_tie").get<bool>() ? 1 : 0;
  }
  for (size_t p = 0; p < pool.prompts.size(); ++p) {
    const auto found = texts_.find({task_names[pool.prompts[p].task], text_item(pool.prompts[p]), seed});
    if (found == texts_.end()) miss(pool.prompts[p].prompt.id);
    else result.texts[p] = text_from(Json::parse(found->second));
  }
  if (missing > 0)
    throw ModelMismatch(fmt::format(
        "--baseline {}: {} of {} requests were not scored there (first: {}); it was made with other tasks, --limit, "
        "--num-fewshot, --chat-template, --max-length, --prefix-token or another tokenizer, for written answers with "
        "another --seed, or is not finished",
        folder_.string(), missing, pool.requests.size() + pool.prompts.size(), example));
  return result;
}

}  // namespace fare
