// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the programs need of the kernel: its stable headers, and what is newer
// than the distributions' copies of them. Structs of the kernel's inside are
// declared where they are used, with the members that are, and relocated at
// load (CO-RE).
#pragma once
#include <stddef.h>
#include <linux/bpf.h>
#define _LINUX_IF_H // which linux/icmp.h includes, and which would bring the C library
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

// tcx (6.6): what a program answers. NEXT asks the next program, and passes
// the packet if there is none.
#define TCX_NEXT (-1)
#define TCX_PASS 0
#define TCX_DROP 2

// linux/icmp.h needs the C library.
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_PROT_UNREACH 2
#define ICMP_PORT_UNREACH 3
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
struct icmphdr {
	__u8 type, code;
	__sum16 checksum;
	__be32 rest;
};

#define AF_INET 2
#define AF_INET6 10

#define SOL_SOCKET 1
#define SO_MARK 36

#define ECONNREFUSED 111

// The L4 checksum covers an IPv6 pseudo header (6.16): without it the sum of a
// packet whose checksum the device has computed goes wrong.
#define CSUM_IPV6 (1ULL << 7)

// One load of a field of a program's context: for two, clang would compute an
// address into it, which the verifier refuses.
#define LOAD(field) ({ __u32 loaded = (field); asm volatile("" : "+r"(loaded)); loaded; })

// A pointer of a program's context, which has it in 32 bits: clang would clear
// the upper half of what the verifier takes for a pointer already.
#define LOAD_POINTER(ctx, field) ({ \
	void *loaded; \
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(loaded) : "r"(ctx), "i"(offsetof(typeof(*(ctx)), field))); \
	loaded; \
})

#define inline __attribute__((always_inline)) inline

// A global function is verified once, for itself, and not again wherever it is
// called: what its pointers point to is plain memory, and never NULL if they
// are tagged so.
#define global __attribute__((noinline))
#define nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#define fallthrough __attribute__((__fallthrough__))
