// SPDX-License-Identifier: BSD-2-Clause
//
// Control messages: what is written reads back, and nothing else is accepted.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "proto/shm/codec.h"
#include "proto/shm/status.h"

using namespace netchan;
using namespace netchan::shm;

namespace {

std::vector<std::byte> copy(Bytes b) { return {b.begin(), b.end()}; }

Octets16 sixteen(unsigned seed) {
  Octets16 octets{};
  for (std::size_t i = 0; i < octets.size(); ++i) octets[i] = static_cast<std::uint8_t>(seed * 7 + i);
  return octets;
}

// Every message with every tag it may have.
std::vector<std::byte> full_message(Message type) {
  MessageWriter w(type, 77);
  const MessageRule& rule = kMessageRules[static_cast<std::size_t>(type)];
  for (unsigned t = 1; t < kTags; ++t) {
    if (((rule.required | rule.optional) & 1u << t) == 0) continue;
    if (kTagSizes[t] == 0)
      w.text(static_cast<Tag>(t), "flow" + std::to_string(t));
    else if (kTagSizes[t] == 16)
      w.octets(static_cast<Tag>(t), sixteen(t));
    else
      w.number(static_cast<Tag>(t), 1000 + t);
  }
  return copy(w.finish());
}

std::vector<Message> all_messages() {
  std::vector<Message> all;
  for (std::size_t m = 1; m < kMessages; ++m) all.push_back(static_cast<Message>(m));
  return all;
}

}  // namespace

TEST_CASE("every message with all its tags reads back") {
  for (const Message m : all_messages()) {
    const auto octets = full_message(m);
    const auto read = MessageReader::parse(octets, Sender::either);
    REQUIRE(read);
    CHECK(read->type() == m);
    CHECK(read->correlation() == 77);
    const MessageRule& rule = kMessageRules[static_cast<std::size_t>(m)];
    for (unsigned t = 1; t < kTags; ++t) {
      const bool there = ((rule.required | rule.optional) & 1u << t) != 0;
      CHECK(read->has(static_cast<Tag>(t)) == there);
      if (kTagSizes[t] == 0)
        CHECK(read->text(static_cast<Tag>(t)) == (there ? "flow" + std::to_string(t) : std::string()));
      else if (kTagSizes[t] == 16)
        CHECK(read->octets(static_cast<Tag>(t)) == (there ? sixteen(t) : Octets16{}));
      else
        CHECK(read->number(static_cast<Tag>(t)) == (there ? 1000 + t : 0));
    }
  }
}

TEST_CASE("a side may send only its own messages") {
  for (const Message m : all_messages()) {
    const auto octets = full_message(m);
    const Sender sender = kMessageRules[static_cast<std::size_t>(m)].sender;
    CHECK(MessageReader::parse(octets, Sender::client).has_value() == (sender != Sender::daemon));
    CHECK(MessageReader::parse(octets, Sender::daemon).has_value() == (sender != Sender::client));
  }
}

TEST_CASE("every truncation and every appended octet is refused") {
  for (const Message m : all_messages()) {
    auto octets = full_message(m);
    for (std::size_t n = 0; n < octets.size(); ++n)
      CHECK_FALSE(MessageReader::parse(Bytes(octets).first(n), Sender::either));
    // A cut that the length admits to: only whole optional tags may be missing.
    for (std::size_t n = sizeof(MessageHeader); n < octets.size(); ++n) {
      auto cut = copy(Bytes(octets).first(n));
      store(cut.data(), static_cast<std::uint32_t>(n));
      if (const auto read = MessageReader::parse(cut, Sender::either)) CHECK(read->type() == m);
    }
    octets.push_back(std::byte{0});
    CHECK_FALSE(MessageReader::parse(octets, Sender::either));
  }
}

TEST_CASE("refused: tags that are doubled, foreign, missing, unknown or of the wrong size; text with a zero octet") {
  const auto message = [](std::initializer_list<std::pair<std::uint16_t, std::string>> tags, Message type) {
    std::vector<std::byte> octets(sizeof(MessageHeader));
    for (const auto& [tag, value] : tags) {
      const std::uint16_t header[2] = {tag, static_cast<std::uint16_t>(value.size())};
      const auto* h = reinterpret_cast<const std::byte*>(header);
      octets.insert(octets.end(), h, h + 4);
      const auto* v = reinterpret_cast<const std::byte*>(value.data());
      octets.insert(octets.end(), v, v + value.size());
    }
    store(octets.data(),
          MessageHeader{static_cast<std::uint32_t>(octets.size()), static_cast<std::uint16_t>(type), 0, 1});
    return octets;
  };
  const auto flow = static_cast<std::uint16_t>(Tag::flow), number = static_cast<std::uint16_t>(Tag::flow_number);
  const auto ok = [](const std::vector<std::byte>& o) { return MessageReader::parse(o, Sender::client).has_value(); };
  CHECK(ok(message({{flow, "orders"}}, Message::attach)));
  CHECK_FALSE(ok(message({{flow, "orders"}, {flow, "orders"}}, Message::attach)));
  CHECK_FALSE(ok(message({{flow, "orders"}, {number, "abcd"}}, Message::attach)));
  CHECK_FALSE(ok(message({}, Message::attach)));
  CHECK_FALSE(ok(message({{999, "x"}}, Message::attach)));
  CHECK_FALSE(ok(message({{0, "x"}}, Message::attach)));
  CHECK_FALSE(ok(message({{flow, std::string("a\0b", 3)}}, Message::attach)));
  CHECK_FALSE(ok(message({{flow, std::string(256, 'a')}}, Message::attach)));
  CHECK(ok(message({{flow, std::string(255, 'a')}}, Message::attach)));
  CHECK(ok(message({{number, "abcd"}}, Message::dial)));
  CHECK_FALSE(ok(message({{number, "abc"}}, Message::dial)));
  CHECK_FALSE(ok(message({{number, "abcde"}}, Message::dial)));
  auto header = message({{flow, "orders"}}, Message::attach);
  header[6] = std::byte{1};  // `zero`
  CHECK_FALSE(ok(header));
}

TEST_CASE("random octets and random flips never read outside and never pass as something else") {
  std::mt19937 random(1);
  for (int i = 0; i < 200'000; ++i) {
    auto octets = full_message(all_messages()[random() % (kMessages - 1)]);
    for (int flips = 1 + static_cast<int>(random() % 3); flips > 0; --flips)
      octets[random() % octets.size()] = static_cast<std::byte>(random());
    // An exact heap copy: a read beyond it is the sanitizer's.
    const std::vector<std::byte> exact(octets.begin(),
                                       octets.begin() + static_cast<std::ptrdiff_t>(random() % (octets.size() + 1)));
    if (const auto read = MessageReader::parse(exact, Sender::either)) {
      const MessageRule& rule = kMessageRules[static_cast<std::size_t>(read->type())];
      for (unsigned t = 1; t < kTags; ++t)
        if ((rule.required & 1u << t) != 0) CHECK(read->has(static_cast<Tag>(t)));
    }
  }
}

TEST_CASE("a text that is too long is cut, not refused") {
  MessageWriter w(Message::error, 1);
  w.number(Tag::status, static_cast<std::uint32_t>(Status::busy)).text(Tag::text, std::string(1000, 'x'));
  const auto octets = copy(w.finish());
  const auto read = MessageReader::parse(octets, Sender::daemon);
  REQUIRE(read);
  CHECK(read->text(Tag::text).size() == 255);
}
