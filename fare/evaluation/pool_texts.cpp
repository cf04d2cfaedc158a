#include "fare/evaluation/pool_texts.h"

#include <algorithm>

#include "fare/benchmarks/generation.h"
#include "fare/core/error.h"
#include "fare/core/sha256.h"
#include "fare/routing/receipt_sums.h"
#include "fare/store/computed_rows.h"

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

}  // namespace

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

std::string text_item(const PooledPrompt& prompt) {
  std::string text = prompt.prompt.id + "\n" + prompt.settings.dump() + "\n";
  for (const int32_t id : prompt.prompt.ids) text += std::to_string(id) + " ";
  return sha256_hex(text);
}

void write_pool_texts(const Model& model, const Tokenizer& tokenizer, const RequestPool& pool,
                      const std::vector<std::string>& task_names, const Intervention* intervention,
                      const TextOptions& options, Store* store, const Progress& progress, PoolScores& scores) {
  scores.texts.resize(pool.prompts.size());
  if (pool.prompts.empty()) return;
  const std::string fingerprint = store != nullptr ? model.checkpoint().fingerprint() : "";
  const std::string edits = intervention != nullptr ? sha256_hex(intervention->to_json().at("edits").dump()) : "";
  const std::set<std::string> stored = store != nullptr ? store->units() : std::set<std::string>{};
  const auto units = units_of(pool);
  const auto task_of = [&](const Unit& unit) { return task_names[pool.prompts[unit.begin].task]; };
  const auto key = [&](const Unit& unit, const std::string& item) {
    return RowKey{fingerprint, edits, task_of(unit), item, "generation", options.seed};
  };
  const auto receipt_key = [&](const std::string& unit_name) {
    return RowKey{fingerprint, edits, "", unit_name, kUnitItem, 0};
  };

  std::vector<std::string> items, names;  // of every prompt, of every unit
  std::vector<size_t> todo;
  std::vector<double> costs;
  for (const Unit& unit : units) {
    Sha256 hash;
    hash.add(edits);
    double tokens = 0;
    for (size_t p = unit.begin; p < unit.end; ++p) {
      hash.add(items.emplace_back(text_item(pool.prompts[p])));
      tokens += static_cast<double>(pool.prompts[p].prompt.ids.size()) +
                generation_settings(pool.prompts[p].settings).max_new_tokens;
    }
    names.push_back("eval/texts/" + hash.hex());
    if (stored.contains(names.back())) continue;
    todo.push_back(names.size() - 1);
    costs.push_back(tokens);
  }
  scores.num_units += static_cast<int64_t>(units.size());
  scores.num_units_stored += static_cast<int64_t>(units.size() - todo.size());

  const auto compute = [&](size_t part, int64_t started) {
    progress.check();
    const Unit& unit = units[todo[part]];
    const std::string& name = names[todo[part]];
    const GenerationSettings settings = generation_settings(pool.prompts[unit.begin].settings);
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
    for (size_t p = unit.begin; p < unit.end; ++p) prompts.push_back(pool.prompts[p].prompt);
    GenerateResult result;
    try {
      result =
          generate(model, &tokenizer, prompts, generate_options, intervention, {nullptr, nullptr, progress.cancelled});
    } catch (const ModelMismatch& error) {
      throw ModelMismatch("task " + task_of(unit) + ": " + error.what());
    }
    std::vector<Row> rows{{receipt_key(name), receipt_sums(result.receipt).dump()}};
    for (size_t p = unit.begin; p < unit.end; ++p)
      rows.push_back({key(unit, items[p]), text_json(result.texts[p - unit.begin])});
    progress("writing", static_cast<int64_t>(units.size() - todo.size()) + started, static_cast<int64_t>(units.size()));
    return std::vector<UnitRows>{{name, rows}};
  };
  const ComputedRows computed(store, costs, compute);
  for (size_t u = 0; u < units.size(); ++u) {
    for (size_t p = units[u].begin; p < units[u].end; ++p)
      scores.texts[p] = text_from(Json::parse(computed.at(key(units[u], items[p]))));
    scores.receipt += receipt_from(Json::parse(computed.at(receipt_key(names[u]))));
  }
}

}  // namespace fare
