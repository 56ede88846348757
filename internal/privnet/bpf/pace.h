/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables that forget the least used entry are shared by everybody. Without
 * a limit, a container that makes up ports or destinations would push out what
 * is known of the others; so each port adds only so much in a second, and loses
 * only detail of its own.
 */
#ifndef ATOLL_PACE_H
#define ATOLL_PACE_H

#include "tables.h"

/* Entries a port may add in about a second. A table of 131072 connections then
 * holds what an honest container said for 16 s against the flood of another,
 * one of conversations for a minute; fragments need 8 s to be pushed out, flows
 * and drops a minute. No container opens 8192 TCP connections a second for
 * long: it has 28000 ports to do so from, each of which waits for a minute. */
#define MAX_CONNECTIONS 8192
#define MAX_OPENED 2048
#define MAX_FRAGMENTS 512
#define MAX_FLOWS 256
#define MAX_DROPPED 128

INLINE int may_add(__u32 ifindex, __u32 what, __u32 most, __u64 now)
{
	__u32 slot = ifindex & (PACE_SLOTS - 1);
	__u64 second = now >> 30;
	struct pace *pace;

	pace = bpf_map_lookup_elem(&pn_pace, &slot);
	if (!pace)
		return 0;
	if (pace->second != second) {
		pace->second = second;
		for (int i = 0; i < PACES; i++)
			pace->added[i] = 0;
	}
	if (pace->added[what] >= most)
		return 0;
	__sync_fetch_and_add(&pace->added[what], 1);
	return 1;
}

#endif
