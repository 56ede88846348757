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
#include "drop.h"
#include "flow.h"

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

/* Set before loading, to measure what policies and flows cost: the switch then
 * has neither. */
volatile const __u32 bare = 0;

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

/* Judges and counts the packet. Returns 0 for one that passes. */
INLINE int stopped(struct __sk_buff *skb, struct packet *p)
{
	if (p->fragment & FRAGMENT_OFFSET)
		recall_fragment(p);
	else
		read_transport(skb, p, p->bytes - sizeof(struct ipv4));
	if (!judge(p))
		return DROP(DROP_OPENING_PACE);
	count_flow(skb, p);
	if (p->verdict == DENIED)
		return DROP(DROP_POLICY);
	if ((p->fragment & (MORE_FRAGMENTS | FRAGMENT_OFFSET)) == MORE_FRAGMENTS)
		remember_fragment(p);
	return 0;
}

INLINE int switch_ipv4(struct __sk_buff *skb, const struct port *port, __u32 ifindex, __be32 *dst)
{
	struct ipv4_frame *frame;
	__u32 len, zero = 0;
	struct packet *p;
	struct member *to;
	int stop;

	frame = start_of(skb, sizeof(*frame));
	if (!frame)
		return DROP(DROP_TRUNCATED);
	*dst = frame->ip.to;

	if (frame->eth.to[0] & 1) {
		if ((frame->eth.to[0] & frame->eth.to[1] & frame->eth.to[2]) == 0xffff)
			return DROP(DROP_BROADCAST);
		return DROP(DROP_MULTICAST);
	}

	if (frame->ip.version_ihl >> 4 != 4 || (frame->ip.version_ihl & 0xf) < 5)
		return DROP(DROP_TRUNCATED);
	/* Options let a sender choose a route; nothing here needs them, and
	 * without them the transport header is always in the same place. */
	if (frame->ip.version_ihl != 0x45)
		return DROP(DROP_IP_OPTIONS);
	len = HOST16(frame->ip.total_len);
	if (len < sizeof(frame->ip) || len > skb->len - sizeof(frame->eth))
		return DROP(DROP_TRUNCATED);

	if (frame->ip.from != port->addr)
		return DROP(DROP_SPOOFED_IP);
	if (frame->ip.to == NET32(NETWORK_BROADCAST) || frame->ip.to == NET32(LIMITED_BROADCAST))
		return DROP(DROP_BROADCAST);
	if ((frame->ip.to & NET32(0xf0000000)) == NET32(0xe0000000))
		return DROP(DROP_MULTICAST);

	to = find(port->network, frame->ip.to);
	if (!to)
		return DROP(DROP_UNKNOWN);
	if (!same_mac(frame->eth.to, to->mac))
		return DROP(DROP_WRONG_MAC);
	if (bare)
		return deliver(skb, to);

	p = bpf_map_lookup_elem(&pn_packet, &zero);
	if (!p)
		return DROP(DROP_TRUNCATED); /* there is always one */
	p->now = bpf_ktime_get_ns();
	p->network = port->network;
	p->ifindex = ifindex;
	p->from = frame->ip.from;
	p->to = frame->ip.to;
	p->from_group = port->group;
	p->to_group = to->group;
	p->bytes = len;
	p->from_port = p->to_port = 0;
	p->protocol = p->ip_protocol = frame->ip.protocol;
	p->kind = BROKEN;
	p->id = frame->ip.id;
	p->fragment = HOST16(frame->ip.fragment);
	stop = stopped(skb, p);
	return stop ? stop : deliver(skb, to);
}

/* The switch is the only one that answers ARP, from its table; a request never
 * reaches another container, so nobody can answer in another's name. */
INLINE int answer_arp(struct __sk_buff *skb, const struct port *port, __be32 *dst)
{
	struct arp_frame *frame, reply = {};
	struct member *target;

	frame = start_of(skb, sizeof(*frame));
	if (!frame)
		return DROP(DROP_TRUNCATED);
	*dst = frame->arp.target;

	if (frame->arp.hardware != NET16(ARPHRD_ETHER) || frame->arp.protocol != NET16(ETH_P_IP) ||
	    frame->arp.hardware_len != 6 || frame->arp.protocol_len != 4)
		return DROP(DROP_TRUNCATED);
	if (frame->arp.op != NET16(ARPOP_REQUEST) || frame->arp.sender != port->addr ||
	    !same_mac(frame->arp.sender_mac, port->mac))
		return DROP(DROP_ARP_FORGED);
	if (frame->arp.target == port->addr)
		return DROP(DROP_ARP_OWN);

	target = find(port->network, frame->arp.target);
	if (!target)
		return DROP(DROP_ARP_UNKNOWN);

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
		return DROP(DROP_TRUNCATED);
	return bpf_redirect(skb->ifindex, 0);
}

/* An action of the kernel, or DROP(reason) and whom the frame was for. */
INLINE int switch_port(struct __sk_buff *skb, const struct port *port, __u32 ifindex, __be32 *dst)
{
	struct ethernet *eth;

	eth = start_of(skb, sizeof(*eth));
	if (!eth)
		return DROP(DROP_TRUNCATED);
	if (!same_mac(eth->from, port->mac))
		return DROP(DROP_SPOOFED_MAC);
	/* The kernel has taken an outer tag out of the frame already. */
	if (skb->vlan_present)
		return DROP(DROP_VLAN);

	switch (eth->type) {
	case NET16(ETH_P_IP):
		return switch_ipv4(skb, port, ifindex, dst);
	case NET16(ETH_P_ARP):
		return answer_arp(skb, port, dst);
	case NET16(ETH_P_IPV6):
		return DROP(DROP_IPV6);
	case NET16(ETH_P_8021Q):
	case NET16(ETH_P_8021AD):
		return DROP(DROP_VLAN);
	default:
		return DROP(DROP_ETHERTYPE);
	}
}

SEC("classifier")
int switch_frame(struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	struct port *port;
	__be32 dst = 0;
	int action;

	port = bpf_map_lookup_elem(&pn_ports, &ifindex);
	if (!port)
		return count_drop(DROP_NO_PORT);
	action = switch_port(skb, port, ifindex, &dst);
	if (action & DROPPED)
		return drop(ifindex, port, action & ~DROPPED, dst);
	return action;
}

/* No helper used here is reserved for GPL programs. */
char _license[] SEC("license") = "Apache-2.0";
