#include "fare/report/tables_csv.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

namespace fare {
namespace {

using Row = std::vector<std::pair<std::string, std::string>>;  // column -> cell

std::string csv_quoted(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

std::string cell_text(const OrderedJson& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_array()) {
    std::string joined;
    for (const auto& item : value) joined += (joined.empty() ? "" : " ") + cell_text(item);
    return joined;
  }
  if (value.is_object() && value.size() == 2 && value.contains("layer") && value.contains("expert"))
    return cell_text(value["layer"]) + "/" + cell_text(value["expert"]);
  return value.dump();
}

Row flat_row(const OrderedJson& object) {
  Row row;
  if (!object.is_object()) return {{"value", cell_text(object)}};
  for (const auto& [key, value] : object.items()) {
    if (key == "draws" && value.is_array()) continue;  // a table of its own
    if (key.ends_with("interval")) {
      const bool is_pair = value.is_array() && value.size() == 2;
      row.emplace_back(key + "_low", is_pair ? cell_text(value[0]) : "");
      row.emplace_back(key + "_high", is_pair ? cell_text(value[1]) : "");
    } else {
      row.emplace_back(key, cell_text(value));
    }
  }
  return row;
}

// Columns in the order of their first appearance, reasons last.
std::string csv(const std::vector<Row>& rows) {
  std::vector<std::string> columns, reasons;
  for (const Row& row : rows)
    for (const auto& [name, cell] : row) {
      auto& list = name.ends_with("_reason") ? reasons : columns;
      if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
    }
  columns.insert(columns.end(), reasons.begin(), reasons.end());
  std::string out;
  for (size_t i = 0; i < columns.size(); ++i) out += (i ? "," : "") + csv_quoted(columns[i]);
  out += "\n";
  for (const Row& row : rows) {
    for (size_t i = 0; i < columns.size(); ++i) {
      const auto found =
          std::find_if(row.begin(), row.end(), [&](const auto& cell) { return cell.first == columns[i]; });
      out += (i ? "," : "") + (found == row.end() ? "" : csv_quoted(found->second));
    }
    out += "\n";
  }
  return out;
}

const struct {
  const char *file, *part, *list;
} kTables[] = {{"verdicts", "verdicts", ""},
               {"data_files", "data", "files"},
               {"data_axes", "data", "axes"},
               {"data_nulls", "data", "nulls"},
               {"thresholds", "thresholds", "values"},
               {"test_families", "thresholds", "families"},
               {"items_needed", "thresholds", "needs"},
               {"splits", "splits", "counts"},
               {"self_checks", "self_checks", ""},
               {"calibration_marks", "calibration", "marks"},
               {"calibration_fixed", "calibration", "fixed"},
               {"calibration_pipeline", "calibration", "pipeline"},
               {"calibration_confusion", "calibration", "confusion"},
               {"calibration_failed", "calibration", "failed"},
               {"bias_scorings", "bias", "scorings"},
               {"bias_axes", "bias", "axes"},
               {"bias_margins", "bias", "margins"},
               {"candidates", "candidates", ""},
               {"stages", "stages", ""},
               {"effects", "effects", ""},
               {"per_axis", "per_axis", ""},
               {"robustness", "robustness", ""},
               {"dose_control", "dose_control", ""},
               {"baselines", "baselines", ""},
               {"sensitivity", "sensitivity", "rows"},
               {"sensitivity_statistics", "sensitivity", "statistics"},
               {"sensitivity_experts", "sensitivity", "expert_gaps"},
               {"sensitivity_adjusted", "sensitivity", "adjusted"},
               {"router_profile", "router_profile", "layers"},
               {"experts", "experts", ""},
               {"score_honesty", "expert_scores", "honesty"},
               {"stable_experts", "expert_scores", "stable_experts"},
               {"expert_group_gaps", "expert_scores", "group_gaps"},
               {"search", "search", "configurations"},
               {"search_rungs", "search", "rungs"},
               {"search_solutions", "search", "solutions"},
               {"search_solution_axes", "search", "solution_axes"},
               {"search_mixtures", "search", "mixtures"},
               {"search_one_steps", "search", "certificate/one_steps"},
               {"expected_best", "search", "expected_best"},
               {"optimism", "search", "optimism"},
               {"reach", "reach", "rows"},
               {"reach_detectors", "reach", "detectors"},
               {"reach_router_restarts", "reach", "router_restarts"},
               {"reach_oracle", "reach", "oracle"},
               {"positive_control", "positive_control", "levels"},
               {"masking", "masking", "groups"},
               {"masking_draws", "masking", "draw_values"},
               {"masking_tests", "masking", "tests"},
               {"masking_singles", "masking", "singles"},
               {"generation", "generation", "metrics"},
               {"generation_families", "generation", "families"},
               {"generation_not_run", "generation", "not_run"},
               {"generation_guards", "generation", "guards"},
               {"decodability", "generation", "decodability"},
               {"generation_examples", "generation", "examples"},
               {"masking_subsets", "masking", "subsets"},
               {"masking_routing", "masking", "routing_changes"},
               {"conditions_buffering", "conditions", "buffering"},
               {"conditions_shared_scale", "conditions", "shared_scale"},
               {"conditions_breadth", "conditions", "breadth"},
               {"route_examples", "route_examples", "pairs"},
               {"routes", "route_examples", "steps"},
               {"runtime", "runtime", "parts"}};

}  // namespace

std::string csv_of_rows(const OrderedJson& rows) {
  std::vector<Row> flat;
  for (const OrderedJson& row : rows) flat.push_back(flat_row(row));
  return csv(flat);
}

std::map<std::string, std::string> csv_tables(const Node& report) {
  std::map<std::string, std::string> files;
  const bool whole = report.text("format") == "fare-report/1";  // else a report of some parts
  for (const auto& table : kTables) {
    // The list at part/list, or nothing where some step of the way is null or not there (a part alone, an earlier
    // version).
    std::optional<Node> list = report;
    for (const auto& step : std::filesystem::path(std::string(table.part) + "/" + table.list + "/rows")) {
      if (!list || step.empty()) continue;
      if (list->has(step)) list = list->at(step);
      else if (step != "rows") list.reset();
    }
    if (!list) continue;
    std::vector<Row> rows;
    for (const Node& row : list->rows()) rows.push_back(flat_row(row.json()));
    if (!rows.empty()) files[std::string(table.file) + ".csv"] = csv(rows);
  }
  // The random draws of the dose control, with the candidate each belongs to.
  std::vector<Row> draws;
  if (!whole) return files;
  for (const Node& entry : report.rows("dose_control"))
    for (const Node& draw : entry.rows("draws")) {
      Row row = flat_row(draw.json());
      row.insert(row.begin(), {"candidate", entry.text("candidate")});
      draws.push_back(std::move(row));
    }
  if (!draws.empty()) files["dose_control_draws.csv"] = csv(draws);
  return files;
}

}  // namespace fare
