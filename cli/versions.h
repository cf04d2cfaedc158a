// What a result file records about the program that made it.
#pragma once

#include <map>
#include <string>

namespace fare::cli {

std::map<std::string, std::string> versions();  // fare, libtorch, compiler
std::string commit();                           // of the sources this was built from; "unknown" outside a repository

}  // namespace fare::cli
