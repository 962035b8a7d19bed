// SPDX-License-Identifier: BSD-2-Clause
//
// Goodput by loss and RTT, in virtual time: one stream over a line of 20 Mbit/s, one seed a cell, so the figures are
// exact and the same everywhere. The committed table (goodput.txt) is a reviewed snapshot: a change of the engine that
// moves a cell shows in its diff.
#pragma once

#include <string>

namespace netchan::sim {

std::string goodput_table();
// 0: the file holds the table; with NETCHAN_GOLDEN_UPDATE set it is written.
int compare_goodput(const char* path);

}  // namespace netchan::sim
