// Text into HTML: escaping and numbers.
#pragma once

#include <string>
#include <string_view>

#include "fare/report/node.h"

namespace fare {

// Safe in element content and in quoted attributes; control characters become U+FFFD.
std::string escape_html(std::string_view text);

// "9.80" with `digits` decimals; a true minus sign, never "-0.0".
std::string fixed_text(double value, int digits);

// Three significant digits: "0.000312", "18.9"; whole numbers and those from 1000 on without places after the point,
// with thin spaces between thousands.
std::string compact_text(double value);

// "undefined: reason" (the reason is escaped here).
std::string undefined_html(const std::string& reason);

// The number of field `key`, or "undefined: reason". `digits` < 0: compact.
std::string number_html(const Node& object, const std::string& key, int digits);

// "[7.6, 12.0]" of field `key`, or "undefined: reason". `digits` as above.
std::string range_html(const Node& object, const std::string& key, int digits);

// "9.8 [7.6, 12.0]": value and interval in one phrase; only one "undefined" where both are null.
std::string value_with_range_html(const Node& object, const std::string& value_key, const std::string& range_key,
                                  int digits);

}  // namespace fare
