// The frame of every page: head, style sheet, body.
#pragma once

#include <string>

namespace fare {

// A whole HTML document (also well-formed XML): no script, nothing loaded from anywhere, and a content policy that says
// so to the browser. `title` is plain text, `body` HTML.
std::string html_page(const std::string& title, const std::string& body);

}  // namespace fare
