#pragma once

// For tests and benchmarks: where the files beside the sources lie (goldens, documents, configurations).

#include <filesystem>

namespace fare {

// The folder that holds CMakeLists.txt, absolute, as it was when the program was built. One small file knows it, so
// that no other has to be compiled again for another clone.
std::filesystem::path source_folder();

}  // namespace fare
