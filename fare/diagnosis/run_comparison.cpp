#include "fare/diagnosis/run_comparison.h"

#include <fmt/format.h>

#include <optional>
#include <set>

#include "fare/core/error.h"
#include "fare/diagnosis/null_fields.h"
#include "fare/stats/multiplicity.h"

namespace fare {
namespace {

// A field of a report and, where it is null, its reason.
void copy_field(OrderedJson& row, const std::string& as, const OrderedJson& from, const std::string& name) {
  const OrderedJson& value = from.at(name);
  if (value.is_null()) put_null(row, as, from.value(name + "_reason", "no reason was given"));
  else row[as] = value;
}

// The primary shift of each candidate: what r1 tests.
struct PrimaryShift {
  size_t run = 0;
  OrderedJson effect;
};

std::vector<PrimaryShift> primary_shifts(const std::vector<ComparedRun>& runs) {
  std::vector<PrimaryShift> shifts;
  for (size_t r = 0; r < runs.size(); ++r)
    for (const OrderedJson& effect : runs[r].report.at("effects"))
      if (effect.at("measure") == "shift" && effect.at("split") == "test" && effect.at("subset") == "all" &&
          effect.at("scoring") == "sum")
        shifts.push_back({r, effect});
  return shifts;
}

// Slope of the candidate's shift on the mean shared share of the MoE layers, over runs that have both (methods A9).
OrderedJson shared_slope(const std::vector<ComparedRun>& runs) {
  std::vector<double> x, y;
  for (const ComparedRun& run : runs) {
    const OrderedJson& shift = run.report.at("headline").at("numbers").at("shift");
    double sum = 0;
    int64_t layers = 0;
    if (!run.report.at("router_profile").is_null())
      for (const OrderedJson& layer : run.report.at("router_profile").at("layers"))
        if (layer.at("shared_share").is_number()) sum += layer.at("shared_share").get<double>(), ++layers;
    if (layers == 0 || shift.is_null() || !shift.at("value").is_number()) continue;
    x.push_back(sum / static_cast<double>(layers));
    y.push_back(shift.at("value").get<double>());
  }
  double mean_x = 0, mean_y = 0, xx = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i)
    mean_x += x[i] / static_cast<double>(x.size()), mean_y += y[i] / static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    xx += (x[i] - mean_x) * (x[i] - mean_x), xy += (x[i] - mean_x) * (y[i] - mean_y);
  OrderedJson slope;
  slope["models"] = x.size();
  put_field(slope, "slope_pp", x.size() >= 3 && xx > 0 ? std::optional(xy / xx) : std::nullopt,
            "fewer than three models whose shared experts differ in their share");
  return slope;
}

std::vector<std::string> differences(const std::vector<ComparedRun>& runs) {
  std::vector<std::string> notes;
  const auto check = [&](const char* what, auto&& value_of) {
    std::set<std::string> values;
    for (const ComparedRun& run : runs) values.insert(value_of(run.report));
    if (values.size() > 1) notes.push_back(std::string("the runs differ in ") + what);
  };
  check("profile", [](const OrderedJson& report) { return report.at("profile").dump(); });
  check("margins", [](const OrderedJson& report) { return report.at("thresholds").at("values").dump(); });
  check("seed of the split", [](const OrderedJson& report) { return report.at("splits").at("seed").dump(); });
  check("pairs", [](const OrderedJson& report) {
    std::string hashes;
    for (const OrderedJson& file : report.at("data").at("files"))
      if (file.at("role") == "pairs") hashes += file.at("sha256").get<std::string>();
    return hashes + report.at("data").at("limit").dump();
  });
  check("number type", [](const OrderedJson& report) { return report.at("runtime").at("dtype").dump(); });
  return notes;
}

}  // namespace

OrderedJson compare_runs(const std::vector<ComparedRun>& runs) {
  if (runs.size() < 2) throw UsageError("comparison: give at least two runs");
  std::set<std::string> names, same;
  for (const ComparedRun& run : runs) {
    if (!names.insert(run.name).second) throw UsageError("comparison: two runs are called '" + run.name + "'");
    if (!same.insert(run.report.dump()).second)
      throw UsageError("comparison: '" + run.name + "' is the same run as another");
  }
  const ComparedRun* current = &runs.front();
  try {
    const std::vector<PrimaryShift> shifts = primary_shifts(runs);
    stats::PValues p;
    for (const PrimaryShift& shift : shifts) {
      const OrderedJson& value = shift.effect.at("p");
      p.push_back(value.is_number() ? std::optional(value.get<double>()) : std::nullopt);
    }
    const stats::PValues corrected = stats::benjamini_hochberg(p);
    int64_t family = 0;
    for (const auto& one : p) family += one.has_value();

    OrderedJson json;
    json["format"] = "fare-comparison/1";
    json["family_size"] = family;
    json["notes"] = differences(runs);
    json["models"] = OrderedJson::array();
    json["candidates"] = OrderedJson::array();
    for (size_t r = 0; r < runs.size(); ++r) {
      current = &runs[r];
      const OrderedJson& report = runs[r].report;
      const OrderedJson& headline = report.at("headline");
      double alpha = 0.05;
      for (const OrderedJson& value : report.at("thresholds").at("values"))
        if (value.at("name") == "alpha") alpha = value.at("value").get<double>();
      std::optional<double> winner_p;
      for (size_t s = 0; s < shifts.size(); ++s) {
        if (shifts[s].run != r) continue;
        const OrderedJson& effect = shifts[s].effect;
        OrderedJson row;
        row["run"] = runs[r].name;
        row["candidate"] = effect.at("candidate");
        for (const OrderedJson& candidate : report.at("candidates"))
          if (candidate.at("candidate") == effect.at("candidate")) row["control_class"] = candidate.at("control_class");
        copy_field(row, "shift_pp", effect, "value");
        copy_field(row, "interval", effect, "interval");
        copy_field(row, "n", effect, "n");
        copy_field(row, "p", effect, "p");
        copy_field(row, "p_bh", effect, "p_bh");
        put_field(row, "p_bh_all", corrected[s], "the shift has no p");
        put_field(row, "holds_over_all", corrected[s] ? std::optional(*corrected[s] <= alpha) : std::nullopt,
                  "the shift has no p");
        json["candidates"].push_back(std::move(row));
        if (effect.at("candidate") == headline.at("candidate")) winner_p = corrected[s];
      }
      OrderedJson row;
      row["run"] = runs[r].name;
      row["model"] = report.at("model").at("name");
      row["model_type"] = report.at("model").at("model_type");
      row["code"] = headline.at("code");
      copy_field(row, "stage", headline, "stage");
      copy_field(row, "candidate", headline, "candidate");
      std::string third = "not_run";
      for (int stage = 0; stage < 6; ++stage)
        for (const OrderedJson& answer : report.at("stages"))
          if (answer.at("stage") == stage && answer.at("candidate") == headline.at("candidate")) {
            row[fmt::format("stage_{}", stage)] = answer.at("answer");
            if (stage == 3) third = answer.at("answer").get<std::string>();
          }
      const OrderedJson& bias = report.at("bias").at("scorings").at(0);
      row["bias_pp"] = bias.at("bias_pp");
      row["bias_interval"] = bias.at("bias_interval");
      for (const char* number : {"shift", "cost", "transfer"}) {
        const OrderedJson& estimate = headline.at("numbers").at(number);
        const std::string name = std::string(number) + "_pp", interval = std::string(number) + "_interval";
        if (estimate.is_null()) {
          const std::string reason =
              headline.at("numbers").value(std::string(number) + "_reason", "no reason was given");
          put_null(row, name, reason);
          put_null(row, interval, reason);
        } else {
          copy_field(row, name, estimate, "value");
          copy_field(row, interval, estimate, "interval");
        }
      }
      copy_field(row, "mde_pp", headline, "mde_pp");
      put_field(row, "p_bh_all", winner_p, "the shift has no p");
      // A stage 3 that was answered yes leaned on r1, which holds only while its p survives the larger family.
      const bool lost = third == "yes" && winner_p && *winner_p > alpha;
      row["code_over_all"] = lost ? OrderedJson("non_robust") : headline.at("code");
      row["profile"] = report.at("profile");
      row["seed"] = report.at("splits").at("seed");
      row["thresholds_sha256"] = report.at("thresholds").at("sha256");
      row["sentence"] = headline.at("sentence");
      json["models"].push_back(std::move(row));
    }
    json["shared_slope"] = shared_slope(runs);
    return json;
  } catch (const OrderedJson::exception& error) {
    throw FormatError(current->name, "report.json",
                      std::string("a field that a comparison needs is missing or of another "
                                  "type; run fare diagnose again: ") +
                          error.what());
  }
}

}  // namespace fare
