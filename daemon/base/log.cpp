// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/base/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace netchan::log {
namespace {

Level g_level = Level::info;  // set before threads start

// systemd.exec(5): JOURNAL_STREAM holds "device:inode" of the stream to the journal. It is inherited by children whose
// stderr leads elsewhere, so it counts only when it names our own stderr.
bool stderr_is_journal() {
  const char* text = std::getenv("JOURNAL_STREAM");
  struct stat status {};
  if (text == nullptr || fstat(STDERR_FILENO, &status) != 0) return false;
  return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == text;
}

std::string prefix(Level level) {
  static const bool journal = stderr_is_journal();
  if (journal) return "<" + std::to_string(static_cast<int>(level)) + ">";  // sd-daemon(3)
  switch (level) {
    case Level::error:
      return "netchand: error: ";
    case Level::warning:
      return "netchand: warning: ";
    case Level::debug:
      return "netchand: debug: ";
    default:
      return "netchand: ";
  }
}

}  // namespace

void set_level(Level level) { g_level = level; }

void write(Level level, std::string_view message) {
  if (level > g_level) return;
  // Each line of a message gets its own prefix: the journal would file a bare second line as "info".
  std::string text;
  while (true) {
    const std::size_t end = message.find('\n');
    text.append(prefix(level)).append(message.substr(0, end)).push_back('\n');
    if (end == std::string_view::npos || end + 1 == message.size()) break;
    message.remove_prefix(end + 1);
  }
  // One write, so that lines of two processes on one stderr do not mix. A log that cannot be written has nowhere to say
  // so.
  [[maybe_unused]] const ssize_t ignored = ::write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace netchan::log
