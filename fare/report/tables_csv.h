// report.json -> comma-separated tables.
#pragma once

#include <map>
#include <string>

#include "fare/report/node.h"

namespace fare {

// "experts.csv" -> bytes, for every list of the report. Header line, then one line per row; an interval becomes
// NAME_low and NAME_high; null is an empty cell, its reason stands in the column NAME_reason; quoting as in RFC 4180.
std::map<std::string, std::string> csv_tables(const Node& report);

// One list of flat records, by the same rules.
std::string csv_of_rows(const OrderedJson& rows);

}  // namespace fare
