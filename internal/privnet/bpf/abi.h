/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the kernel's BPF interface that switch.c uses, declared here so
 * that the object depends on a compiler alone: no kernel headers, no libbpf,
 * no include path that differs between architectures, and therefore the same
 * bytes wherever the same clang runs.
 *
 * Numbers and layouts are the kernel's stable interface (include/uapi/linux:
 * bpf.h, if_ether.h, if_packet.h, pkt_cls.h).
 */
#ifndef ATOLL_ABI_H
#define ATOLL_ABI_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))

/* Map definitions as BTF: a loader reads the numbers from the types. */
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_LRU_PERCPU_HASH 10
#define BPF_F_NO_PREALLOC 1

/* Flag of an update: only if there is no such entry, else the error. */
#define BPF_NOEXIST 1
#define EEXIST 17

/* Verdicts of a classifier in direct-action mode. */
#define TC_ACT_SHOT 2

/* skb->pkt_type */
#define PACKET_HOST 0

/* The program's view of a packet; the kernel translates each access. Only the
 * fields up to gso_segs are used, in the kernel's order. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
};

/* Helpers, by number. The newest one, redirect_peer, sets the floor: 5.10. */
static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key,
				   const void *value, __u64 flags) = (void *)2;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_skb_store_bytes)(struct __sk_buff *skb, __u32 offset,
				   const void *from, __u32 len, __u64 flags) = (void *)9;
static long (*bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*bpf_skb_change_type)(struct __sk_buff *skb, __u32 type) = (void *)32;
static long (*bpf_skb_pull_data)(struct __sk_buff *skb, __u32 len) = (void *)39;
static long (*bpf_redirect_peer)(__u32 ifindex, __u64 flags) = (void *)155;

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "switch.c is built and tested for little-endian machines only"
#endif
#define NET16(x) ((__be16)__builtin_bswap16(x))
#define NET32(x) ((__be32)__builtin_bswap32(x))
#define HOST16(x) ((__u16)__builtin_bswap16(x))

#endif
