// SPDX-License-Identifier: BSD-2-Clause
//
// The traps of yaml-cpp 0.7, one by one (docs/decisions/0050).
#include "config/document.h"

#include <doctest/doctest.h>

namespace netchan::config {
namespace {

std::shared_ptr<const Node> tree(const std::string& text) {
  const std::string name = "t";
  Complaints complaints(text, name);
  const auto root = read_document(text, complaints);
  CHECK(complaints.empty() == (root != nullptr));
  return root;
}

std::string complaint(const std::string& text) {
  const std::string name = "t";
  Complaints complaints(text, name);
  REQUIRE(read_document(text, complaints) == nullptr);
  try {
    complaints.throw_if_any();
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

bool says(const std::string& text, const std::string& words) { return complaint(text).find(words) != std::string::npos; }

TEST_CASE("both of two equal keys are there, each with its place") {
  const auto root = tree("a: 1\nb: 2\na: 3\n");
  REQUIRE(root->entries.size() == 3);
  CHECK(root->entries[2].key == "a");
  CHECK(root->entries[2].place.line == 3);
  CHECK(root->entries[2].value->text == "3");
}

TEST_CASE("a scalar stays the text that was written") {
  const auto root = tree("a: 017\nb: 0x10\nc: yes\nd: \"x\"\n");
  CHECK(root->entries[0].value->text == "017");
  CHECK(root->entries[1].value->text == "0x10");
  CHECK(root->entries[2].value->text == "yes");
  CHECK(!root->entries[2].value->quoted);
  CHECK(root->entries[3].value->quoted);
}

TEST_CASE("places count lines and characters from 1, also behind a byte order mark and CRLF") {
  const auto root = tree("\xef\xbb\xbf" "a: 1\r\n\"ü€\": ä\r\n");
  CHECK(root->entries[0].place.column == 1);
  CHECK(root->entries[1].value->place.line == 2);
  CHECK(root->entries[1].value->place.column == 7);
  CHECK(root->entries[0].value->text == "1");
}

TEST_CASE("an absent value has the place of its key") {
  const auto root = tree("a:\n\n\nb: 1\n");
  CHECK(root->entries[0].value->kind == Node::Kind::null);
  CHECK(root->entries[0].value->place.line == 1);
}

TEST_CASE("one document only, but its marks are fine") {
  CHECK(says("a: 1\n---\nb: 2\n", "second document"));
  CHECK(says("a: 1\n---\n", "second document"));
  CHECK(tree("%YAML 1.2\n---\na: 1\n...\n")->entries.size() == 1);
}

TEST_CASE("an unclosed quote is seen, a closed one of any kind is not") {
  CHECK(says("a: \"x\nb: 1\n", "never closed"));
  CHECK(says("a: 'x\n", "never closed"));
  CHECK(says("a: \"x\\\"\n", "never closed"));
  CHECK(tree("a: \"x\\\"y\"\nb: 'it''s'\nc: >\n  \"folded\nd: |\n  'block\n")->entries.size() == 4);
}

TEST_CASE("aliases are the same node; they cannot contain themselves, and what they expand to is counted") {
  const auto root = tree("a: &x [1, 2]\nb: *x\n");
  CHECK(root->entries[0].value == root->entries[1].value);
  CHECK(says("a: &a [*a]\n", "inside of what it stands for"));
  CHECK(says("a: *b\n", "not defined"));
  std::string bomb = "a0: &a0 [x, x]\n";
  for (int i = 1; i < 60; ++i)  // 2^60 nodes in 1.5 KB: a walk would never end
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + ", *a" + std::to_string(i - 1) + "]\n";
  CHECK(says(bomb, "too many values"));
}

TEST_CASE("merge keys, tags and keys that are no words are refused") {
  CHECK(says("a: &a {b: 1}\nc:\n  <<: *a\n", "merge keys"));
  CHECK(tree("\"<<\": 1\n") != nullptr);
  CHECK(says("a: !!str 1\n", "tags"));
  CHECK(says("a: !x [1]\n", "tags"));
  CHECK(says("[a]: 1\n", "key must be one word"));
  CHECK(says("{a: 1}: 1\n", "key must be one word"));
  CHECK(says("~: 1\n", "key must be one word"));
}

TEST_CASE("what is too deep, too large or no text is refused without reading it all") {
  CHECK(complaint("a: " + std::string(100'000, '[')).size() < 1000);
  CHECK(says(std::string(kMaxFileSize + 1, '#'), "the file is larger than a configuration can be"));
  CHECK(says(std::string(kMaxFileSize + 1, '#'), "the limit is 4MiB"));
  CHECK(says(std::string("a: 1\0b", 6), "UTF-8"));
  CHECK(says("", "empty"));
  CHECK(says("---\n", "empty"));
  CHECK(says("~\n", "empty"));
}

}  // namespace
}  // namespace netchan::config
