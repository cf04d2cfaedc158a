// The files a benchmark expects in the data folder: found under several names, checked against a known hash.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace fare {

struct DataFile {
  std::string path;                      // below the data folder, as in docs/data.md
  std::vector<std::string> other_paths;  // upstream names that are accepted as well
  std::string sha256;                    // of the unpacked content; "" = not known
  int64_t num_records = 0;               // 0 = not known
  std::string licence;
  bool required = true;
};

// Where `file` lies: each name, then each name with ".gz", the table's own first. None when it is not there.
std::optional<std::filesystem::path> locate(const DataFile& file, const std::filesystem::path& data);

struct LoadedFile {
  std::string path;         // below the data folder, as found
  std::string sha256;       // of the unpacked content
  int64_t num_records = 0;  // set by the loader
  bool changed = false;     // hash or record count differ from the known ones; used because the user accepted it
  std::string content;      // unpacked; loaders clear it once parsed
};

// Reads and checks one file. Throws IoError naming every place that was tried when a file is missing, and FormatError
// naming both hashes when the content is not the known one and `accept_changed` is false.
LoadedFile load_data_file(const DataFile& file, const std::filesystem::path& data, bool accept_changed);

// Notes the number of records found. Throws FormatError when it is not the known one and `accept_changed` is false.
void check_num_records(LoadedFile& loaded, const DataFile& file, int64_t num_records, bool accept_changed);

}  // namespace fare
