#include "fare/evaluation/pool_texts.h"

#include <algorithm>

#include "fare/benchmarks/generation.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/evaluation/receipt_row.h"

namespace fare {
namespace {

constexpr size_t kPromptsPerUnit = 32;

struct Unit {
  size_t begin = 0, end = 0;  // prompts
};

std::vector<Unit> units_of(const RequestPool& pool) {
  std::vector<Unit> units;
  for (size_t p = 0; p < pool.prompts.size(); ++p) {
    const bool joins = !units.empty() && p - units.back().begin < kPromptsPerUnit &&
                       pool.prompts[p].task == pool.prompts[units.back().begin].task &&
                       pool.prompts[p].settings == pool.prompts[units.back().begin].settings;
    if (joins) units.back().end = p + 1;
    else units.push_back({p, p + 1});
  }
  return units;
}

std::string text_json(const GeneratedText& text) {
  return Json{{"text", text.text},
              {"token_ids", text.token_ids},
              {"finish", finish_name(text.finish)},
              {"prompt_tokens", text.prompt_tokens},
              {"truncated_tokens", text.truncated_tokens}}
      .dump();
}

GeneratedText text_from(const Json& json) {
  GeneratedText text;
  text.text = json.at("text").get<std::string>();
  text.token_ids = json.at("token_ids").get<std::vector<int32_t>>();
  for (const Finish finish : {Finish::kLength, Finish::kEos, Finish::kStop})
    if (json.at("finish") == finish_name(finish)) text.finish = finish;
  text.prompt_tokens = json.at("prompt_tokens").get<int64_t>();
  text.truncated_tokens = json.at("truncated_tokens").get<int64_t>();
  return text;
}

// What decides about the text of a prompt, besides the model, the edits and the seed.
std::string item_of(const PooledPrompt& prompt) {
  std::string text = prompt.prompt.id + "\n" + prompt.settings.dump() + "\n";
  for (const int32_t id : prompt.prompt.ids) text += std::to_string(id) + " ";
  return sha256_hex(text);
}

}  // namespace

void write_pool_texts(const Model& model, const Tokenizer& tokenizer, const RequestPool& pool,
                      const std::vector<std::string>& task_names, const Intervention* intervention,
                      const TextOptions& options, Store* store, const Progress& progress, PoolScores& scores) {
  scores.texts.resize(pool.prompts.size());
  if (pool.prompts.empty()) return;
  const std::string fingerprint = store != nullptr ? model.checkpoint().fingerprint() : "";
  const std::string edits = intervention != nullptr ? sha256_hex(intervention->to_json().at("edits").dump()) : "";
  const std::set<std::string> stored = store != nullptr ? store->units() : std::set<std::string>{};
  const auto units = units_of(pool);
  scores.num_units += static_cast<int64_t>(units.size());
  for (size_t u = 0; u < units.size(); ++u) {
    progress.check();
    const std::string& task = task_names[pool.prompts[units[u].begin].task];
    Sha256 unit_hash;
    unit_hash.add(edits);
    std::vector<std::string> items;
    for (size_t p = units[u].begin; p < units[u].end; ++p) unit_hash.add(items.emplace_back(item_of(pool.prompts[p])));
    const std::string unit_name = "eval/texts/" + unit_hash.hex();
    const auto key = [&](const std::string& item) {
      return RowKey{fingerprint, edits, task, item, "generation", options.seed};
    };
    const RowKey receipt_key{fingerprint, edits, "", unit_name, kUnitItem, 0};
    if (stored.contains(unit_name)) {
      for (size_t i = 0; i < items.size(); ++i)
        scores.texts[units[u].begin + i] = text_from(stored_row(*store, key(items[i])));
      scores.receipt += receipt_from(stored_row(*store, receipt_key));
      ++scores.num_units_stored;
    } else {
      const GenerationSettings settings = generation_settings(pool.prompts[units[u].begin].settings);
      GenerateOptions generate_options;
      generate_options.max_new_tokens = settings.max_new_tokens;
      generate_options.sampling = {settings.temperature, settings.top_p};
      generate_options.seed = options.seed;
      generate_options.stop = settings.until;
      if (const auto eos = tokenizer.eos_text(); eos && !eos->empty()) generate_options.stop.push_back(*eos);
      generate_options.eos = end_tokens(model.checkpoint());
      generate_options.max_length = options.max_length;
      generate_options.unit_rows = options.unit_rows;
      std::vector<Prompt> prompts;
      for (size_t p = units[u].begin; p < units[u].end; ++p) prompts.push_back(pool.prompts[p].prompt);
      GenerateResult result;
      try {
        result = generate(model, &tokenizer, prompts, generate_options, intervention,
                          {nullptr, nullptr, progress.cancelled});
      } catch (const ModelMismatch& error) {
        throw ModelMismatch("task " + task + ": " + error.what());
      }
      std::vector<Row> rows{{receipt_key, receipt_sums(result.receipt).dump()}};
      for (size_t i = 0; i < items.size(); ++i) {
        scores.texts[units[u].begin + i] = result.texts[i];
        rows.push_back({key(items[i]), text_json(result.texts[i])});
      }
      scores.receipt += result.receipt;
      if (store != nullptr) store->put_unit(unit_name, rows);
    }
    progress("writing", static_cast<int64_t>(u) + 1, static_cast<int64_t>(units.size()));
  }
}

}  // namespace fare
