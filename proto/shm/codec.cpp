// SPDX-License-Identifier: BSD-2-Clause
#include "proto/shm/codec.h"

#include <algorithm>

#include "proto/base/check.h"

namespace netchan::shm {
namespace {

struct TagHeader {
  std::uint16_t tag;
  std::uint16_t length;  // of the value that follows, without padding
};

constexpr std::size_t kLongestText = 255;

}  // namespace

MessageWriter::MessageWriter(Message type, std::uint64_t correlation) : type_(type), correlation_(correlation) {}

void MessageWriter::put(Tag tag, const void* value, std::size_t size) {
  const MessageRule& rule = kMessageRules[static_cast<std::size_t>(type_)];
  CHECK(((rule.required | rule.optional) & tags(tag)) != 0 && (present_ & tags(tag)) == 0);
  CHECK(size_ + sizeof(TagHeader) + size <= octets_.size());
  present_ |= tags(tag);
  store(octets_.data() + size_, TagHeader{static_cast<std::uint16_t>(tag), static_cast<std::uint16_t>(size)});
  size_ += sizeof(TagHeader);
  if (size != 0) std::memcpy(octets_.data() + size_, value, size);
  size_ += size;
}

MessageWriter& MessageWriter::number(Tag tag, std::uint64_t value) {
  const std::size_t size = kTagSizes[static_cast<std::size_t>(tag)];
  CHECK(size == 8 || (size == 4 && value >> 32 == 0));
  put(tag, &value, size);  // little-endian: the low octets come first
  return *this;
}

MessageWriter& MessageWriter::text(Tag tag, std::string_view value) {
  CHECK(kTagSizes[static_cast<std::size_t>(tag)] == 0);
  put(tag, value.data(), std::min(value.size(), kLongestText));
  return *this;
}

MessageWriter& MessageWriter::octets(Tag tag, Octets16 value) {
  CHECK(kTagSizes[static_cast<std::size_t>(tag)] == value.size());
  put(tag, value.data(), value.size());
  return *this;
}

Bytes MessageWriter::finish() {
  const MessageRule& rule = kMessageRules[static_cast<std::size_t>(type_)];
  CHECK((rule.required & ~present_) == 0);
  store(octets_.data(),
        MessageHeader{static_cast<std::uint32_t>(size_), static_cast<std::uint16_t>(type_), 0, correlation_});
  return Bytes(octets_).first(size_);
}

std::optional<MessageReader> MessageReader::parse(Bytes octets, Sender sender) {
  if (octets.size() < sizeof(MessageHeader) || octets.size() > kMaxMessage) return std::nullopt;
  const auto header = load<MessageHeader>(octets.data());
  if (header.length != octets.size() || header.zero != 0) return std::nullopt;
  if (header.type == 0 || header.type >= kMessages) return std::nullopt;
  const MessageRule& rule = kMessageRules[header.type];
  if ((static_cast<unsigned>(rule.sender) & static_cast<unsigned>(sender)) == 0) return std::nullopt;

  MessageReader reader;
  reader.type_ = static_cast<Message>(header.type);
  reader.correlation_ = header.correlation;
  for (Bytes rest = octets.subspan(sizeof header); !rest.empty();) {
    if (rest.size() < sizeof(TagHeader)) return std::nullopt;
    const auto tag = load<TagHeader>(rest.data());
    rest = rest.subspan(sizeof tag);
    if (tag.tag == 0 || tag.tag >= kTags || tag.length > rest.size()) return std::nullopt;
    const TagSet bit = 1u << tag.tag;
    if (((rule.required | rule.optional) & bit) == 0 || (reader.present_ & bit) != 0) return std::nullopt;
    const Bytes value = rest.first(tag.length);
    if (const std::size_t size = kTagSizes[tag.tag]; size != 0) {
      if (value.size() != size) return std::nullopt;
    } else if (value.size() > kLongestText || std::find(value.begin(), value.end(), std::byte{0}) != value.end()) {
      return std::nullopt;
    }
    reader.present_ |= bit;
    reader.values_[tag.tag] = value;
    rest = rest.subspan(tag.length);
  }
  if ((rule.required & ~reader.present_) != 0) return std::nullopt;
  return reader;
}

std::uint64_t MessageReader::number(Tag tag) const {
  const Bytes value = values_[static_cast<std::size_t>(tag)];
  std::uint64_t number = 0;
  if (!value.empty()) std::memcpy(&number, value.data(), std::min(value.size(), sizeof number));
  return number;
}

std::string_view MessageReader::text(Tag tag) const {
  const Bytes value = values_[static_cast<std::size_t>(tag)];
  return {reinterpret_cast<const char*>(value.data()), value.size()};
}

Octets16 MessageReader::octets(Tag tag) const {
  const Bytes value = values_[static_cast<std::size_t>(tag)];
  Octets16 octets{};
  if (value.size() == octets.size()) std::memcpy(octets.data(), value.data(), octets.size());
  return octets;
}

}  // namespace netchan::shm
