// An ordered list of edits with a name, read from a file and checked against a model.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "fare/core/json.h"
#include "fare/routing/edit.h"
#include "fare/routing/router_spec.h"

namespace fare {

// What an intervention needs to know about a model to be checked against it.
struct RoutedModel {
  std::string model_type;
  int64_t num_layers = 0;
  int64_t hidden_size = 0;          // numbers in the router's input
  std::vector<int64_t> moe_layers;  // decoder layer indices
  RouterSpec router;
  std::function<std::string()> fingerprint;  // computed only when the file names one
};

struct Intervention {
  std::string name;
  std::vector<Edit> edits;
  Json model = nullptr;  // the file's "model" block, or null
  std::string
      sha256;        // of the file's bytes, the hashes of its calibration files behind them; empty when built in memory
  std::string path;  // of that file, for errors; empty when built in memory

  // First decoder layer with an edit; -1 without edits.
  int64_t first_layer(const RoutedModel& model) const;
  // K of a trace: the largest number of experts that the edits allow in any layer for any row (E with top_p).
  int64_t num_slots(const RoutedModel& model) const;
  bool depends_on_request() const;  // some edit's rows cannot be shared between requests

  // Throws FormatError (path, edit index from 0, reason) on a broken file: unknown format, operation or field, wrong
  // number of values, a factor that is not finite, .. A force_routes file is read relative to `path`.
  static Intervention read(const std::filesystem::path& path);
  static Intervention parse(const Json& json, const std::string& path);
  OrderedJson to_json() const;

  // Throws ModelMismatch, the file's path before it, with both values (model block) or the edit's index and the reason
  // (unknown layer or expert, fewer than k experts left in mode refill, shared_scale without a shared expert, an edit
  // of a dense layer, ..).
  void check(const RoutedModel& model) const;
};

}  // namespace fare
