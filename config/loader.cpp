// SPDX-License-Identifier: BSD-2-Clause
//
// The loader: walks a document along the field table. It goes on after each complaint, so that one run shows them all.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/checks.h"
#include "config/complaints.h"
#include "config/document.h"
#include "config/fields.h"

namespace netchan::config {
namespace {

class Loader {
 public:
  Loader(Config& config, Complaints& complaints) : config_(config), complaints_(complaints) {}

  void section(const Section& table, const Node& node, void* into, const std::string& path) {
    if (node.kind != Node::Kind::map && node.kind != Node::Kind::null) {
      const bool no_space = node.kind == Node::Kind::scalar && node.text.find(':') != node.text.npos;
      complain(path, node.place, name(path) + " is not a map of settings",
               no_space ? "a space must follow the colon" : "write its settings as `" + std::string(table.fields[0].key) + ": ...`, one a line, indented below it");
      return;
    }
    std::vector<const Node::Entry*> seen;
    bool refused = false;  // a kind of flow that this version does not know stands in the place of one that it does
    for (const Node::Entry& entry : node.entries) {
      const auto twice = std::find_if(seen.begin(), seen.end(), [&](const auto* e) { return e->key == entry.key; });
      if (twice != seen.end()) {
        complain(path, entry.place, quote(entry.key) + " stands here a second time",
                 "keep one of the two; the other is in line " + std::to_string((*twice)->place.line));
        continue;
      }
      seen.push_back(&entry);
      const auto field = std::find_if(table.fields.begin(), table.fields.end(), [&](const Field& f) { return f.key == entry.key; });
      if (field == table.fields.end()) unknown(table, entry, path);
      else if (field->presence == Presence::not_yet)
        refused = true, complain(path, entry.place, quote(entry.key) + " is not in this version of netchan", "remove it, or wait for a later version");
      else read_field(*field, entry, into, join(path, entry.key));
    }
    for (const Field& field : table.fields) {
      if (field.presence != Presence::required || (field.section && refused)) continue;
      if (std::any_of(seen.begin(), seen.end(), [&](const auto* e) { return e->key == field.key; })) continue;
      const Place at = path.empty() ? Place{} : node.place;
      complain(path, at, (path.empty() ? "the file" : name(path)) + " has no " + quote(field.key),
               field.section ? "add `" + std::string(field.key) + ":`: " + std::string(field.sentence)
                             : "add `" + std::string(field.key) + ": " + example(field) + "`");
    }
  }

  const Broken& broken() const { return broken_; }

 private:
  void complain(const std::string& path, Place place, std::string what, std::string to_do) {
    broken_.paths.push_back(path);
    complaints_.add(place, std::move(what), std::move(to_do));
  }
  static std::string name(const std::string& path) { return path.empty() ? "the file" : "`" + path + "`"; }
  static std::string join(const std::string& path, std::string_view key) {
    return (path.empty() ? "" : path + ".") + std::string(key);
  }
  static std::string example(const Field& f) {
    return f.example.empty() ? show(f.kind, f.limits, f.get(nullptr).front()) : std::string(f.example);
  }

  void unknown(const Section& table, const Node::Entry& entry, const std::string& path) {
    std::vector<std::string_view> keys;
    std::string all;
    for (const Field& f : table.fields) {
      if (f.presence == Presence::not_yet) continue;
      keys.push_back(f.key);
      all += (all.empty() ? "" : ", ") + std::string(f.key);
    }
    std::string to_do = "the keys here are: " + all, of = path;
    if (const auto meant = nearest(entry.key, keys); !meant.empty()) {
      of = join(path, meant);  // what was meant is not read, either
      to_do = "did you mean " + quote(meant) + "?";
    } else if (const auto elsewhere = sections_with(entry.key); !elsewhere.empty()) {
      to_do = elsewhere.front().empty() ? "it stands at the left margin, not inside of another key" : "it belongs under `" + elsewhere.front() + "`";
    }
    complain(of, entry.place, "there is no " + quote(entry.key) + (path.empty() ? " at the top" : " in " + name(path)), to_do);
  }

  void read_field(const Field& field, const Node::Entry& entry, void* into, const std::string& path) {
    const Node& node = *entry.value;
    config_.places[path] = field.section || node.kind == Node::Kind::null ? entry.place : node.place;
    if (!field.list) {
      if (field.section) section(*field.section, node, field.open(into), path);
      else read_value(field, node, into, path);
      return;
    }
    if (node.kind == Node::Kind::null && field.section) return;  // every entry is commented out
    if (field.or_one && node.kind != Node::Kind::list) return read_value(field, node, into, path);
    if (node.kind != Node::Kind::list) {
      complain(path, config_.places[path], name(path) + " is not a list",
               field.section ? "begin each entry with `- `, indented below `" + entry.key + ":`"
                             : "write it in brackets: `" + entry.key + ": " + (node.kind == Node::Kind::scalar ? "[" + node.text + "]" : std::string(field.example)) + "`");
      return;
    }
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string item = path + "[" + std::to_string(i) + "]";
      config_.places[item] = node.items[i]->place;
      if (field.section) section(*field.section, *node.items[i], field.open(into), item);
      else read_value(field, *node.items[i], into, item);
    }
  }

  void read_value(const Field& field, const Node& node, void* into, const std::string& path) {
    if (node.kind == Node::Kind::null) {
      complain(path, node.place, name(path) + " has no value", "write " + describe(field.kind, field.limits) + ", or remove the key");
      return;
    }
    if (node.kind != Node::Kind::scalar) {
      // [::1]:80 without quotes is a list to YAML.
      const bool brackets = node.kind == Node::Kind::list && (field.kind == Kind::endpoint || field.kind == Kind::address ||
                                                              field.kind == Kind::destination);
      complain(path, node.place, name(path) + " is a " + (node.kind == Node::Kind::list ? "list" : "map") + ", not one value",
               brackets ? "an address in brackets needs quotes" : "write " + describe(field.kind, field.limits));
      return;
    }
    Value value;
    if (const Trouble trouble = read(field.kind, field.limits, node.text, value))
      complain(path, node.place, name(path) + " " + trouble.what, trouble.to_do);
    else
      field.put(into, value);
  }

  Config& config_;
  Complaints& complaints_;
  Broken broken_;
};

}  // namespace

Config parse(const std::string& text, const std::string& name, const Machine& machine) {
  Config config;
  config.file = name;
  config.text = text;
  Complaints complaints(config.text, config.file);
  if (const auto root = read_document(config.text, complaints)) {
    Loader loader(config, complaints);
    loader.section(kRoot, *root, &config, "");
    for (std::size_t i = 0; i < config.interfaces.size(); ++i)
      config.interfaces[i].place = config.place("interfaces[" + std::to_string(i) + "].name");
    for (std::size_t i = 0; i < config.flows.size(); ++i) {
      Flow& flow = config.flows[i];
      flow.place = config.place("flows[" + std::to_string(i) + "].name");
      // What a SYN promises is never more than the log that will stand behind it.
      flow.tcp.params.initial_window = std::min(flow.tcp.params.initial_window, flow.tcp.receive_buffer);
    }
    check(config, machine, loader.broken(), complaints);
  }
  complaints.throw_if_any();
  return config;
}

Config load(const std::string& path, const Machine& machine) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text;
  // One octet beyond the limit is enough to know: a device or a pipe may never end.
  text.resize(kMaxFileSize + 1);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (!file.eof() && text.size() <= kMaxFileSize)
    throw Error(render("", path, {}, std::string("cannot be read: ") + std::strerror(errno != 0 ? errno : EIO),
                       "name a file that netchand's user may read; `netchand --default-config` prints one to begin with"),
                1);
  return parse(text, path, machine);
}

Config load(const std::string& path) { return load(path, Machine::here()); }

Place Config::place(std::string_view path) const {
  while (!path.empty()) {
    if (const auto found = places.find(path); found != places.end()) return found->second;
    const std::size_t cut = path.find_last_of(".[");
    path = path.substr(0, cut == path.npos ? 0 : cut);
  }
  return {};
}

std::string explain(const Config& config, Place place, const std::string& message, const std::string& what_to_do) {
  return render(config.text, config.file, place, message, what_to_do);
}

}  // namespace netchan::config
