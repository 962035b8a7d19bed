// SPDX-License-Identifier: BSD-2-Clause
#include "config/document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

namespace netchan::config {
namespace {

struct Stop {};  // thrown through yaml-cpp's parser once a complaint makes the rest uncertain

class Builder : public YAML::EventHandler {
 public:
  Builder(std::string_view text, Complaints& complaints) : complaints_(complaints) {
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      lines_.push_back(text.substr(at, end - at));
      at = end + 1;
    }
    text_ = text;
  }

  std::shared_ptr<const Node> root() const { return root_; }
  int documents() const { return documents_; }

  // yaml-cpp counts lines and octets from 0; people count lines and characters from 1.
  Place place(const YAML::Mark& mark) const {
    int column = 1;
    if (mark.line >= 0 && static_cast<std::size_t>(mark.line) < lines_.size())
      for (const char c : lines_[static_cast<std::size_t>(mark.line)].substr(0, static_cast<std::size_t>(mark.column)))
        column += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    return {mark.line + 1, column};
  }

  // yaml-cpp does not always say that a tab is what it stumbled over.
  bool tab_in(const YAML::Mark& mark) const {
    if (mark.line < 0 || static_cast<std::size_t>(mark.line) >= lines_.size()) return false;
    const std::string_view line = lines_[static_cast<std::size_t>(mark.line)];
    return line.substr(0, line.find_first_not_of(" \t")).find('\t') != line.npos;
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ > 0)
      stop(place(mark), "a second document starts here", "keep one document in the file: remove `---` and what follows");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { leaf(mark, anchor, Node::Kind::null, {}, false); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    refuse_tag(mark, tag);
    const bool quoted = tag == "!";
    if (quoted) check_closing_quote(mark);
    leaf(mark, anchor, Node::Kind::scalar, value, quoted);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (anchor == 0 || anchor > anchors_.size() || !anchors_[anchor - 1])
      stop(place(mark), "this alias is inside of what it stands for", "write the value out");
    give(mark, anchors_[anchor - 1]);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    std::shared_ptr<Node> node;
    YAML::anchor_t anchor;
    YAML::Mark mark;
    bool has_key = false;
    std::string key{};
    Place key_place{};
  };

  [[noreturn]] void stop(Place place, std::string what, std::string to_do) {
    complaints_.add(place, std::move(what), std::move(to_do));
    throw Stop{};
  }
  void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (tag != "?" && tag != "!" && !tag.empty())
      stop(place(mark), "tags have no meaning here", "remove the word that begins with `!`");
  }
  // yaml-cpp 0.7 takes the end of the file for the closing quote.
  void check_closing_quote(const YAML::Mark& mark) {
    std::size_t at = static_cast<std::size_t>(lines_[static_cast<std::size_t>(mark.line)].data() - text_.data()) +
                     static_cast<std::size_t>(mark.column);
    const char quote = at < text_.size() ? text_[at] : 0;
    if (quote != '"' && quote != '\'') return;  // a block scalar
    while (++at < text_.size()) {
      if (quote == '"' && text_[at] == '\\') ++at;
      else if (text_[at] == quote) return;
    }
    stop(place(mark), "this quote is never closed", std::string("add the closing ") + quote);
  }
  void remember(YAML::anchor_t anchor, std::shared_ptr<const Node> node) {
    if (anchor == 0) return;
    if (anchors_.size() < anchor) anchors_.resize(anchor);
    anchors_[anchor - 1] = std::move(node);
  }
  void leaf(const YAML::Mark& mark, YAML::anchor_t anchor, Node::Kind kind, std::string text, bool quoted) {
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->text = std::move(text);
    node->quoted = quoted;
    node->place = place(mark);
    remember(anchor, node);
    give(mark, std::move(node));
  }
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Node::Kind kind) {
    refuse_tag(mark, tag);
    auto node = std::make_shared<Node>();
    node->kind = kind;
    node->place = place(mark);
    open_.push_back({std::move(node), anchor, mark});
  }
  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    remember(done.anchor, done.node);
    give(done.mark, std::move(done.node));
  }
  // A finished node takes its place in the one around it.
  void give(const YAML::Mark& mark, std::shared_ptr<const Node> node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& around = open_.back();
    around.node->weight += node->weight;
    if (around.node->weight > kMaxNodes)
      stop(place(mark), "the file has too many values, aliases counted each time they are used",
           "write less, or fewer aliases (the limit is " + std::to_string(kMaxNodes) + ")");
    if (around.node->kind == Node::Kind::list) {
      around.node->items.push_back(std::move(node));
    } else if (!around.has_key) {
      if (node->kind != Node::Kind::scalar)
        stop(place(mark), "a key must be one word", "write `key: value`; text with special characters needs quotes");
      if (node->text == "<<" && !node->quoted)
        stop(place(mark), "merge keys (`<<`) are not read", "write the keys out");
      around.has_key = true;
      around.key = node->text;
      around.key_place = place(mark);
    } else {
      around.has_key = false;
      // An absent value has no place of its own (yaml-cpp names the next token's).
      if (node->kind == Node::Kind::null) {
        auto null = std::make_shared<Node>();
        null->place = around.key_place;
        node = std::move(null);
      }
      around.node->entries.push_back({std::move(around.key), around.key_place, std::move(node)});
    }
  }

  Complaints& complaints_;
  std::string_view text_;
  std::vector<std::string_view> lines_;
  std::vector<std::shared_ptr<const Node>> anchors_;  // by yaml-cpp's number - 1; empty while it is still open
  std::vector<Open> open_;
  std::shared_ptr<const Node> root_;
  int documents_ = 0;
};

// yaml-cpp's own words assume that one knows YAML's grammar; these say what usually happened.
std::string hint(std::string_view message) {
  if (message.find("bad file") != message.npos) return "brackets are nested far too deep";  // its depth guard's words
  if (message.find("tab") != message.npos) return "indent with spaces: YAML does not allow tabs";
  if (message.find("flow") != message.npos) return "look for a missing or surplus `}`, `]` or `,`";
  if (message.find("illegal map value") != message.npos) return "check the indentation; text with `: ` in it needs quotes";
  if (message.find("anchor") != message.npos) return "define it with `&name` before it is used, or put quotes around the text";
  if (message.find("escape") != message.npos) return "write a backslash twice, or use single quotes";
  if (message.find("unknown token") != message.npos) return "text that begins with a special character needs quotes";
  if (message.find("not found") != message.npos)
    return "check the indentation here and above; values like [::1]:80 need quotes";
  return "check the YAML here and in the line above";
}

}  // namespace

std::shared_ptr<const Node> read_document(const std::string& text, Complaints& complaints) {
  if (text.size() > kMaxFileSize) {
    complaints.add({}, "the file is larger than a configuration can be", "the limit is 4MiB");
    return nullptr;
  }
  if (const std::size_t zero = text.find('\0'); zero != text.npos || text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff")) {
    complaints.add({}, "this is not a text file in UTF-8", "save it as UTF-8");
    return nullptr;
  }
  const std::string_view body = text.starts_with("\xef\xbb\xbf") ? std::string_view(text).substr(3) : text;
  Builder builder(body, complaints);
  try {
    std::istringstream stream{std::string(body)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop&) {
    return nullptr;
  } catch (const YAML::Exception& e) {
    complaints.add(builder.place(e.mark), "this is not YAML: " + e.msg, builder.tab_in(e.mark) ? hint("tab") : hint(e.msg));
    return nullptr;
  }
  if (!builder.root() || builder.root()->kind == Node::Kind::null) {
    complaints.add({}, "the file is empty", "begin with `version: 1`");
    return nullptr;
  }
  return builder.root();
}

}  // namespace netchan::config
