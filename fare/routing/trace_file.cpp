#include "fare/routing/trace_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "fare/checkpoint/safetensors_file.h"
#include "fare/core/error.h"
#include "fare/core/json.h"

namespace fare {
namespace {

constexpr size_t kBytes = 4;  // of a float32 or int32

std::string tensor_name(int64_t layer, const std::string& what) {
  return "layers." + std::to_string(layer) + "." + what;
}

// Where everything lies. I64 first, so that the data are aligned for their types.
struct Layout {
  std::string preamble;                 // header length and header
  std::map<std::string, size_t> begin;  // byte offsets in the file
  size_t num_bytes = 0;                 // of the file
};

Layout lay_out(const TraceShape& shape) {
  const int64_t num_rows = static_cast<int64_t>(shape.token_ids.size());
  Layout layout;
  OrderedJson header;
  header["__metadata__"] = {{"format", "fare-trace/1"}};
  size_t offset = 0;
  const auto place = [&](const std::string& name, const std::string& dtype, const std::vector<int64_t>& dimensions) {
    size_t num_bytes = dtype == "I64" ? 8 : kBytes;
    for (const int64_t dimension : dimensions) num_bytes *= static_cast<size_t>(dimension);
    layout.begin[name] = offset;
    header[name] = {{"dtype", dtype}, {"shape", dimensions}, {"data_offsets", {offset, offset + num_bytes}}};
    offset += num_bytes;
  };
  place("offsets", "I64", {static_cast<int64_t>(shape.offsets.size())});
  place("token_ids", "I32", {num_rows});
  for (const int64_t layer : shape.layers) {
    place(tensor_name(layer, "router_logits"), "F32", {num_rows, shape.num_experts});
    place(tensor_name(layer, "expert_ids"), "I32", {num_rows, shape.num_slots});
    place(tensor_name(layer, "expert_weights"), "F32", {num_rows, shape.num_slots});
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  layout.preamble.resize(8);
  std::memcpy(layout.preamble.data(), &length, 8);
  layout.preamble += text;
  for (auto& [name, begin] : layout.begin) begin += layout.preamble.size();
  layout.num_bytes = layout.preamble.size() + offset;
  return layout;
}

}  // namespace

int64_t trace_file_bytes(const TraceShape& shape) { return static_cast<int64_t>(lay_out(shape).num_bytes); }

TraceFileWriter::TraceFileWriter(const std::filesystem::path& path, const TraceShape& shape)
    : num_rows_(static_cast<int64_t>(shape.token_ids.size())),
      num_experts_(shape.num_experts),
      num_slots_(shape.num_slots),
      file_(path, lay_out(shape).num_bytes) {
  FARE_CHECK(!shape.offsets.empty() && shape.offsets.front() == 0 && shape.offsets.back() == num_rows_,
             "offsets must run from 0 to the number of rows");
  const Layout layout = lay_out(shape);
  file_.write(0, layout.preamble.data(), layout.preamble.size());
  file_.write(layout.begin.at("offsets"), shape.offsets.data(), shape.offsets.size() * sizeof(int64_t));
  file_.write(layout.begin.at("token_ids"), shape.token_ids.data(), shape.token_ids.size() * kBytes);
  for (const int64_t layer : shape.layers)
    layers_[layer] = Layer{
        layout.begin.at(tensor_name(layer, "router_logits")), layout.begin.at(tensor_name(layer, "expert_ids")),
        layout.begin.at(tensor_name(layer, "expert_weights")), std::vector<uint8_t>(static_cast<size_t>(num_rows_), 0)};
}

void TraceFileWriter::write(int64_t layer, std::span<const int64_t> to_row, std::span<const int64_t> from_row,
                            const float* logits, const int32_t* ids, const float* weights, int64_t num_slots_given) {
  const auto found = layers_.find(layer);
  FARE_CHECK(found != layers_.end(), "layer " + std::to_string(layer) + " is not part of this trace");
  FARE_CHECK(to_row.size() == from_row.size(), "one source row per target row");
  Layer& target = found->second;
  const size_t num_experts = static_cast<size_t>(num_experts_), num_slots = static_cast<size_t>(num_slots_);
  const int64_t common = std::min(num_slots_, num_slots_given);
  constexpr size_t kLongestRun = 1024;  // rows gathered before they are written
  std::vector<float> logits_run, weights_run;
  std::vector<int32_t> ids_run;
  for (size_t begin = 0, end = 0; begin < to_row.size(); begin = end) {
    logits_run.clear();
    weights_run.clear();
    ids_run.clear();
    for (end = begin; end < to_row.size() && end - begin < kLongestRun &&
                      to_row[end] == to_row[begin] + static_cast<int64_t>(end - begin);
         ++end) {
      FARE_CHECK(to_row[end] >= 0 && to_row[end] < num_rows_, "a row that this trace does not have");
      const float* logits_E = logits + from_row[end] * num_experts_;
      const int32_t* ids_K = ids + from_row[end] * num_slots_given;
      const float* weights_K = weights + from_row[end] * num_slots_given;
      FARE_CHECK(std::all_of(ids_K + common, ids_K + num_slots_given, [](int32_t id) { return id < 0; }),
                 "more experts ran than this trace has slots");
      logits_run.insert(logits_run.end(), logits_E, logits_E + num_experts_);
      ids_run.insert(ids_run.end(), ids_K, ids_K + common);
      ids_run.resize(ids_run.size() + static_cast<size_t>(num_slots_ - common), -1);
      weights_run.insert(weights_run.end(), weights_K, weights_K + common);
      weights_run.resize(weights_run.size() + static_cast<size_t>(num_slots_ - common), 0.0f);
      target.written_T[static_cast<size_t>(to_row[end])] = 1;
    }
    const size_t row = static_cast<size_t>(to_row[begin]);
    file_.write(target.logits_begin + row * num_experts * kBytes, logits_run.data(), logits_run.size() * kBytes);
    file_.write(target.ids_begin + row * num_slots * kBytes, ids_run.data(), ids_run.size() * kBytes);
    file_.write(target.weights_begin + row * num_slots * kBytes, weights_run.data(), weights_run.size() * kBytes);
  }
}

void TraceFileWriter::commit() {
  for (const auto& [layer, state] : layers_) {
    const auto missing = std::find(state.written_T.begin(), state.written_T.end(), uint8_t{0});
    FARE_CHECK(missing == state.written_T.end(), "layer " + std::to_string(layer) + ", row " +
                                                     std::to_string(missing - state.written_T.begin()) +
                                                     " of the trace was never written");
  }
  file_.commit();
}

void write_trace_file(const std::filesystem::path& path, const RouteTable& routes, int64_t num_experts,
                      const std::map<int64_t, std::vector<float>>& router_logits) {
  TraceShape shape{routes.offsets, routes.token_ids, {}, num_experts, 1};
  for (const auto& [layer, stored] : routes.layers) {
    shape.layers.push_back(layer);
    shape.num_slots = std::max(shape.num_slots, stored.k);
  }
  std::vector<int64_t> rows(routes.token_ids.size());
  for (size_t t = 0; t < rows.size(); ++t) rows[t] = static_cast<int64_t>(t);
  TraceFileWriter writer(path, shape);
  for (const auto& [layer, stored] : routes.layers) {
    const auto logits = router_logits.find(layer);
    FARE_CHECK(logits != router_logits.end() && logits->second.size() == rows.size() * static_cast<size_t>(num_experts),
               "router logits of every row of layer " + std::to_string(layer));
    writer.write(layer, rows, rows, logits->second.data(), stored.ids.data(), stored.weights.data(), stored.k);
  }
  writer.commit();
}

namespace {

// Reads one trace; the members name the file in errors.
class TraceReader {
 public:
  explicit TraceReader(const std::filesystem::path& path) : path_(path.string()), file_(path) {}

  RouteTable read() const {
    RouteTable table;
    table.offsets = values<int64_t>("offsets", Dtype::kI64, 1);
    table.token_ids = values<int32_t>("token_ids", Dtype::kI32, 1);
    const int64_t num_rows = static_cast<int64_t>(table.token_ids.size());
    if (table.offsets.empty() || table.offsets.front() != 0 || table.offsets.back() != num_rows ||
        !std::is_sorted(table.offsets.begin(), table.offsets.end()))
      fail("offsets", "must rise from 0 to the number of rows, " + std::to_string(num_rows));
    for (const TensorInfo& info : file_.tensors())
      if (const int64_t layer = layer_of(info.name); layer >= 0) table.layers[layer] = read_layer(layer, num_rows);
    if (table.layers.empty()) fail("", "holds no tensor layers.{l}.expert_ids: it is not a trace of routes");
    return table;
  }

 private:
  [[noreturn]] void fail(const std::string& tensor, const std::string& what) const {
    throw FormatError(path_, tensor.empty() ? "" : "tensor '" + tensor + "'", what);
  }

  // The layer of "layers.{l}.expert_ids", -1 for other names.
  static int64_t layer_of(const std::string& name) {
    constexpr std::string_view kFront = "layers.", kBack = ".expert_ids";
    if (!name.starts_with(kFront) || !name.ends_with(kBack) || name.size() <= kFront.size() + kBack.size()) return -1;
    const char* begin = name.data() + kFront.size();
    const char* end = name.data() + name.size() - kBack.size();
    int32_t layer = -1;
    const auto [stopped, code] = std::from_chars(begin, end, layer);
    return code == std::errc() && stopped == end ? layer : -1;
  }

  TensorView view(const std::string& name, Dtype dtype, size_t rank) const {
    if (!file_.has(name)) fail(name, "is missing: the file is not a trace of routes (docs/trace.md)");
    const TensorView tensor = file_.tensor(name);
    if (tensor.dtype != dtype || tensor.shape.size() != rank)
      fail(name, "is " + std::string(dtype_name(tensor.dtype)) + " " + shape_text(tensor.shape) + ", expected " +
                     std::string(dtype_name(dtype)) + " of rank " + std::to_string(rank));
    return tensor;
  }

  template <typename T>
  std::vector<T> values(const std::string& name, Dtype dtype, size_t rank) const {
    return copy_values<T>(view(name, dtype, rank));
  }

  RouteTable::Layer read_layer(int64_t layer, int64_t num_rows) const {
    const std::string ids_name = tensor_name(layer, "expert_ids"), weights_name = tensor_name(layer, "expert_weights");
    const std::vector<int64_t> shape = view(ids_name, Dtype::kI32, 2).shape;
    if (shape[0] != num_rows || shape[1] < 1)
      fail(ids_name, "has shape " + shape_text(shape) + ", expected one row for each of the " +
                         std::to_string(num_rows) + " token ids and at least one slot");
    if (view(weights_name, Dtype::kF32, 2).shape != shape)
      fail(weights_name, "has shape " + shape_text(view(weights_name, Dtype::kF32, 2).shape) + ", but '" + ids_name +
                             "' has " + shape_text(shape));
    RouteTable::Layer routes{shape[1], values<int32_t>(ids_name, Dtype::kI32, 2),
                             values<float>(weights_name, Dtype::kF32, 2)};
    std::vector<int32_t> seen;
    for (int64_t t = 0; t < num_rows; ++t) {
      seen.clear();
      const auto at = " at row " + std::to_string(t);
      for (int64_t i = t * routes.k; i < (t + 1) * routes.k; ++i) {
        const int32_t id = routes.ids[i];
        if (id < -1) fail(ids_name, "has expert id " + std::to_string(id) + at);
        if (id >= 0 && std::find(seen.begin(), seen.end(), id) != seen.end())
          fail(ids_name, "names expert " + std::to_string(id) + " twice" + at);
        seen.push_back(id);
        if (!std::isfinite(routes.weights[i])) fail(weights_name, "has a weight that is not finite" + at);
        if (id < 0 && routes.weights[i] != 0) fail(weights_name, "has a weight for an absent slot" + at);
      }
    }
    return routes;
  }

  std::string path_;
  SafetensorsFile file_;
};

}  // namespace

RouteTable read_trace_file(const std::filesystem::path& path) { return TraceReader(path).read(); }

}  // namespace fare
