#include "fare/models/experts.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>
#include <vector>

#include "fare/core/error.h"
#include "fare/models/device.h"
#include "fare/models/row_kernels.h"
#include "fare/routing/parallel_rows.h"

namespace fare {
namespace {

// (row, slot) pairs grouped by expert: group e is [first[e], first[e + 1]).
struct Grouped {
  std::vector<int64_t> first;
  std::vector<int64_t> row;       // row of each entry
  std::vector<int64_t> entry_TK;  // entry of (row, slot), -1 = absent slot
};

Grouped group_by_expert(const Route& route, int64_t num_experts) {
  const int64_t num_rows = route.ids_TK.size(0), k = route.ids_TK.size(1);
  const int32_t* ids = route.ids_TK.const_data_ptr<int32_t>();
  Grouped grouped;
  grouped.first.assign(static_cast<size_t>(num_experts + 1), 0);
  for (int64_t i = 0; i < num_rows * k; ++i)
    if (ids[i] >= 0) ++grouped.first[static_cast<size_t>(ids[i] + 1)];
  std::partial_sum(grouped.first.begin(), grouped.first.end(), grouped.first.begin());
  grouped.row.resize(static_cast<size_t>(grouped.first.back()));
  grouped.entry_TK.assign(static_cast<size_t>(num_rows * k), -1);
  std::vector<int64_t> next(grouped.first.begin(), grouped.first.end() - 1);
  for (int64_t i = 0; i < num_rows * k; ++i) {
    if (ids[i] < 0) continue;
    const int64_t entry = next[static_cast<size_t>(ids[i])]++;
    grouped.row[static_cast<size_t>(entry)] = i / k;
    grouped.entry_TK[static_cast<size_t>(i)] = entry;
  }
  return grouped;
}

// A product is prepared once for each number of rows, which costs time and half a megabyte: at most sixteen numbers
// between two powers of two are used, with rows of zeros up to the next (1 in 32 on average).
int64_t padded_rows(int64_t count) {
  const auto step = static_cast<int64_t>(std::max<uint64_t>(1, std::bit_floor(static_cast<uint64_t>(count)) / 16));
  return (count + step - 1) / step * step;
}

void copy_rows(const at::Tensor& from, const int64_t* rows, int64_t num_rows, at::Tensor& to) {
  const size_t row_bytes = static_cast<size_t>(from.size(1)) * from.element_size();
  const char* source = static_cast<const char*>(from.const_data_ptr());
  char* target = static_cast<char*>(to.mutable_data_ptr());
  for (int64_t i = 0; i < num_rows; ++i)
    std::memcpy(target + static_cast<size_t>(i) * row_bytes, source + static_cast<size_t>(rows[i]) * row_bytes,
                row_bytes);
}

// Weighted sum over slots, in slot order: y [T, D] float32. entry_rows[i]: output row of entry i.
template <typename Scalar>
at::Tensor combine(const Grouped& grouped, const std::vector<const void*>& entry_rows, const Route& route,
                   int64_t width) {
  const int64_t num_rows = route.ids_TK.size(0), k = route.ids_TK.size(1);
  at::Tensor y_TD = at::empty({num_rows, width}, at::kFloat);
  const float* weights = route.weights_TK.const_data_ptr<float>();
  float* y = y_TD.mutable_data_ptr<float>();
  parallel_rows(0, num_rows, 16, [&](int64_t begin, int64_t end) {
    std::fill(y + begin * width, y + end * width, 0.0f);
    for (int64_t i = begin * k; i < end * k; ++i)
      if (const int64_t entry = grouped.entry_TK[static_cast<size_t>(i)]; entry >= 0)
        kernels::add_scaled(static_cast<const Scalar*>(entry_rows[static_cast<size_t>(entry)]), weights[i], width,
                            y + i / k * width);
  });
  return y_TD;
}

// By tensor operations: differentiable, and on any device. Every sum runs in slot order.
at::Tensor routed_by_operations(const at::Tensor& x_TD, const Route& route, const Grouped& grouped, int64_t num_experts,
                                const std::function<ExpertWeights(int64_t)>& weights_of, MatmulBackend backend) {
  const auto on_device = [&](const std::vector<int64_t>& values) {
    return at::tensor(at::ArrayRef<int64_t>(values), at::kLong).to(x_TD.device());
  };
  const int64_t num_rows = route.ids_TK.size(0), k = route.ids_TK.size(1), num_entries = grouped.first.back();
  std::vector<int64_t> counts;
  for (int64_t e = 0; e < num_experts; ++e)
    counts.push_back(grouped.first[static_cast<size_t>(e + 1)] - grouped.first[static_cast<size_t>(e)]);
  // Split once: the gradient of a part taken alone is as large as the whole.
  const std::vector<at::Tensor> parts_x = x_TD.index_select(0, on_device(grouped.row)).split_with_sizes(counts);
  std::vector<at::Tensor> outputs;
  for (int64_t e = 0; e < num_experts; ++e)
    if (counts[static_cast<size_t>(e)] > 0)
      outputs.push_back(expert_output(parts_x[static_cast<size_t>(e)], weights_of(e), backend));
  outputs.push_back(at::zeros({1, x_TD.size(1)}, x_TD.options()));  // for absent slots
  std::vector<int64_t> entry_TK = grouped.entry_TK;
  std::replace(entry_TK.begin(), entry_TK.end(), int64_t{-1}, num_entries);
  const at::Tensor output_TKD = at::cat(outputs).index_select(0, on_device(entry_TK)).view({num_rows, k, x_TD.size(1)});
  return at::bmm(route.weights_TK.to(x_TD.device()).unsqueeze(1), output_TKD.to(at::kFloat)).squeeze(1);
}

// [M, I] in x's type.
at::Tensor clamped_activation(const at::Tensor& x_MD, const ClampedGate& gate, MatmulBackend backend) {
  const at::Tensor pairs = linear(x_MD, gate.weight_JD, gate.bias_J, backend);
  const int64_t num_rows = pairs.size(0), width = pairs.size(1) / 2;
  if (needs_operations(x_MD)) {
    const at::Tensor both = pairs.view({num_rows, width, 2});
    const at::Tensor g = both.select(-1, 0).clamp_max(gate.limit),
                     u = both.select(-1, 1).clamp(-gate.limit, gate.limit);
    return g * at::sigmoid(g * gate.alpha) * (u + 1);
  }
  at::Tensor out = at::empty({num_rows, width}, pairs.options());
  const auto run = [&](auto* to, const auto* from) {
    kernels::clamped_swiglu(from, static_cast<float>(gate.limit), static_cast<float>(gate.alpha), num_rows, width, to);
  };
  if (pairs.scalar_type() == at::kFloat) run(out.mutable_data_ptr<float>(), pairs.const_data_ptr<float>());
  else
    run(static_cast<kernels::Bf16*>(out.mutable_data_ptr()), static_cast<const kernels::Bf16*>(pairs.const_data_ptr()));
  return out;
}

}  // namespace

at::Tensor expert_output(const at::Tensor& x_MD, const ExpertWeights& w, MatmulBackend backend) {
  if (w.down_DI.device() != x_MD.device())
    return expert_output(x_MD.to(w.down_DI.device()), w, backend).to(x_MD.device());
  if (w.clamped) return linear(clamped_activation(x_MD, *w.clamped, backend), w.down_DI, w.down_bias_D, backend);
  const at::Tensor gate = linear(x_MD, w.gate_ID, w.gate_bias_I, backend);
  const at::Tensor up = linear(x_MD, w.up_ID, w.up_bias_I, backend);
  if (needs_operations(x_MD)) return linear(at::silu(gate) * up, w.down_DI, w.down_bias_D, backend);
  // Both are fresh tensors that nobody else holds.
  if (gate.scalar_type() == at::kFloat)
    kernels::silu_times(gate.mutable_data_ptr<float>(), up.const_data_ptr<float>(), gate.size(0), gate.size(1));
  else
    kernels::silu_times(static_cast<kernels::Bf16*>(gate.mutable_data_ptr()),
                        static_cast<const kernels::Bf16*>(up.const_data_ptr()), gate.size(0), gate.size(1));
  return linear(gate, w.down_DI, w.down_bias_D, backend);
}

at::Tensor routed_output(const at::Tensor& x_TD, const Route& route, int64_t num_experts,
                         const std::function<ExpertWeights(int64_t)>& weights_of, MatmulBackend backend) {
  const Grouped grouped = group_by_expert(route, num_experts);
  if (needs_operations(x_TD) || needs_operations(route.weights_TK))
    return routed_by_operations(x_TD, route, grouped, num_experts, weights_of, backend);

  std::vector<int64_t> busy;  // experts with rows, most rows first
  for (int64_t e = 0; e < num_experts; ++e)
    if (grouped.first[static_cast<size_t>(e + 1)] > grouped.first[static_cast<size_t>(e)]) busy.push_back(e);
  const auto count_of = [&](int64_t e) {
    return grouped.first[static_cast<size_t>(e + 1)] - grouped.first[static_cast<size_t>(e)];
  };
  std::stable_sort(busy.begin(), busy.end(), [&](int64_t a, int64_t b) { return count_of(a) > count_of(b); });

  const int64_t width = x_TD.size(1);
  std::vector<at::Tensor> outputs(static_cast<size_t>(num_experts));  // kept until they are combined
  std::vector<const void*> entry_rows(grouped.row.size());
  const auto run = [&](int64_t e) {
    const int64_t begin = grouped.first[static_cast<size_t>(e)], count = count_of(e);
    at::Tensor rows_x = at::empty({padded_rows(count), width}, x_TD.options());
    copy_rows(x_TD, grouped.row.data() + begin, count, rows_x);
    rows_x.narrow(0, count, rows_x.size(0) - count).zero_();
    const at::Tensor output = expert_output(rows_x, weights_of(e), backend).contiguous();
    const char* data = static_cast<const char*>(output.const_data_ptr());
    const size_t row_bytes = static_cast<size_t>(width) * output.element_size();
    for (int64_t i = 0; i < count; ++i)
      entry_rows[static_cast<size_t>(begin + i)] = data + static_cast<size_t>(i) * row_bytes;
    outputs[static_cast<size_t>(e)] = output;
  };

  const int64_t threads = at::get_num_threads();
  if (static_cast<int64_t>(busy.size()) >= 2 * threads && threads > 1) {
    // Threads over experts: each product runs on one thread. Experts are taken one by one, largest first.
    std::atomic<size_t> next{0};
    std::exception_ptr failure;
    std::mutex guard;
    parallel_rows(0, threads, 1, [&](int64_t, int64_t) {
      const at::NoGradGuard no_grad;
      for (size_t i = next++; i < busy.size(); i = next++) {
        try {
          run(busy[i]);
        } catch (...) {
          const std::lock_guard lock(guard);
          if (!failure) failure = std::current_exception();
          next = busy.size();
        }
      }
    });
    if (failure) std::rethrow_exception(failure);
  } else {
    for (const int64_t e : busy) run(e);
  }
  return x_TD.scalar_type() == at::kBFloat16 ? combine<kernels::Bf16>(grouped, entry_rows, route, width)
                                             : combine<float>(grouped, entry_rows, route, width);
}

}  // namespace fare
