#include "fare/core/error.h"

#include <algorithm>
#include <numeric>

namespace fare {
namespace {

size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitution = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitution});
    }
  }
  return row[b.size()];
}

}  // namespace

FormatError::FormatError(const std::string& path, const std::string& where, const std::string& what)
    : Error(path + ": " + (where.empty() ? "" : where + ": ") + what) {}

std::string did_you_mean(const std::string& name, const std::vector<std::string>& known) {
  const size_t limit = std::max<size_t>(2, name.size() / 3);
  std::vector<std::pair<size_t, std::string>> near;
  for (const auto& candidate : known) {
    const size_t distance = edit_distance(name, candidate);
    if (distance <= limit) near.emplace_back(distance, candidate);
  }
  if (near.empty()) return "";
  std::sort(near.begin(), near.end());
  std::string text = "; did you mean '" + near[0].second + "'";
  for (size_t i = 1; i < std::min<size_t>(near.size(), 3); ++i) text += ", '" + near[i].second + "'";
  return text + "?";
}

}  // namespace fare
