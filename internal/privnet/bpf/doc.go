// Package bpf holds the program of the private network's switch: its source
// (switch.c), the object compiled from it, and the bindings to load it.
//
// It imports nothing of ours and does nothing by itself; package privnet loads
// the program, fills its maps and attaches it.
//
// Regenerating gives the same bytes wherever the same clang runs: the source
// includes nothing of the machine, and the compiler is asked to leave out its
// version and its folder. After a change to switch.c:
//
//	apt-get install clang-14 llvm-14
//	go generate ./internal/privnet/bpf
//	git diff --exit-code internal/privnet/bpf   # what CI asks
//
// TestObjectIsCurrent does the same comparison without touching the tree.
//
// Only little-endian objects are made: every machine Atoll is tested on is
// one, and an untested data path is worse than a build that says no.
package bpf

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package bpf -type shape Switch switch.c -- -Wall -Wextra -Werror
