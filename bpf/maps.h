/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The program's maps. Keys and values are steer_abi.h's; daemon/port/steering.cpp is the only writer, except of `verdicts`.
 */
#ifndef NETCHAN_BPF_MAPS_H
#define NETCHAN_BPF_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "bpf/steer_abi.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_FLOWS);
	__type(key, struct steer_flow);
	__type(value, struct steer_owner);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_LISTENERS);
	__type(key, struct steer_listener);
	__type(value, struct steer_owner);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_ADDRESSES);
	__type(key, struct steer_local);
	__type(value, __u8);
} addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_CONNECTS);
	__type(key, struct steer_connect);
	__type(value, struct steer_port_range);
} connects SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, STEER_MAX_BLOCKS);
	__type(key, struct steer_block);
	__type(value, __u64);
} blocks SEC(".maps");

/* By rx queue: a socket can only be reached from the queue that it is bound to. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, STEER_MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_VERDICT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");

#endif
