//go:build ignore

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private network of a node: a switch that trusts nobody.
 *
 * switch_frame runs on the host end of each container's veth, for every frame
 * the container sends. The port it came in on says which network, address and
 * MAC the sender has; whatever claims otherwise is dropped and counted. The
 * destination is looked up by {network of the port, destination address}, so
 * that a frame cannot leave its network: there is no key it could write that
 * names another one.
 *
 * Nothing is forwarded that the tables do not name, nothing is flooded, and
 * nothing is learnt from traffic.
 */
#include "abi.h"

#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_P_IPV6 0x86dd

#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

/* Every private network is 10.240.0.0/22. */
#define NETWORK_BROADCAST 0x0af003ff
#define LIMITED_BROADCAST 0xffffffff

/* Why a frame went no further. The numbers are indices of the drops map, which
 * outlives this program: append, never renumber. Keep reason.go in step. */
enum drop_reason {
	DROP_NO_PORT = 0,      /* the port has no entry: it is being removed */
	DROP_TRUNCATED = 1,    /* headers missing, or lengths that lie */
	DROP_VLAN = 2,         /* 802.1Q or 802.1ad tag */
	DROP_SPOOFED_MAC = 3,  /* source MAC is not the port's */
	DROP_SPOOFED_IP = 4,   /* source address is not the port's */
	DROP_ARP_FORGED = 5,   /* ARP that claims to be another, or any reply */
	DROP_ARP_UNKNOWN = 6,  /* ARP for an address nobody has */
	DROP_ARP_OWN = 7,      /* gratuitous ARP for the port's own address */
	DROP_IPV6 = 8,
	DROP_ETHERTYPE = 9,    /* neither IPv4 nor ARP nor one of the above */
	DROP_BROADCAST = 10,
	DROP_MULTICAST = 11,
	DROP_IP_OPTIONS = 12,  /* source routes, record route, router alert */
	DROP_UNKNOWN = 13,     /* nobody in this network has the destination */
	DROP_WRONG_MAC = 14,   /* the destination's address, another's MAC */
};

/* Room for reasons to come without changing the size of a pinned map. */
#define DROP_SLOTS 64

/* Who sits behind a host end. The reserved words are zero; they are there so
 * that a later program can give them a meaning without a new layout. */
struct port {
	__u32 network;
	__be32 addr;
	__u16 mac[3];
	__u16 flags;
	__u32 reserved[2];
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
	__u32 reserved[2];
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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DROP_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} pn_drops SEC(".maps");

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

struct ipv4_frame {
	struct ethernet eth;
	struct ipv4 ip;
} __attribute__((packed, aligned(2)));

struct arp_frame {
	struct ethernet eth;
	struct arp arp;
} __attribute__((packed, aligned(2)));

INLINE int drop(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&pn_drops, &reason);

	if (count)
		*count += 1;
	return TC_ACT_SHOT;
}

INLINE int same_mac(const __u16 *a, const __u16 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

INLINE void copy_mac(__u16 *to, const __u16 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

INLINE struct member *find(__u32 network, __be32 addr)
{
	struct member_key key = { .network = network, .addr = addr };

	return bpf_map_lookup_elem(&pn_members, &key);
}

/* start_of returns the first len bytes of the frame, or nothing when it has
 * fewer. They are in the linear part already, except for crafted frames. */
INLINE void *start_of(struct __sk_buff *skb, __u32 len)
{
	if ((void *)(long)skb->data + len > (void *)(long)skb->data_end &&
	    bpf_skb_pull_data(skb, len))
		return 0;
	if ((void *)(long)skb->data + len > (void *)(long)skb->data_end)
		return 0;
	return (void *)(long)skb->data;
}

/* Hand the frame to the container behind the member's veth, past the host end
 * and past the switch namespace's own stack. */
INLINE int deliver(struct __sk_buff *skb, const struct member *to)
{
	__u32 ifindex = to->ifindex;

	/* The frame was addressed to another MAC than the host end's, so the
	 * kernel marked it as another host's, and IP would drop it on the
	 * other side. Kernels from 6.15 reset the mark themselves. */
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(ifindex, 0);
}

INLINE int switch_ipv4(struct __sk_buff *skb, const struct port *port)
{
	struct ipv4_frame *frame;
	struct member *to;
	__u32 len;

	frame = start_of(skb, sizeof(*frame));
	if (!frame)
		return drop(DROP_TRUNCATED);

	if (frame->eth.to[0] & 1) {
		if ((frame->eth.to[0] & frame->eth.to[1] & frame->eth.to[2]) == 0xffff)
			return drop(DROP_BROADCAST);
		return drop(DROP_MULTICAST);
	}

	if (frame->ip.version_ihl >> 4 != 4 || (frame->ip.version_ihl & 0xf) < 5)
		return drop(DROP_TRUNCATED);
	/* Options let a sender choose a route; nothing here needs them, and
	 * without them the transport header is always in the same place. */
	if (frame->ip.version_ihl != 0x45)
		return drop(DROP_IP_OPTIONS);
	len = HOST16(frame->ip.total_len);
	if (len < sizeof(frame->ip) || len > skb->len - sizeof(frame->eth))
		return drop(DROP_TRUNCATED);

	if (frame->ip.from != port->addr)
		return drop(DROP_SPOOFED_IP);
	if (frame->ip.to == NET32(NETWORK_BROADCAST) || frame->ip.to == NET32(LIMITED_BROADCAST))
		return drop(DROP_BROADCAST);
	if ((frame->ip.to & NET32(0xf0000000)) == NET32(0xe0000000))
		return drop(DROP_MULTICAST);

	to = find(port->network, frame->ip.to);
	if (!to)
		return drop(DROP_UNKNOWN);
	if (!same_mac(frame->eth.to, to->mac))
		return drop(DROP_WRONG_MAC);
	return deliver(skb, to);
}

/* The switch is the only one that answers ARP, from its table; a request never
 * reaches another container, so nobody can answer in another's name. */
INLINE int answer_arp(struct __sk_buff *skb, const struct port *port)
{
	struct arp_frame *frame, reply = {};
	struct member *target;

	frame = start_of(skb, sizeof(*frame));
	if (!frame)
		return drop(DROP_TRUNCATED);

	if (frame->arp.hardware != NET16(ARPHRD_ETHER) || frame->arp.protocol != NET16(ETH_P_IP) ||
	    frame->arp.hardware_len != 6 || frame->arp.protocol_len != 4)
		return drop(DROP_TRUNCATED);
	if (frame->arp.op != NET16(ARPOP_REQUEST) || frame->arp.sender != port->addr ||
	    !same_mac(frame->arp.sender_mac, port->mac))
		return drop(DROP_ARP_FORGED);
	if (frame->arp.target == port->addr)
		return drop(DROP_ARP_OWN);

	target = find(port->network, frame->arp.target);
	if (!target)
		return drop(DROP_ARP_UNKNOWN);

	copy_mac(reply.eth.to, port->mac);
	copy_mac(reply.eth.from, target->mac);
	reply.eth.type = NET16(ETH_P_ARP);
	reply.arp.hardware = NET16(ARPHRD_ETHER);
	reply.arp.protocol = NET16(ETH_P_IP);
	reply.arp.hardware_len = 6;
	reply.arp.protocol_len = 4;
	reply.arp.op = NET16(ARPOP_REPLY);
	copy_mac(reply.arp.sender_mac, target->mac);
	reply.arp.sender = frame->arp.target;
	copy_mac(reply.arp.target_mac, port->mac);
	reply.arp.target = port->addr;
	/* Through the helper: a direct write anywhere in a program makes the
	 * kernel copy shared frames before it runs, on the fast path too. */
	if (bpf_skb_store_bytes(skb, 0, &reply, sizeof(reply), 0))
		return drop(DROP_TRUNCATED);
	return bpf_redirect(skb->ifindex, 0);
}

SEC("classifier")
int switch_frame(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct ethernet *eth;
	struct port *port;

	port = bpf_map_lookup_elem(&pn_ports, &ifindex);
	if (!port)
		return drop(DROP_NO_PORT);
	eth = start_of(skb, sizeof(*eth));
	if (!eth)
		return drop(DROP_TRUNCATED);
	if (!same_mac(eth->from, port->mac))
		return drop(DROP_SPOOFED_MAC);
	/* The kernel has taken an outer tag out of the frame already. */
	if (skb->vlan_present)
		return drop(DROP_VLAN);

	switch (eth->type) {
	case NET16(ETH_P_IP):
		return switch_ipv4(skb, port);
	case NET16(ETH_P_ARP):
		return answer_arp(skb, port);
	case NET16(ETH_P_IPV6):
		return drop(DROP_IPV6);
	case NET16(ETH_P_8021Q):
	case NET16(ETH_P_8021AD):
		return drop(DROP_VLAN);
	default:
		return drop(DROP_ETHERTYPE);
	}
}

/* No helper used here is reserved for GPL programs. */
char _license[] SEC("license") = "Apache-2.0";
