// SPDX-License-Identifier: BSD-2-Clause
//
// Log lines for people and the journal: to stderr, one line each, with the <N> priority prefix when stderr is the
// journal (JOURNAL_STREAM). Main and start-up only; workers count and tell main by mailbox. Never per packet.
#pragma once

#include <string_view>

namespace netchan::log {

enum class Level { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };
void set_level(Level);
void write(Level, std::string_view message);
inline void error(std::string_view m) { write(Level::error, m); }
inline void warning(std::string_view m) { write(Level::warning, m); }
inline void notice(std::string_view m) { write(Level::notice, m); }
inline void info(std::string_view m) { write(Level::info, m); }
inline void debug(std::string_view m) { write(Level::debug, m); }

}  // namespace netchan::log
