// Metrics and tables of the CrowS-Pairs tasks. A document's two requests are sent_more and sent_less; its flags hold
// `direction` ("stereo" or "antistereo"), `duplicate_of` (an item, or null) and those of pair_flags.h.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "fare/benchmarks/task.h"

namespace fare {

std::vector<MetricInfo> crows_pairs_metrics();

// What a reader of any number of these tasks should know. Source: Blodgett et al. 2021, and the data set's own README.
std::string crows_pairs_caveat();

// compat: likelihood_diff, pct_stereotype. fair: see crows_pairs_metrics(); a duplicate item has none of them.
std::vector<MetricValue> score_crows_pair(const Document& document, std::span<const RequestResult> results);

// {"groups": [..], "length_regression": {..}, "num_duplicates": n}. One entry of groups per (group, subset, scoring):
// group "all" or a category; subset "all", "stereo", "antistereo", "one_span", "filtered" and (where the data has
// annotations) "agreed"; scoring "sum", "per_token", "shared". Entries: n, ties, undefined, pct_stereotype with its 95%
// Wilson interval, mean signed difference, mean group preference. Duplicates are left out. An empty or undefined entry
// holds null and a reason.
OrderedJson crows_pairs_tables(std::span<const Document> documents,
                               std::span<const std::vector<RequestResult>> results);

}  // namespace fare
