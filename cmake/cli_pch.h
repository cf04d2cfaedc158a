// Precompiled for the program: the headers of its floors and the command-line parser.
#pragma once
#include "torch_pch.h"

#include <CLI/CLI.hpp>
