/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switch's tables. They are pinned and outlive the program and whoever
 * loaded it, so a layout here never changes: a new feature gets a new table or
 * a reserved word, which is zero until then.
 *
 * Ports are in host order, addresses as they stand in a packet.
 */
#ifndef ATOLL_TABLES_H
#define ATOLL_TABLES_H

#include "abi.h"

/* Who sits behind a host end. */
struct port {
	__u32 network;
	__be32 addr;
	__u16 mac[3];
	__u16 flags;
	__u32 group; /* what policies know it as; 0: by "any" alone */
	__u32 reserved;
};

struct member_key {
	__u32 network;
	__be32 addr;
};

/* Where a member of a network is: the host end of its veth. */
struct member {
	__u32 ifindex;
	__u16 mac[3];
	__u16 flags;
	__u32 group;
	__u32 reserved;
};

/* Keyed by the ifindex of the host end, in the switch namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct port);
} pn_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct member_key);
	__type(value, struct member);
} pn_members SEC(".maps");

/* Room for reasons to come without changing the size of a pinned table. */
#define DROP_SLOTS 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} pn_drops SEC(".maps");

/* Which fields of a rule say something: all ones, or zeroes for "any". */
struct shape {
	__u32 from;
	__u32 to;
	__u16 port;
	__u8 protocol;
	__u8 reserved;
};

#define SHAPES 16

/* The policy of a network; one without an entry is open. A change of rules
 * makes a new version under a new id, and one write here puts it in force. */
struct policy {
	__u32 id; /* of its rules in pn_rules */
	__u32 mode;
	__u32 shapes; /* how many of shape are used */
	__u32 reserved;
	/* Those its rules have, each once: a look-up for each finds every rule
	 * there may be. */
	struct shape shape[SHAPES];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct policy);
} pn_policies SEC(".maps");

/* A rule: who may open connections to which port of whom. 0 is "any". */
struct rule_key {
	__u32 policy;
	__u32 from;
	__u32 to;
	__u16 port;
	__u8 protocol;
	__u8 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct rule_key);
	__type(value, __u32);
} pn_rules SEC(".maps");

/* Two ends of a conversation in an order that does not depend on who sends. */
struct pair_key {
	__u32 network;
	__be32 low;
	__be32 high;
	__u16 low_port;
	__u16 high_port;
	__u32 protocol;
};

/* When each end last sent something as a client, 0 if never; low one first. */
struct opened {
	__u64 by[2];
};

/* Of TCP, which must not be forgotten because somebody sends datagrams. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct pair_key);
	__type(value, struct opened);
} pn_connections SEC(".maps");

/* Of all other protocols. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct pair_key);
	__type(value, struct opened);
} pn_opened SEC(".maps");

/* What a first fragment said of the rest of its packet. */
struct fragment_key {
	__u32 network;
	__be32 from;
	__be32 to;
	__be16 id;
	__u8 protocol;
	__u8 reserved;
};

struct fragment {
	__u64 seen;
	__u16 from_port;
	__u16 to_port;
	__u8 protocol;
	__u8 kind;
	__u16 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_key);
	__type(value, struct fragment);
} pn_fragments SEC(".maps");

/* Who talked to whom. */
struct flow_key {
	__u32 network;
	__be32 client;
	__be32 server;
	__u32 client_group;
	__u32 server_group;
	__u16 port; /* the server's */
	__u8 protocol;
	__u8 verdict;
};

struct flow {
	__u64 packets; /* from the client to the server */
	__u64 bytes;
	__u64 reply_packets;
	__u64 reply_bytes;
	__u64 seen;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct flow_key);
	__type(value, struct flow);
} pn_flows SEC(".maps");

/* What was dropped between whom. */
struct drop_key {
	__u32 network;
	__be32 from; /* the port's own address, whatever the frame says */
	__be32 to;   /* 0: the frame names none, or there are too many */
	__u32 group; /* the port's */
	__u32 reason;
	__u32 reserved;
};

struct dropped {
	__u64 count;
	__u64 seen;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct drop_key);
	__type(value, struct dropped);
} pn_dropped SEC(".maps");

/* How many entries each port has added to the tables that forget, in the
 * current second. Interface numbers only rise, and two ports that are there at
 * the same time have one slot only if theirs differ by a multiple of
 * PACE_SLOTS. */
#define PACE_SLOTS 65536

enum pace_of {
	PACE_CONNECTIONS = 0,
	PACE_OPENED = 1,
	PACE_FRAGMENTS = 2,
	PACE_FLOWS = 3,
	PACE_DROPPED = 4,
	PACES = 6, /* an even number, for the size of struct pace */
};

struct pace {
	__u64 second;
	__u32 added[PACES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PACE_SLOTS);
	__type(key, __u32);
	__type(value, struct pace);
} pn_pace SEC(".maps");

#endif
