#include "fare/models/expert_rows.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <mutex>
#include <numeric>

#include "fare/models/row_kernels.h"
#include "fare/routing/parallel_rows.h"

namespace fare {
namespace {

int64_t padded_rows(int64_t count) {
  const auto step = static_cast<int64_t>(std::max<uint64_t>(1, std::bit_floor(static_cast<uint64_t>(count)) / 16));
  return (count + step - 1) / step * step;
}

template <typename Scalar>
void add_slots(const ExpertRows& rows, const std::vector<const void*>& entry_rows, const float* weights,
               int64_t num_rows, int64_t width, float* y) {
  const int64_t k = num_rows == 0 ? 0 : static_cast<int64_t>(rows.entry_TK.size()) / num_rows;
  parallel_rows(0, num_rows, 16, [&](int64_t begin, int64_t end) {
    std::fill(y + begin * width, y + end * width, 0.0f);
    for (int64_t i = begin * k; i < end * k; ++i)
      if (const int64_t entry = rows.entry_TK[static_cast<size_t>(i)]; entry >= 0)
        kernels::add_scaled(static_cast<const Scalar*>(entry_rows[static_cast<size_t>(entry)]),
                            weights == nullptr ? 1.0f : weights[i], width, y + i / k * width);
  });
}

}  // namespace

ExpertRows group_by_expert(const at::Tensor& ids_TK, int64_t num_experts) {
  const int64_t num_rows = ids_TK.size(0), k = ids_TK.size(1);
  const int32_t* ids = ids_TK.const_data_ptr<int32_t>();
  ExpertRows rows;
  rows.first.assign(static_cast<size_t>(num_experts + 1), 0);
  for (int64_t i = 0; i < num_rows * k; ++i)
    if (ids[i] >= 0) ++rows.first[static_cast<size_t>(ids[i] + 1)];
  std::partial_sum(rows.first.begin(), rows.first.end(), rows.first.begin());
  rows.row.resize(static_cast<size_t>(rows.first.back()));
  rows.place.resize(static_cast<size_t>(rows.first.back()));
  rows.entry_TK.assign(static_cast<size_t>(num_rows * k), -1);
  std::vector<int64_t> next(rows.first.begin(), rows.first.end() - 1);
  for (int64_t i = 0; i < num_rows * k; ++i) {
    if (ids[i] < 0) continue;
    const int64_t entry = next[static_cast<size_t>(ids[i])]++;
    rows.row[static_cast<size_t>(entry)] = i / k;
    rows.place[static_cast<size_t>(entry)] = i;
    rows.entry_TK[static_cast<size_t>(i)] = entry;
  }
  return rows;
}

at::Tensor gather_rows(const at::Tensor& x_TD, const ExpertRows& rows, int64_t expert) {
  const int64_t count = rows.count(expert);
  at::Tensor gathered_MD = at::empty({padded_rows(count), x_TD.size(1)}, x_TD.options());
  const size_t row_bytes = static_cast<size_t>(x_TD.size(1)) * x_TD.element_size();
  const int64_t* row = rows.row.data() + rows.first[static_cast<size_t>(expert)];
  const char* source = static_cast<const char*>(x_TD.const_data_ptr());
  char* target = static_cast<char*>(gathered_MD.mutable_data_ptr());
  for (int64_t i = 0; i < count; ++i)
    std::memcpy(target + static_cast<size_t>(i) * row_bytes, source + static_cast<size_t>(row[i]) * row_bytes,
                row_bytes);
  std::memset(target + static_cast<size_t>(count) * row_bytes, 0,
              static_cast<size_t>(gathered_MD.size(0) - count) * row_bytes);
  return gathered_MD;
}

at::Tensor combine(const ExpertRows& rows, const std::vector<at::Tensor>& outputs, const at::Tensor& weights_TK,
                   at::IntArrayRef shape_TD, at::ScalarType type) {
  const int64_t width = shape_TD[1];
  const size_t row_bytes = static_cast<size_t>(width) * c10::elementSize(type);
  std::vector<const void*> entry_rows(rows.row.size());
  for (int64_t e = 0; e < rows.num_experts(); ++e) {
    const size_t begin = static_cast<size_t>(rows.first[static_cast<size_t>(e)]);
    if (rows.count(e) == 0) continue;
    const char* data = static_cast<const char*>(outputs[static_cast<size_t>(e)].const_data_ptr());
    for (size_t i = 0; i < static_cast<size_t>(rows.count(e)); ++i) entry_rows[begin + i] = data + i * row_bytes;
  }
  at::Tensor y_TD = at::empty(shape_TD, at::kFloat);
  const float* weights = weights_TK.defined() ? weights_TK.const_data_ptr<float>() : nullptr;
  const auto add = type == at::kBFloat16 ? add_slots<kernels::Bf16> : add_slots<float>;
  add(rows, entry_rows, weights, shape_TD[0], width, y_TD.mutable_data_ptr<float>());
  return y_TD;
}

void for_busy_experts(const ExpertRows& rows, const std::function<void(int64_t expert)>& body) {
  std::vector<int64_t> busy;
  for (int64_t e = 0; e < rows.num_experts(); ++e)
    if (rows.count(e) > 0) busy.push_back(e);
  std::stable_sort(busy.begin(), busy.end(), [&](int64_t a, int64_t b) { return rows.count(a) > rows.count(b); });
  const int64_t threads = at::get_num_threads();
  if (threads <= 1 || static_cast<int64_t>(busy.size()) < 2 * threads) {
    for (const int64_t e : busy) body(e);
    return;
  }
  // Each product runs on one thread; experts are taken one by one.
  const bool with_grad = at::GradMode::is_enabled();
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex guard;
  parallel_rows(0, threads, 1, [&](int64_t, int64_t) {
    const at::AutoGradMode mode(with_grad);
    for (size_t i = next++; i < busy.size(); i = next++) {
      try {
        body(busy[i]);
      } catch (...) {
        const std::lock_guard lock(guard);
        if (!failure) failure = std::current_exception();
        next = busy.size();
      }
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace fare
