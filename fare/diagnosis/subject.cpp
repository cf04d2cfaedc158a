#include "fare/diagnosis/subject.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "fare/checkpoint/fingerprint.h"
#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/sha256.h"
#include "fare/diagnosis/null_fields.h"

namespace fare {
namespace {

std::string hash_of_file(const std::filesystem::path& path) { return "sha256:" + sha256_hex(read_file(path)); }

}  // namespace

OrderedJson model_json(const Model& model) {
  const DecoderSpec& spec = model.spec();
  const Checkpoint& checkpoint = model.checkpoint();
  int64_t parameters = 0;
  std::map<std::string, int64_t> bytes_of_type;
  for (const std::string& name : checkpoint.names()) {
    const TensorView view = checkpoint.raw_tensor(name);
    parameters += view.num_elements();
    bytes_of_type[std::string(dtype_name(view.dtype))] += static_cast<int64_t>(view.num_bytes);
  }
  std::string stored;
  for (const auto& [type, bytes] : bytes_of_type) {
    std::string lower = type;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    stored += (stored.empty() ? "" : ", ") + lower;
  }
  auto folder = checkpoint.folder();
  if (folder.filename().empty()) folder = folder.parent_path();
  OrderedJson json;
  json["name"] = folder.filename().string();
  json["model_type"] = spec.model_type;
  json["fingerprint"] = checkpoint.fingerprint();
  json["config_sha256"] = hash_of_file(checkpoint.config_path());
  const auto tokenizer = with_gz_fallback(checkpoint.folder() / "tokenizer.json");
  const auto sentencepiece = checkpoint.folder() / "tokenizer.model";  // read where there is no tokenizer.json
  if (std::filesystem::exists(tokenizer)) json["tokenizer_sha256"] = hash_of_file(tokenizer);
  else if (std::filesystem::exists(sentencepiece)) json["tokenizer_sha256"] = hash_of_file(sentencepiece);
  else put_null(json, "tokenizer_sha256", "the folder has neither tokenizer.json nor tokenizer.model");
  json["num_layers"] = spec.num_layers;
  json["moe_layers"] = spec.moe_layers();
  json["num_experts"] = spec.router.num_experts;
  json["top_k"] = spec.router.top_k;
  json["num_shared_experts"] = spec.router.has_shared_expert ? 1 : 0;
  json["weight_mode"] = spec.router.weight_mode == WeightMode::kRaw ? "raw" : "renormalised";
  json["score_function"] = "softmax";
  json["hidden_size"] = spec.hidden_size;
  json["vocab_size"] = spec.vocab_size;
  json["num_parameters"] = parameters;
  json["weights_bytes"] = checkpoint.total_bytes();
  json["stored_dtype"] = stored;
  return json;
}

OrderedJson data_json(const Study& study, const Sensitivity& sensitivity, int64_t limit) {
  OrderedJson json;
  json["files"] = OrderedJson::array();
  for (const Study::SourceFile& file : study.files) {
    OrderedJson row = {{"role", file.role},   {"name", file.name}, {"sha256", file.sha256},
                       {"items", file.items}, {"used", file.used}, {"skipped", file.skipped}};
    if (!file.note.empty()) row["skipped_note"] = file.note;
    json["files"].push_back(std::move(row));
  }
  json["axes"] = OrderedJson::array();
  for (size_t a = 0; a < study.axes.size(); ++a) {
    std::vector<std::string> clusters;
    for (size_t i = 0; i < study.pairs.size(); ++i)
      if (study.axis_of[i] == static_cast<int32_t>(a)) clusters.push_back(study.pairs[i].pair.cluster);
    json["axes"].push_back({{"axis", study.axes[a]},
                            {"pairs", clusters.size()},
                            {"clusters", stats::cluster_by_name(clusters).num_clusters}});
  }
  json["nulls"] = OrderedJson::array();
  const int64_t train = static_cast<int64_t>(study.pairs_in(SplitPart::kTrain).size());
  for (const char* name : {"N1", "N2", "N3"}) {
    const auto pairs = sensitivity.null_pairs.find(name);
    const auto missing = sensitivity.missing.find(name);
    OrderedJson row = {{"null", name},
                       {"pairs", pairs == sensitivity.null_pairs.end() ? 0 : pairs->second},
                       {"missing", missing == sensitivity.missing.end() ? train : missing->second}};
    const auto built = study.built_nulls.find(name);
    std::string note;
    if (built != study.built_nulls.end())
      for (const auto& [reason, count] : built->second.without)
        note += fmt::format("{}{} pairs: {}", note.empty() ? "" : "; ", count, reason);
    else if (row["pairs"] == 0) note = "none was given";
    row["source"] = built != study.built_nulls.end() ? "built" : row["pairs"] == 0 ? "none" : "given";
    row["note"] = note;
    json["nulls"].push_back(std::move(row));
  }
  if (limit > 0) json["limit"] = limit;
  else put_null(json, "limit", "no --limit was given");
  return json;
}

OrderedJson splits_json(const Study& study, uint64_t seed) {
  OrderedJson json;
  json["seed"] = seed;
  json["seeds_checked"] = {seed, seed + 1, seed + 2, seed + 3, seed + 4};
  json["counts"] = OrderedJson::array();
  for (const auto& [set, splits] :
       {std::pair{"pairs", &study.pair_splits}, std::pair{"utility", &study.utility_splits}})
    for (size_t part = 0; part < 3; ++part)
      json["counts"].push_back({{"set", set},
                                {"split", name_of(static_cast<SplitPart>(part))},
                                {"items", splits->num_items[part]},
                                {"clusters", splits->num_clusters[part]}});
  return json;
}

std::string thresholds_text(const DiagnosisOptions& options, const Study& study, const std::string& fingerprint,
                            const std::vector<TestFamily>& families, const OrderedJson& candidates) {
  OrderedJson json;
  json["format"] = "fare-thresholds/1";
  json["model"] = fingerprint;
  json["seed"] = options.seed;
  json["profile"] = options.profile == StudyProfile::kSmall ? "small" : "full";
  json["thresholds"] = OrderedJson::object();
  for (const Margin& margin : margins()) json["thresholds"][margin.name] = options.thresholds.*margin.value;
  json["interval"] = stats::interval_name(options.interval);
  json["families"] = OrderedJson::array();
  for (const TestFamily& family : families)
    json["families"].push_back({{"name", family.name}, {"size", family.size}, {"members", family.members}});
  json["candidates"] = candidates;
  // The items, and the split of every item, by content.
  Sha256 items, splits;
  for (const EncodedPair& pair : study.pairs) items.add(pair.item);
  for (const EncodedUtility& item : study.utility) items.add(item.key);
  json["data_sha256"] = "sha256:" + items.hex();
  for (size_t i = 0; i < study.pairs.size(); ++i)
    splits.add(study.pairs[i].item).add(name_of(study.pair_splits.part[i]));
  for (size_t i = 0; i < study.utility.size(); ++i)
    splits.add(study.utility[i].key).add(name_of(study.utility_splits.part[i]));
  json["splits_sha256"] = "sha256:" + splits.hex();
  return json.dump(2) + "\n";
}

std::vector<std::string> settle_opening(const std::filesystem::path& folder, const std::string& text) {
  namespace fs = std::filesystem;
  const fs::path file = folder / "thresholds.json";
  if (fs::exists(file) && read_file(file) != text)
    throw ModelMismatch(file.string() +
                        ": the test split of this run was opened under other thresholds, splits or "
                        "candidates than those of this command; use another --out, or the same settings");
  const OrderedJson own = OrderedJson::parse(text);
  std::vector<std::string> notes;
  std::error_code failed;
  std::vector<fs::path> neighbours;
  for (const auto& entry : fs::directory_iterator(fs::absolute(folder).lexically_normal().parent_path(), failed))
    if (entry.path().filename() != fs::absolute(folder).lexically_normal().filename())
      neighbours.push_back(entry.path());
  std::sort(neighbours.begin(), neighbours.end());
  for (const fs::path& neighbour : neighbours) {
    if (!fs::is_regular_file(neighbour / "thresholds.json", failed) ||
        !fs::is_regular_file(neighbour / "report.json", failed))
      continue;  // without a report no number of the test split was seen
    const std::string fixed = read_file(neighbour / "thresholds.json");
    if (read_file(neighbour / "report.json").find(sha256_hex(fixed)) == std::string::npos)
      continue;  // touched since: says nothing
    const OrderedJson other = OrderedJson::parse(fixed, nullptr, false);
    if (!other.is_object() || other.value("model", "") != own.at("model") ||
        other.value("data_sha256", "") != own.at("data_sha256"))
      continue;                                // another model or other items
    if (other.dump() == own.dump()) continue;  // the same run again opens nothing new
    const std::string name = neighbour.filename().string();
    const bool same_seed = other.at("seed") == own.at("seed");
    const bool same_rules =
        other.at("thresholds") == own.at("thresholds") && other.value("interval", "percentile") == own.at("interval");
    if (same_seed && !same_rules)
      throw ModelMismatch(
          name +
          "/thresholds.json: the test split of these items was opened for this model under other margins, or "
          "another kind of interval, with the same seed; keep those, or name a new --seed: the report then says that "
          "it is a second opening");
    notes.push_back(
        fmt::format("not the first opening: the test items of this model were opened before in run '{}' ({} profile, "
                    "seed {}{})",
                    name, other.at("profile").get<std::string>(), other.at("seed").get<uint64_t>(),
                    same_rules ? "" : ", other margins or intervals"));
  }
  if (!fs::exists(file)) write_file(file, text);
  return notes;
}

OrderedJson thresholds_json(const DiagnosisOptions& options, const std::string& file_text,
                            const std::vector<TestFamily>& families, const std::vector<Need>& needs) {
  OrderedJson json;
  json["file"] = "thresholds.json";
  json["sha256"] = "sha256:" + sha256_hex(file_text);
  json["hash_checked"] = true;
  json["values"] = OrderedJson::array();
  for (const Margin& margin : margins())
    json["values"].push_back({{"name", margin.name},
                              {"value", options.thresholds.*margin.value},
                              {"unit", margin.unit},
                              {"meaning", margin.meaning}});
  json["interval"] = stats::interval_name(options.interval);
  json["families"] = OrderedJson::array();
  for (const TestFamily& family : families)
    json["families"].push_back({{"name", family.name}, {"size", family.size}, {"members", family.members}});
  json["needs"] = OrderedJson::array();
  for (const Need& need : needs)
    json["needs"].push_back({{"what", need.what}, {"needed", need.needed}, {"have", need.have}});
  return json;
}

}  // namespace fare
