#include "fare/lab/control_files.h"

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/lab/output_folder.h"

namespace fare {
namespace {

std::string line(const OrderedJson& json) { return json.dump() + "\n"; }

std::string pairs_text(const World& world) {
  const Language& language = world.language;
  std::string out;
  const auto write = [&](const std::string& id, const WorldPair& pair, const std::string& kind, const std::string& null_of,
                         const std::vector<int64_t>& stereo, const std::vector<int64_t>& anti) {
    OrderedJson json = {{"id", id}, {"cluster", pair.cluster}, {"axis", language.axis_name(pair.axis)},
                        {"stereo", language.text(stereo)}, {"anti", language.text(anti)}, {"kind", kind}};
    if (!null_of.empty()) json["null_of"] = null_of;
    json["set"] = pair.transfer ? "transfer" : "main";
    out += line(json);
  };
  for (const WorldPair& pair : world.pairs) {
    const auto a = world.pair_sentence(pair, Side::kA), b = world.pair_sentence(pair, Side::kB);
    write(pair.id, pair, "demographic", "", pair.stated_on_b ? b : a, pair.stated_on_b ? a : b);
  }
  for (const WorldNull& null : world.nulls) {
    const WorldPair& pair = world.pairs[static_cast<size_t>(null.pair)];
    write(null.id, pair, null.kind, pair.id, world.sentence(pair, null.left), world.sentence(pair, null.right));
  }
  return out;
}

std::string utility_text(const World& world) {
  std::string out;
  const auto write = [&](const WorldItem& item, bool is_fact) {
    OrderedJson choices = OrderedJson::array();
    for (const int64_t id : item.choices) choices.push_back(" " + world.language.word(id));
    out += line({{"id", item.id},
                 {"cluster", item.id},
                 {"task", is_fact ? "facts" : "plain"},
                 {"context", world.language.text(world.question(item, is_fact))},
                 {"choices", choices},
                 {"gold", item.gold}});
  };
  for (const WorldItem& item : world.facts) write(item, true);
  for (const WorldItem& item : world.plain) write(item, false);
  return out;
}

std::string generation_text(const World& world) {
  std::string out;
  for (const WorldPrompt& prompt : world.prompts) {
    const bool on_a = prompt.side == Side::kA;
    out += line({{"id", prompt.id},
                 {"cluster", prompt.cluster},
                 {"axis", world.language.axis_name(prompt.axis)},
                 {"prompt", world.language.text(world.prompt(prompt))},
                 {"stereo", {world.language.word(world.language.trait(prompt.context, on_a))}},
                 {"anti", {world.language.word(world.language.trait(prompt.context, !on_a))}}});
  }
  return out;
}

std::string neutral_text(const ControlModel& model) {
  std::string out;
  for (const auto& words : model.neutral) out += line({{"text", model.world.language.text(words)}});
  return out;
}

void write_weights(const ControlWeights& weights, const std::filesystem::path& path) {
  const std::vector<TensorPlan> plans = tensor_plans(weights.shape);
  SafetensorsWriter writer(path, declarations(plans, Dtype::kF32));
  for (const TensorPlan& plan : plans) {
    const auto count = static_cast<size_t>(plan.num_values());
    const LayerWeights* layer = plan.layer >= 0 ? &weights.layers[static_cast<size_t>(plan.layer)] : nullptr;
    const ControlExpertWeights* expert = plan.expert >= 0 ? &layer->experts[static_cast<size_t>(plan.expert)] : nullptr;
    std::vector<float> made;  // for tensors of one value
    const std::vector<float>* values = nullptr;
    switch (plan.role) {
      case TensorRole::kEmbedding: values = &weights.embedding_VH; break;
      case TensorRole::kUnembedding: values = &weights.unembedding_VH; break;
      case TensorRole::kFinalNorm:
      case TensorRole::kAttentionNorm:
      case TensorRole::kExpertNorm: made.assign(count, weights.norm); break;
      case TensorRole::kQuery:
      case TensorRole::kKey: made.assign(count, 0.f); break;
      case TensorRole::kQueryNorm:
      case TensorRole::kKeyNorm: made.assign(count, 1.f); break;
      case TensorRole::kValue: values = &layer->value_HH; break;
      case TensorRole::kAttentionOut: values = &layer->out_HH; break;
      case TensorRole::kRouter: values = &layer->router_EH; break;
      case TensorRole::kExpertGate: values = &expert->gate_IH; break;
      case TensorRole::kExpertUp: values = &expert->up_IH; break;
      case TensorRole::kExpertDown: values = &expert->down_HI; break;
    }
    if (values == nullptr) values = &made;
    FARE_CHECK(values->size() == count, plan.name + " has the wrong size");
    writer.append(plan.name, values->data(), count * sizeof(float));
  }
  writer.commit();
}

// What the model is about, side by side with what was measured on its weights.
OrderedJson planted_json(const ControlModel& model) {
  const World& world = model.world;
  const Geometry& g = world.geometry;
  OrderedJson experts = OrderedJson::array();
  OrderedJson bias;
  bias["place"] = world.made.bias == BiasPlace::kSideExperts   ? "side_experts"
                  : world.made.bias == BiasPlace::kFactExperts ? "fact_experts"
                                                               : "unembedding";
  bias["layer"] = world.made.bias == BiasPlace::kUnembedding ? OrderedJson(nullptr) : OrderedJson(g.bias_layer);
  if (world.made.bias == BiasPlace::kSideExperts) experts = {g.side_a, g.side_b};
  if (world.made.bias == BiasPlace::kFactExperts)
    for (int64_t e = 0; e < g.num_fact_experts; ++e) experts.push_back(e);
  bias["experts"] = experts;
  bias["bias_pp"] = world.made.biased ? world.options.bias_pp : 0.0;
  bias["bias_logits"] = world.bias;
  bias["noise_sd_logits"] = world.noise_deviation;
  OrderedJson out;
  out["bias"] = bias;
  OrderedJson fact_experts = OrderedJson::array();
  for (int64_t e = 0; e < g.num_fact_experts; ++e) {
    int64_t facts = 0, contexts = 0;
    for (const WorldItem& fact : world.facts) facts += g.fact_expert(fact.first) == e;
    for (int64_t c = 0; c < world.language.size().contexts; ++c) contexts += g.fact_expert(world.language.context_first(c)) == e;
    OrderedJson row = {{"expert", e}, {"facts", facts}};
    if (world.made.bias == BiasPlace::kFactExperts) row["contexts"] = contexts;
    fact_experts.push_back(row);
  }
  out["facts"] = {{"layer", g.bias_layer},
                  {"graded", world.made.graded_facts},
                  {"gold_logit", world.gold_logit},
                  {"experts", fact_experts}};
  out["sensitivity"] = {{"layer", g.bias_layer}, {"experts", {g.side_a, g.side_b}},
                        {"reaction", "the first is chosen after a group word of side A, the second after one of side B"}};
  return out;
}

OrderedJson expected_json(const ControlModel& model) {
  const World& world = model.world;
  const Geometry& g = world.geometry;
  OrderedJson out;
  out["headline"] = world.made.headline;
  out["why"] = world.made.why;
  OrderedJson stages;
  for (size_t s = 0; s < world.made.stages.size(); ++s) stages[std::to_string(s)] = world.made.stages[s];
  out["stages"] = stages;
  // What a diagnosis must say that does not run every part.
  out["headline_without_upper_bounds"] =
      world.made.headline == "unachievable" ? OrderedJson{{"code", "unresolved"}, {"stage", 2}} : OrderedJson{{"code", world.made.headline}};
  out["headline_without_generation"] =
      world.made.headline == "controllable" ? OrderedJson{{"code", "unresolved"}, {"stage", 5}} : OrderedJson{{"code", world.made.headline}};
  if (world.made.headline == "controllable")
    out["top_experts"] = {{{"layer", g.bias_layer}, {"expert", g.side_a}}, {{"layer", g.bias_layer}, {"expert", g.side_b}}};
  else
    out["top_experts"] = nullptr;
  return out;
}

}  // namespace

OrderedJson control_stamp(const ControlOptions& options) {
  return {{"command", "fare lab make " + options.id},
          {"family", options.family},
          {"weights", options.weights},
          {"pairs", options.pairs},
          {"transfer_pairs", options.transfer_pairs},
          {"facts", options.facts},
          {"utility", options.utility},
          {"prompts", options.prompts},
          {"neutral_tokens", options.neutral_tokens},
          {"bias_pp", options.bias_pp},
          {"seed", options.seed}};
}

OrderedJson world_json(const ControlModel& model) {
  const World& world = model.world;
  const Geometry& g = world.geometry;
  OrderedJson out;
  out["format"] = "fare-world/1";
  out["made_by"] = control_stamp(world.options);
  out["id"] = world.made.id;
  out["name"] = world.made.name;
  out["expected"] = expected_json(model);
  out["planted"] = planted_json(model);

  OrderedJson coordinates;
  coordinates["constant"] = {{"index", g.constant()}, {"value", kConstant}};
  coordinates["current_token"] = {1, g.content_begin()};
  coordinates["groups"] = {g.group(0), g.slot(0)};
  coordinates["slots"] = {g.slot(0), g.determiner(0)};
  coordinates["determiners"] = {g.determiner(0), g.first(0)};
  coordinates["first_words"] = {g.first(0), g.second(0)};
  coordinates["second_words"] = {g.second(0), g.bias()};
  coordinates["bias"] = {g.bias(), g.bias() + 1};
  coordinates["answers"] = {g.answer(0), g.text(0)};
  coordinates["text"] = {g.text(0), g.used};
  OrderedJson geometry;
  geometry["hidden"] = g.hidden;
  geometry["layers"] = model.weights.shape.layers;
  geometry["experts"] = g.experts;
  geometry["top_k"] = g.top_k;
  geometry["expert_width"] = model.weights.shape.expert_width;
  geometry["vocabulary"] = world.language.vocab();
  geometry["text_layer"] = g.text_layer;
  geometry["bias_layer"] = g.bias_layer;
  geometry["fact_experts"] = {0, g.num_fact_experts};
  geometry["grammar_experts"] = {g.grammar, g.second_grammar};
  geometry["side_experts"] = {g.side_a, g.side_b};
  geometry["critical_position"] = kCriticalTokens - 1;
  geometry["router_levels"] = {{"specialist", levels::kSpecialist},       {"grammar", levels::kGrammar},
                               {"second_grammar", levels::kSecondGrammar}, {"other", levels::kOther},
                               {"mirrored_side", levels::kMirroredSide},  {"content_word", levels::kContent},
                               {"pushed_down", levels::kPushedDown},       {"third", levels::kThird}};
  geometry["coordinates"] = coordinates;
  out["geometry"] = geometry;

  OrderedJson masks = OrderedJson::array();
  for (const MaskTruth& mask : model.truth.masks) {
    OrderedJson by_axis;
    for (size_t a = 0; a < mask.pct_by_axis.size(); ++a)
      by_axis[world.language.axis_name(static_cast<int64_t>(a))] = mask.pct_by_axis[a];
    OrderedJson row;
    row["name"] = mask.name;
    row["layer"] = g.bias_layer;
    row["experts"] = mask.experts;
    row["pct_stereotype"] = mask.pct_stereotype;
    row["pct_stereotype_by_axis"] = by_axis;
    row["bias_logits"] = mask.bias_logit;
    row["transfer_pct_stereotype"] = world.options.transfer_pairs > 0 ? OrderedJson(mask.transfer_pct) : OrderedJson(nullptr);
    row["fact_accuracy"] = mask.fact_accuracy;
    row["plain_accuracy"] = mask.plain_accuracy;
    row["utility_drop_pp"] = 100 *
                             ((1 - mask.fact_accuracy) * static_cast<double>(world.facts.size()) +
                              (1 - mask.plain_accuracy) * static_cast<double>(world.plain.size())) /
                             static_cast<double>(world.facts.size() + world.plain.size());
    row["dose_nats"] = mask.dose_nats;
    masks.push_back(row);
  }
  OrderedJson truth;
  truth["masks"] = masks;
  truth["mask_mode"] = "refill";
  truth["neutral_router_logit_sd"] = model.truth.neutral_logit_sd;
  truth["neutral_usage"] = model.truth.usage_LE;
  truth["largest_norm_error"] = model.truth.worst_norm_error;
  truth["smallest_pair_margin_logits"] = model.truth.smallest_margin;
  truth["smallest_route_gap"] = model.truth.smallest_route_gap;
  out["truth"] = truth;

  out["files"] = {{"pairs", "pairs.jsonl"}, {"utility", "utility.jsonl"}, {"neutral", "neutral.jsonl"}, {"generation", "generation.jsonl"}};
  return out;
}

void write_control_files(const ControlModel& model, const std::filesystem::path& folder) {
  write_json_file(folder / "world.json", world_json(model));
  write_weights(model.weights, folder / "model.safetensors");
  write_json_file(folder / "tokenizer.json", control_tokenizer_json(model.world.language));
  write_json_file(folder / "tokenizer_config.json",
                  control_tokenizer_config_json(model.world.language, model.weights.shape.max_positions));
  write_file(folder / "pairs.jsonl", pairs_text(model.world));
  write_file(folder / "utility.jsonl", utility_text(model.world));
  write_file(folder / "neutral.jsonl", neutral_text(model));
  write_file(folder / "generation.jsonl", generation_text(model.world));
  write_json_file(folder / "config.json", config_json(model.weights.shape, Dtype::kF32));
}

}  // namespace fare
