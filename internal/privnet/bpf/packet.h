/* SPDX-License-Identifier: Apache-2.0 */
/* Frames: their layouts, and what the switch reads of a packet. */
#ifndef ATOLL_PACKET_H
#define ATOLL_PACKET_H

#include "pace.h"

#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

#define TCP_SYN 0x02
#define TCP_ACK 0x10

#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12

#define FRAGMENT_OFFSET 0x1fff
#define MORE_FRAGMENTS 0x2000

/* How long the rest of a packet may come after its first fragment: as long as
 * the receiver waits for it. */
#define FRAGMENT_WAIT (30 * 1000000000ULL)

struct ethernet {
	__u16 to[3];
	__u16 from[3];
	__be16 type;
};

struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_len;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 check;
	__be32 from;
	__be32 to;
} __attribute__((packed, aligned(2)));

struct arp {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 op;
	__u16 sender_mac[3];
	__be32 sender;
	__u16 target_mac[3];
	__be32 target;
} __attribute__((packed, aligned(2)));

/* The beginnings of TCP, UDP and ICMP. */
struct tcp {
	__be16 from_port;
	__be16 to_port;
	__u16 numbers[4];
	__u8 offset;
	__u8 flags;
	__u16 rest[3];
};

struct udp {
	__be16 from_port;
	__be16 to_port;
	__u16 rest[2];
};

struct icmp {
	__u8 type;
	__u8 code;
	__u16 check;
	__be16 id;
	__u16 sequence;
};

struct ipv4_frame {
	struct ethernet eth;
	struct ipv4 ip;
} __attribute__((packed, aligned(2)));

struct arp_frame {
	struct ethernet eth;
	struct arp arp;
} __attribute__((packed, aligned(2)));

struct tcp_frame {
	struct ipv4_frame outer;
	struct tcp tcp;
} __attribute__((packed, aligned(2)));

struct udp_frame {
	struct ipv4_frame outer;
	struct udp udp;
} __attribute__((packed, aligned(2)));

struct icmp_frame {
	struct ipv4_frame outer;
	struct icmp icmp;
} __attribute__((packed, aligned(2)));

/* An ICMP error quotes the packet it is about: at least its IP header and 8
 * bytes more. */
struct icmp_error_frame {
	struct icmp_frame outer;
	struct ipv4 ip;
	union {
		struct udp ports; /* also those of TCP */
		struct icmp icmp;
	};
} __attribute__((packed, aligned(2)));

/* What a packet can be to a conversation. */
enum kind {
	BROKEN = 0,   /* no ports to be had: nothing but openness lets it pass */
	OPENING = 1,  /* from a client, without doubt */
	ANSWER = 2,   /* from a server, without doubt */
	MIDDLE = 3,   /* of a TCP connection, from either side */
	DATAGRAM = 4, /* from a client; or from a server, if a client has asked */
	ERROR = 5,    /* an ICMP error about what the receiver sent */
};

/* A packet on its way from one member to another. */
struct packet {
	__u64 now;
	__u32 network;
	__u32 ifindex; /* of the port it came in on */
	__be32 from;
	__be32 to;
	__u32 from_group;
	__u32 to_group;
	__u32 bytes;   /* of IP */
	__u16 from_port;
	__u16 to_port; /* of an echo, both are its id */
	__u8 protocol; /* of an ICMP error: of the packet it is about */
	__u8 kind;
	__u8 reply;    /* the sender is the server */
	__u8 verdict;
	__u8 can;      /* what it may be: AS_CLIENT, AS_SERVER */
	__u8 high;     /* the sender is the high end of the conversation */
	__u16 fragment;
	__be16 id;
	__u8 ip_protocol;
};

/* The packet this processor is at, not on the stack: what is read back from a
 * table is any number to the verifier, so that the ways a packet can be read
 * do not multiply with the ways it can be judged. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct packet);
} pn_packet SEC(".maps");

/* start_of returns the first len bytes of the frame, or nothing when it has
 * fewer. They are in the linear part already, except for crafted frames.
 * Pointers that it returned earlier are no longer valid. */
INLINE void *start_of(struct __sk_buff *skb, __u32 len)
{
	if ((void *)(long)skb->data + len > (void *)(long)skb->data_end &&
	    bpf_skb_pull_data(skb, len))
		return 0;
	if ((void *)(long)skb->data + len > (void *)(long)skb->data_end)
		return 0;
	return (void *)(long)skb->data;
}

/* An error belongs to the conversation of the packet it quotes, which the
 * receiver must have sent to the sender: there are no routers in between. */
INLINE void read_error(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_error_frame *f = start_of(skb, sizeof(*f));

	if (!f || f->ip.version_ihl != 0x45 || f->ip.fragment & NET16(FRAGMENT_OFFSET) ||
	    f->ip.from != p->to || f->ip.to != p->from)
		return;
	switch (f->ip.protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		p->from_port = HOST16(f->ports.to_port);
		p->to_port = HOST16(f->ports.from_port);
		break;
	case IPPROTO_ICMP:
		if (f->icmp.type != ICMP_ECHO && f->icmp.type != ICMP_ECHO_REPLY)
			return;
		p->from_port = p->to_port = HOST16(f->icmp.id);
		break;
	}
	p->protocol = f->ip.protocol;
	p->kind = ERROR;
}

INLINE void read_icmp(struct __sk_buff *skb, struct packet *p, __u32 payload)
{
	struct icmp_frame *f;

	if (payload < sizeof(f->icmp) || !(f = start_of(skb, sizeof(*f))))
		return;
	switch (f->icmp.type) {
	case ICMP_ECHO:
		p->kind = OPENING;
		p->from_port = p->to_port = HOST16(f->icmp.id);
		break;
	case ICMP_ECHO_REPLY:
		p->kind = ANSWER;
		p->from_port = p->to_port = HOST16(f->icmp.id);
		break;
	case ICMP_UNREACHABLE:
	case ICMP_SOURCE_QUENCH:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
		if (payload >= sizeof(struct icmp_error_frame) - sizeof(struct ipv4_frame))
			read_error(skb, p);
		break;
	default:
		p->kind = OPENING;
	}
}

/* Reads ports and kind; payload is what the IP header says follows it, which
 * the frame has. */
INLINE void read_transport(struct __sk_buff *skb, struct packet *p, __u32 payload)
{
	switch (p->protocol) {
	case IPPROTO_TCP: {
		struct tcp_frame *f;

		/* Its flags must be here: a first fragment without them would
		 * leave it to a later one to say that this was a SYN. */
		if (payload < sizeof(f->tcp) || !(f = start_of(skb, sizeof(*f))))
			return;
		p->from_port = HOST16(f->tcp.from_port);
		p->to_port = HOST16(f->tcp.to_port);
		p->kind = MIDDLE;
		if (f->tcp.flags & TCP_SYN)
			p->kind = f->tcp.flags & TCP_ACK ? ANSWER : OPENING;
		return;
	}
	case IPPROTO_UDP: {
		struct udp_frame *f;

		if (payload < sizeof(f->udp) || !(f = start_of(skb, sizeof(*f))))
			return;
		p->from_port = HOST16(f->udp.from_port);
		p->to_port = HOST16(f->udp.to_port);
		p->kind = DATAGRAM;
		return;
	}
	case IPPROTO_ICMP:
		read_icmp(skb, p, payload);
		return;
	default:
		p->kind = DATAGRAM;
	}
}

INLINE struct fragment_key fragment_key(const struct packet *p)
{
	struct fragment_key key = {
		.network = p->network,
		.from = p->from,
		.to = p->to,
		.id = p->id,
		.protocol = p->ip_protocol,
	};

	return key;
}

/* A later fragment is of the packet whose first one passed, and is judged as
 * that was; without one it is broken. */
INLINE void recall_fragment(struct packet *p)
{
	struct fragment_key key = fragment_key(p);
	struct fragment *first = bpf_map_lookup_elem(&pn_fragments, &key);

	if (!first || (long)(p->now - first->seen) > (long)FRAGMENT_WAIT)
		return;
	/* The second 8 bytes of TCP have its flags: it would write over those
	 * that were looked at. */
	if (p->protocol == IPPROTO_TCP && (p->fragment & FRAGMENT_OFFSET) == 1)
		return;
	p->from_port = first->from_port;
	p->to_port = first->to_port;
	p->protocol = first->protocol;
	p->kind = first->kind;
}

INLINE void remember_fragment(const struct packet *p)
{
	struct fragment_key key = fragment_key(p);
	struct fragment first = {
		.seen = p->now,
		.from_port = p->from_port,
		.to_port = p->to_port,
		.protocol = p->protocol,
		.kind = p->kind,
	};

	if (may_add(p->ifindex, PACE_FRAGMENTS, MAX_FRAGMENTS, p->now))
		bpf_map_update_elem(&pn_fragments, &key, &first, 0);
}

#endif
