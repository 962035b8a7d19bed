// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/metrics/registry.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <sstream>

#include "proto/base/check.h"

namespace netchan::metrics {
namespace {

constexpr std::string_view kDropHelp = "Packets dropped, by where and why.";
constexpr std::string_view kVerdictNames[] = {
#define X(name, help) #name,
    STEER_VERDICTS(X)
#undef X
};

bool valid_name(std::string_view name, bool colons) {
  const auto letter = [colons](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':'); };
  return !name.empty() && letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

// The exposition is UTF-8, and one stray octet makes Prometheus refuse the whole scrape: what is no valid sequence (an
// interface may have any name) becomes '?'. Quotes, backslashes and newlines are escaped by the serializer.
std::string utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text[0]);
    std::size_t length = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : lead >= 0xe0 && lead < 0xf0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
    bool good = length > 0 && length <= text.size();
    for (std::size_t i = 1; good && i < length; ++i) good = (static_cast<unsigned char>(text[i]) & 0xc0) == 0x80;
    if (good && length >= 3) {  // overlong forms, surrogates, beyond U+10FFFF
      const auto second = static_cast<unsigned char>(text[1]);
      good = !(lead == 0xe0 && second < 0xa0) && !(lead == 0xed && second >= 0xa0) && !(lead == 0xf0 && second < 0x90) &&
             !(lead == 0xf4 && second >= 0x90);
    }
    if (!good) length = 1;
    out += good ? std::string(text.substr(0, length)) : "?";
    text.remove_prefix(length);
  }
  return out;
}

std::string one_line(std::string_view help) {
  std::string out = utf8(help);
  std::replace(out.begin(), out.end(), '\n', ' ');
  std::replace(out.begin(), out.end(), '\\', '/');  // the serializer does not escape help texts
  return out;
}

// Gathers one scrape: a family for each name, in the order of the names, so that two scrapes can be compared by eye.
class Families final : public Sink {
 public:
  void counter(const std::string& name, std::string_view help, const Labels& labels, double value) override {
    metric(name, help, labels, prometheus::MetricType::Counter).counter.value = value;
  }
  void gauge(const std::string& name, std::string_view help, const Labels& labels, double value) override {
    metric(name, help, labels, prometheus::MetricType::Gauge).gauge.value = value;
  }
  std::vector<prometheus::MetricFamily> take() {
    std::vector<prometheus::MetricFamily> all;
    for (auto& [name, family] : families_) all.push_back(std::move(family));
    return all;
  }

 private:
  prometheus::ClientMetric& metric(const std::string& name, std::string_view help, const Labels& labels, prometheus::MetricType type) {
    const auto [at, fresh] = families_.try_emplace(name);
    prometheus::MetricFamily& family = at->second;
    if (fresh) {
      CHECK(valid_name(name, true));
      family.name = name, family.help = one_line(help), family.type = type;
    }
    CHECK(family.type == type);  // one name, one meaning
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    for (const auto& [label, value] : labels) {
      CHECK(valid_name(label, false));
      metric.label.push_back({label, utf8(value)});
    }
    return metric;
  }

  std::map<std::string, prometheus::MetricFamily> families_;
};

Labels with(Labels labels, std::string name, std::string value) {
  labels.emplace_back(std::move(name), std::move(value));
  return labels;
}

}  // namespace

struct Registered {
  std::mutex mutex;  // held by a scrape from its first collector to its last
  std::uint64_t next_id = 1;
  std::map<std::uint64_t, std::function<void(Sink&)>> collectors;
};

Registration::~Registration() {
  if (const auto in = in_.lock()) {
    const std::lock_guard lock(in->mutex);
    in->collectors.erase(id_);
  }
}

Registry::Registry() : registered_(std::make_shared<Registered>()) {}
Registry::~Registry() = default;

Registration Registry::add_collector(std::function<void(Sink&)> collector) {
  const std::lock_guard lock(registered_->mutex);
  const std::uint64_t id = registered_->next_id++;
  registered_->collectors.emplace(id, std::move(collector));
  return {registered_, id};
}

Registration Registry::add_counter(std::string name, std::string help, Labels labels, std::function<double()> read) {
  return add_collector([name = std::move(name), help = std::move(help), labels = std::move(labels), read = std::move(read)](Sink& sink) {
    sink.counter(name, help, labels, read());
  });
}

Registration Registry::add_gauge(std::string name, std::string help, Labels labels, std::function<double()> read) {
  return add_collector([name = std::move(name), help = std::move(help), labels = std::move(labels), read = std::move(read)](Sink& sink) {
    sink.gauge(name, help, labels, read());
  });
}

Registration Registry::add_drops(Labels labels, const wire::DropCounters& drops) {
  labels.insert(labels.begin(), {"where", "worker"});
  return add_collector([labels = std::move(labels), &drops](Sink& sink) {
    sink.counter("netchan_drops_sum_total", "Packets dropped, counted as a whole: the sum over netchan_drops_total's reasons.", labels,
                 static_cast<double>(drops.total.get()));
    for (std::size_t i = 0; i < wire::kDropCount; ++i)
      sink.counter("netchan_drops_total", kDropHelp, with(labels, "reason", std::string(wire::kDropInfo[i].name)),
                   static_cast<double>(drops.by_reason[i].get()));
  });
}

Registration Registry::add_verdicts(const std::string& interface, std::function<Verdicts()> read) {
  return add_collector([interface, read = std::move(read)](Sink& sink) {
    constexpr std::string_view kDropped = "dropped_";
    const Verdicts verdicts = read();
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
      const std::string_view name = kVerdictNames[i];
      sink.counter("netchan_steer_packets_total", "Packets that the XDP program saw, by its verdict.",
                   {{"interface", interface}, {"verdict", std::string(name)}}, static_cast<double>(verdicts[i]));
      if (name.starts_with(kDropped))
        sink.counter("netchan_drops_total", kDropHelp,
                     {{"where", "xdp"}, {"interface", interface}, {"reason", std::string(name.substr(kDropped.size()))}},
                     static_cast<double>(verdicts[i]));
    }
  });
}

Registration Registry::add_port_mode(const std::string& interface, std::uint32_t queue, std::string_view mode) {
  return add_gauge("netchan_port_mode", "1 for the mode in which a queue's AF_XDP socket works: zero-copy, copy or generic.",
                   {{"interface", interface}, {"queue", std::to_string(queue)}, {"mode", std::string(mode)}}, [] { return 1.0; });
}

std::string Registry::text() const {
  Families families;
  {
    const std::lock_guard lock(registered_->mutex);
    for (const auto& [id, collect] : registered_->collectors) collect(families);
  }
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families.take());
  return out.str();
}

}  // namespace netchan::metrics
