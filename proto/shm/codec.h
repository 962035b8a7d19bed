// SPDX-License-Identifier: BSD-2-Clause
//
// Control messages to octets and back (control.h). The writer is given what our own code decided, so its misuse is a
// bug; the reader is given what the other side sent and refuses whatever the table of rules does not allow: every
// length is checked before it is used, a tag comes at most once, has its size, and belongs to its message.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "proto/base/bytes.h"
#include "proto/shm/control.h"

namespace netchan::shm {

using Octets16 = std::array<std::uint8_t, 16>;  // an address, a token

class MessageWriter {
 public:
  MessageWriter(Message, std::uint64_t correlation);

  MessageWriter& number(Tag, std::uint64_t);   // in the tag's width
  MessageWriter& text(Tag, std::string_view);  // cut to 255 octets
  MessageWriter& octets(Tag, Octets16);
  Bytes finish();                              // valid as long as the writer

 private:
  void put(Tag, const void* value, std::size_t size);

  Message type_;
  std::uint64_t correlation_;
  TagSet present_ = 0;
  std::size_t size_ = sizeof(MessageHeader);
  // Every text tag once at its longest, and all numbers: below 1.2 KiB.
  std::array<std::byte, 2048> octets_;
};

class MessageReader {
 public:
  // nullopt: not a message that `sender` may send. The octets must outlive the reader.
  static std::optional<MessageReader> parse(Bytes, Sender sender);

  Message type() const { return type_; }
  std::uint64_t correlation() const { return correlation_; }
  bool has(Tag tag) const { return (present_ & tags(tag)) != 0; }
  std::uint64_t number(Tag) const;   // 0 when it is not there
  std::string_view text(Tag) const;  // empty when it is not there; no zero octet inside
  Octets16 octets(Tag) const;        // zeros when it is not there

 private:
  Message type_ = Message::none;
  std::uint64_t correlation_ = 0;
  TagSet present_ = 0;
  std::array<Bytes, kTags> values_{};
};

}  // namespace netchan::shm
