#include "fare/diagnosis/null_fields.h"
#include "fare/diagnosis/search.h"

namespace fare {
namespace {

OrderedJson row_json(const SearchRow& row) {
  const Configuration& c = row.configuration;
  OrderedJson json;
  json["id"] = row.name;
  json["family"] = c.family;
  json["score"] = c.score;
  json["k"] = c.k;
  json["lambda"] = c.lambda;
  json["layers"] = c.layers;
  json["sign"] = c.sign;
  json["keep_sum"] = c.keep_sum;
  json["random_ranking"] = c.random_ranking;
  json["eligible"] = !c.random_ranking;
  json["rung"] = row.rung;
  json["pairs"] = row.pairs;
  json["utility_items"] = row.utility_items;
  json["shift_pp"] = row.shift_pp;
  put_interval(json, "shift_interval", row.shift_interval, "");
  const std::string no_utility = "the validation split holds no utility item";
  put_field(json, "drop_pp", row.drop_pp, no_utility);
  put_interval(json, "drop_interval", row.drop_interval, no_utility);
  put_field(json, "dose_nats", row.dose ? std::optional(row.dose->kl_nats) : std::nullopt, row.dose_reason);
  put_field(json, "worst_axis_remaining", row.worst_axis_remaining,
            "no axis shows a preference in its own direction on these items");
  json["no_effect"] = row.no_effect;
  return json;
}

OrderedJson names_json(const SearchResult& search, const std::vector<size_t>& rows) {
  OrderedJson names = OrderedJson::array();
  for (const size_t i : rows) names.push_back(search.rows[i].name);
  return names;
}

OrderedJson solution_json(const SearchResult& search, const std::string& name, const std::optional<size_t>& row,
                          const std::string& reason) {
  OrderedJson json;
  json["solution"] = name;
  put_field(json, "configuration", row ? std::optional(search.rows[*row].name) : std::nullopt, reason);
  put_field(json, "worst_axis_remaining", row ? search.rows[*row].worst_axis_remaining : std::nullopt,
            row ? "no axis shows a preference in its own direction on validation" : reason);
  return json;
}

}  // namespace

OrderedJson candidates_json(const SearchResult& search) {
  OrderedJson list = OrderedJson::array();
  for (size_t i = 0; i < search.candidates.size(); ++i) {
    const SearchCandidate& candidate = search.candidates[i];
    OrderedJson json;
    json["candidate"] = candidate.name;
    json["control_class"] = candidate.control_class;
    json["role"] = candidate.role;
    json["origin"] = candidate.origin;
    json["order"] = i + 1;
    const char* no_row = "found by another search than the grid";
    const SearchRow* row = candidate.row ? &search.rows[*candidate.row] : nullptr;
    put_field(json, "configuration", row ? std::optional(row->name) : std::nullopt, no_row);
    json["family"] = candidate.family;
    put_field(json, "score", row ? std::optional(row->configuration.score) : std::nullopt, no_row);
    put_field(json, "k", row ? std::optional(row->configuration.k) : std::nullopt, no_row);
    put_field(json, "lambda", row ? std::optional(row->configuration.lambda) : std::nullopt, no_row);
    put_field(json, "layers", row ? std::optional(row->configuration.layers) : std::nullopt, no_row);
    put_field(json, "sign", row ? std::optional(row->configuration.sign) : std::nullopt, no_row);
    json["breadth"] = candidate.breadth;
    json["within_tau_on_validation"] = candidate.within_tau;
    json["file"] = "interventions/" + candidate.name + ".json";
    json["description"] = candidate.description;
    list.push_back(json);
  }
  return list;
}

OrderedJson search_json(const SearchResult& search, std::span<const double> test_shift_pp,
                        const std::vector<std::string>& axes) {
  OrderedJson json;
  int64_t controls = 0;
  for (const SearchRow& row : search.rows) controls += row.configuration.random_ranking;
  json["num_configurations"] = static_cast<int64_t>(search.rows.size()) - controls;
  json["num_random_controls"] = controls;
  json["rungs"] = OrderedJson::array();
  for (const SearchRung& rung : search.rungs)
    json["rungs"].push_back({{"rung", rung.rung},
                             {"pairs", rung.pairs},
                             {"utility_items", rung.utility_items},
                             {"entered", rung.entered},
                             {"kept", rung.kept}});
  json["configurations"] = OrderedJson::array();
  for (const SearchRow& row : search.rows) json["configurations"].push_back(row_json(row));
  json["front"] = names_json(search, search.front);
  json["random_front"] = names_json(search, search.random_front);
  json["solutions"] = OrderedJson::array();
  json["solutions"].push_back(
      solution_json(search, "pure", search.pure, "no configuration of the last rung keeps the drop within tau"));
  json["solutions"].push_back(solution_json(search, "reach", search.reach, "no configuration reached the last rung"));
  const char* many = "a mixture of several configurations (mixtures)";
  const Equilibrium* const game = search.equilibrium ? &*search.equilibrium : nullptr;
  const std::string no_mixture =
      game == nullptr ? search.equilibrium_reason : "no mixture keeps every drop within its tau";
  for (const char* name : {"mixed", "dual_ascent"}) {
    const bool mixed = std::string(name) == "mixed";
    OrderedJson row;
    row["solution"] = name;
    put_null(row, "configuration", game != nullptr && (!mixed || game->mixture) ? many : no_mixture);
    std::optional<double> value;
    if (game != nullptr && mixed && game->mixture) value = game->mixture->value;
    if (game != nullptr && !mixed) value = game->ascent.value;
    put_field(row, "worst_axis_remaining", value, no_mixture);
    json["solutions"].push_back(std::move(row));
  }
  json["solution_axes"] = OrderedJson::array();
  for (const auto& [name, row] : {std::pair{"pure", search.pure}, std::pair{"reach", search.reach}})
    for (size_t a = 0; row && a < axes.size(); ++a) {
      const AxisLevel& level = search.rows[*row].axes[a];
      OrderedJson one = {{"solution", name},
                         {"axis", axes[a]},
                         {"pairs", level.pairs},
                         {"base_pp", level.base_pp},
                         {"left_pp", level.left_pp}};
      put_field(one, "remaining", level.remaining(), "no preference along the axis's sign on these pairs");
      json["solution_axes"].push_back(std::move(one));
    }
  json["mixtures"] = OrderedJson::array();
  if (game != nullptr)
    for (const char* name : {"mixed", "dual_ascent"}) {
      const bool mixed = std::string(name) == "mixed";
      if (mixed && !game->mixture) continue;
      const std::vector<double>& share = mixed ? game->mixture->share : game->ascent.share;
      for (size_t i = 0; i < share.size(); ++i)
        if (share[i] > 1e-9)
          json["mixtures"].push_back(
              {{"solution", name},
               {"configuration", game->rows[i] ? search.rows[*game->rows[i]].name : "base model"},
               {"share", share[i]}});
    }
  json["expected_best"] = OrderedJson::array();
  for (const SearchResult::Effort& effort : search.expected_best)
    json["expected_best"].push_back({{"budget", effort.budget}, {"shift_pp", effort.shift_pp}});
  json["optimism"] = OrderedJson::array();
  for (size_t i = 0; i < search.candidates.size(); ++i) {
    const double validation = search.candidates[i].validation_shift_pp;
    OrderedJson row;
    row["candidate"] = search.candidates[i].name;
    row["validation_pp"] = validation;
    const std::string reason = "the test split was not opened";
    const auto test = i < test_shift_pp.size() ? std::optional(test_shift_pp[i]) : std::nullopt;
    put_field(row, "test_pp", test, reason);
    put_field(row, "difference_pp", test ? std::optional(validation - *test) : std::nullopt, reason);
    json["optimism"].push_back(row);
  }
  json["search_bias"] = {{"configurations", search.bias.configurations}, {"pairs", search.bias.pairs},
                         {"discordance", search.bias.discordance},       {"correlation", search.bias.correlation},
                         {"independent_pp", search.bias.independent_pp}, {"correlated_pp", search.bias.correlated_pp}};
  if (game == nullptr) {
    put_null(json, "certificate", search.equilibrium_reason);
    return json;
  }
  OrderedJson& certificate = json["certificate"];
  certificate["equilibrium"] = game->holds;
  certificate["gap"] = game->ascent.gap;
  certificate["limit"] = kEquilibriumGap;
  certificate["value"] = game->ascent.value;
  certificate["dual_value"] = game->ascent.dual_value;
  certificate["steps"] = game->ascent.steps;
  certificate["best_one_step"] = game->best_one_step;
  certificate["one_steps"] = OrderedJson::array();
  for (const OneStep& step : game->one_steps) {
    OrderedJson row;
    row["change"] = step.change;
    row["configuration"] = search.rows[step.row].name;
    put_field(row, "worst_axis_remaining", step.worst_axis_remaining, "no axis shows a preference on validation");
    put_field(row, "drop_pp", step.drop_pp, "the validation split holds no utility item");
    certificate["one_steps"].push_back(std::move(row));
  }
  return json;
}

}  // namespace fare
