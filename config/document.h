// SPDX-License-Identifier: BSD-2-Clause
//
// Document: a YAML file as a tree that knows where each node stands. yaml-cpp 0.7 is named only in document.cpp, and only
// its events are used: its own nodes forget duplicate keys, its loader ignores a second document, 017 becomes 15 and `<<`
// is half supported. Here a scalar stays the text that was written, a map keeps every key in the order of the file, and
// what YAML allows but nobody should write in a configuration is a complaint.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "config/complaints.h"
#include "config/config.h"

namespace netchan::config {

struct Node {
  enum class Kind { null, scalar, list, map };
  struct Entry;

  Kind kind = Kind::null;
  std::string text;            // scalar: as written, escapes resolved
  bool quoted = false;         // scalar: in quotes, so that it is text whatever it looks like
  Place place;                 // where it starts; 1, 1 is the first character
  std::vector<std::shared_ptr<const Node>> items;  // list
  std::vector<Entry> entries;  // map; duplicate keys still stand in it
  std::size_t weight = 1;      // nodes below it, aliases expanded: what a walk would visit
};

struct Node::Entry {
  std::string key;
  Place place;
  std::shared_ptr<const Node> value;
};

// A tree of more nodes than this, aliases expanded, is refused: a thousand flows with every field need 30,000.
inline constexpr std::size_t kMaxNodes = 100'000;
// A larger file is not a configuration that somebody wrote.
inline constexpr std::size_t kMaxFileSize = 4u << 20;

// Reads one document. With a complaint about the YAML itself there is no tree (nullptr), since nothing after it is certain.
std::shared_ptr<const Node> read_document(const std::string& text, Complaints&);

}  // namespace netchan::config
