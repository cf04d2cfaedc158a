#include "cli/validate_results.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <set>
#include <string>

#include "fare/core/error.h"
#include "fare/core/file.h"
#include "fare/core/json.h"
#include "fare/store/store.h"

namespace fare::cli {
namespace {

namespace fs = std::filesystem;

Finding counted(const char* title, const char* of_what, int64_t count) {
  Finding finding{title};
  finding.row(of_what, std::to_string(count));
  finding.fields[of_what] = count;
  return finding;
}

const Json& list_of(const Json& object, const char* key, const std::string& path, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end()) throw FormatError(path, where, fmt::format("field '{}' is missing", key));
  if (!found->is_array())
    throw FormatError(path, where, fmt::format("field '{}' must be a list, found {}", key, found->dump()));
  return *found;
}

int64_t count_of(const Json& object, const char* key, const std::string& path, const std::string& where) {
  const auto value = require<int64_t>(object, key, path, where);
  if (value < 0) throw FormatError(path, where, fmt::format("field '{}' is {}, a count is at least 0", key, value));
  return value;
}

// The token ids of a line and one log-probability for each; returns their sum.
double check_tokens(const Json& line, const std::string& path, const std::string& where) {
  const Json &ids = list_of(line, "token_ids", path, where),
             &logprobs = list_of(line, "token_logprobs_nats", path, where);
  if (ids.size() != logprobs.size())
    throw FormatError(path, where, fmt::format("{} token_ids but {} token_logprobs_nats", ids.size(), logprobs.size()));
  for (const Json& id : ids)
    if (!id.is_number_integer() || id < 0)
      throw FormatError(path, where, "token_ids holds " + id.dump() + ", which is no token id");
  double sum = 0;
  for (const Json& logprob : logprobs) {
    if (!logprob.is_number() || logprob > 1e-6)
      throw FormatError(path, where, "token_logprobs_nats holds " + logprob.dump() + ", which is no log-probability");
    sum += logprob.get<double>();
  }
  return sum;
}

void expect_format(const Json& object, const std::string& wanted, const std::string& path) {
  if (const auto found = require<std::string>(object, "format", path, ""); found != wanted)
    throw FormatError(path, "", fmt::format("field 'format' is '{}'; this version reads '{}'", found, wanted));
}

// No null without the reason beside it, no interval upside down.
void check_rules(const Json& value, const std::string& path, const std::string& place) {
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i) check_rules(value[i], path, fmt::format("{}[{}]", place, i));
  if (!value.is_object()) return;
  for (const auto& [key, inner] : value.items()) {
    const std::string here = place.empty() ? key : place + "." + key;
    if (inner.is_null()) {
      const auto reason = value.find(key + "_reason");
      if (reason == value.end() || !reason->is_string() || reason->get_ref<const std::string&>().empty())
        throw FormatError(path, here, fmt::format("is null without '{}_reason'", key));
    }
    if (key.ends_with("interval") && inner.is_array() && inner.size() == 2 && inner[0].is_number() &&
        inner[0] > inner[1])
      throw FormatError(path, here, inner.dump() + " is not [low, high]");
    check_rules(inner, path, here);
  }
}

void expect_one_of(const Json& object, const char* key, std::initializer_list<const char*> accepted,
                   const std::string& path, const std::string& where) {
  const auto found = require<std::string>(object, key, path, where);
  if (std::find(accepted.begin(), accepted.end(), found) == accepted.end())
    throw FormatError(path, where, fmt::format("field '{}' is '{}', which is none of the accepted ones", key, found));
}

}  // namespace

Finding check_scores(const fs::path& path) {
  const std::string file = path.string();
  std::set<std::string> ids;
  for_each_json_line(path, [&](const Json& line, size_t number) {
    const std::string where = fmt::format("line {}", number);
    const auto id = require<std::string>(line, "id", file, where);
    if (!ids.insert(id).second) throw FormatError(file, where, fmt::format("the id '{}' stands twice", id));
    const double sum = check_tokens(line, file, where), total = require<double>(line, "logprob_nats", file, where);
    if (std::abs(sum - total) > 1e-6 * std::max(1.0, std::abs(sum)))
      throw FormatError(file, where, fmt::format("logprob_nats is {}, but token_logprobs_nats sum to {}", total, sum));
    if (const int64_t n = count_of(line, "num_tokens", file, where);
        n != static_cast<int64_t>(line["token_ids"].size()))
      throw FormatError(file, where,
                        fmt::format("num_tokens is {}, but there are {} token_ids", n, line["token_ids"].size()));
    for (const char* key : {"context_tokens", "truncated_tokens"}) count_of(line, key, file, where);
    for (const char* key : {"is_greedy", "boundary_merge"}) require<bool>(line, key, file, where);
  });
  return counted("scores", "scores", static_cast<int64_t>(ids.size()));
}

Finding check_texts(const fs::path& path) {
  const std::string file = path.string();
  std::set<std::pair<std::string, int64_t>> texts;
  for_each_json_line(path, [&](const Json& line, size_t number) {
    const std::string where = fmt::format("line {}", number);
    const auto id = require<std::string>(line, "id", file, where);
    const int64_t sample = count_of(line, "sample", file, where);
    if (!texts.insert({id, sample}).second)
      throw FormatError(file, where, fmt::format("sample {} of '{}' stands twice", sample, id));
    check_tokens(line, file, where);
    expect_one_of(line, "finish", {"length", "eos", "stop"}, file, where);
    if (const auto text = line.find("text"); text == line.end() || !(text->is_string() || text->is_null()))
      throw FormatError(file, where, "field 'text' must be a text, or null without a tokenizer");
  });
  return counted("generated texts", "texts", static_cast<int64_t>(texts.size()));
}

Finding check_receipt(const fs::path& path) {
  const std::string file = path.string();
  const Json receipt = read_json_file(path);
  expect_format(receipt, "fare-receipt/1", file);
  count_of(receipt, "tokens", file, "");
  require<bool>(receipt, "no_effect", file, "");
  for (const char* key : {"intervention", "sha256"})
    if (const auto found = receipt.find(key); found == receipt.end() || !(found->is_string() || found->is_null()))
      throw FormatError(file, "", fmt::format("field '{}' must be a text or null", key));
  const auto layers = receipt.find("layers");
  if (layers == receipt.end() || !layers->is_object())
    throw FormatError(file, "", "field 'layers' must map layers to what happened there");
  for (const auto& [layer, done] : layers->items()) {
    const std::string where = "layer " + layer;
    const int64_t in_scope = count_of(done, "tokens_in_scope", file, where);
    if (count_of(done, "edits_applied", file, where) < in_scope)
      throw FormatError(file, where, "fewer edits_applied than tokens_in_scope");
    count_of(done, "experts_removed", file, where);
    for (const char* key : {"topk_changed_share", "gate_mass_moved"}) {
      if (done.contains(key) && done[key].is_null()) continue;  // check_rules asks for the reason
      if (const auto share = require<double>(done, key, file, where); !(share >= 0 && share <= 1 + 1e-6))
        throw FormatError(file, where, fmt::format("{} is {}, outside 0 to 1", key, share));
    }
    check_rules(done, file, where);
  }
  return counted("receipt", "layers", static_cast<int64_t>(layers->size()));
}

Finding check_report(const fs::path& path) {
  const std::string file = path.string();
  const Json report = read_json_file(path);
  if (const auto format = require<std::string>(report, "format", file, "");
      format == "fare-probe/1" || format == "fare-mask/1") {
    check_rules(report, file, "");
    return Finding{"report of a part of the diagnosis"};
  }
  expect_format(report, "fare-report/1", file);
  for (const char* part :
       {"headline", "model", "data", "thresholds", "splits", "self_checks", "calibration", "stages", "sensitivity",
        "router_profile", "experts", "search", "reach", "masking", "conditions", "generation", "profile", "runtime"})
    if (!report.contains(part)) throw FormatError(file, "", fmt::format("field '{}' is missing", part));
  const Json& headline = report["headline"];
  if (!headline.is_object()) throw FormatError(file, "headline", "must be an object");
  expect_one_of(headline, "code",
                {"no_measurable_preference", "insensitive", "unachievable", "non_robust", "costly", "does_not_transfer",
                 "controllable", "controllable_though_insensitive", "unresolved"},
                file, "headline");
  require<std::string>(headline, "sentence", file, "headline");
  const Json& stages = list_of(report, "stages", file, "");
  for (size_t i = 0; i < stages.size(); ++i) {
    const std::string where = fmt::format("stages[{}]", i);
    expect_one_of(stages[i], "answer", {"yes", "no", "unresolved", "not_run"}, file, where);
    require<std::string>(stages[i], "candidate", file, where);
    expect_one_of(stages[i], "control_class", {"static", "conditional", "router_only"}, file, where);
  }
  check_rules(report, file, "");
  Finding finding = counted("report", "stages", static_cast<int64_t>(stages.size()));
  finding.row("headline", headline["code"].get<std::string>());
  finding.fields["headline"] = headline["code"];
  return finding;
}

Finding check_rows(const fs::path& path) {
  if (!fs::exists(path)) throw IoError(path.string() + ": no such file");
  // A reader that may not write leaves the files of the write-ahead log behind.
  const Store store(path, ::access(path.c_str(), W_OK) == 0 ? Store::Mode::kReadWrite : Store::Mode::kReadOnly);
  store.for_each(
      {}, [&](const Row& row, const std::string&) { parse_json(row.value_json, path.string(), row.key.text()); });
  return counted("rows of a run", "rows", store.count());
}

Finding check_run(const fs::path& folder) {
  Finding finding = check_rows(folder / "rows.sqlite");
  finding.title = "run folder";
  if (!fs::exists(folder / "report.json")) {
    finding.note("no report.json: the run is not finished, or it is one of fare eval");
  } else {
    const Finding found = check_report(folder / "report.json");
    finding.rows.insert(finding.rows.end(), found.rows.begin(), found.rows.end());
    finding.fields.update(found.fields);
  }
  return finding;
}

}  // namespace fare::cli
