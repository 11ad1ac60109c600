// Package view tells what the kernel has of a node's network, whoever made it:
// links, addresses, neighbours, rules, routes, and what nftables filters. It is
// for people who look for a fault on a node where they may run no ip(8).
//
// It promises to change nothing, and to be short where there is much of a kind.
package view

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Network is what the network namespace of the calling thread has, a line each,
// in the words of ip(8) and nft(8).
type Network struct {
	Links      []string `json:"links"`
	Addresses  []string `json:"addresses"`
	Neighbours []string `json:"neighbours"`
	Rules      []string `json:"rules"`
	Routes     []string `json:"routes"` // of all tables
	Nftables   []string `json:"nftables"`
	// Unread is what could not be read, and why.
	Unread []string `json:"unread"`
}

// most is how many lines there are of a kind. A router may have a million
// routes.
const most = 10000

// Look reads all of it.
func Look() (n Network) {
	names := map[int]string{} // of links, by number
	n.Links = n.read("links", func(add func(string)) error { return links(names, add) })
	n.Addresses = n.read("addresses", func(add func(string)) error { return addresses(names, add) })
	n.Neighbours = n.read("neighbours", func(add func(string)) error { return neighbours(names, add) })
	n.Rules = n.read("rules", ofBothFamilies(rules))
	n.Routes = n.read("routes", ofBothFamilies(func(family int, add func(string)) error { return routes(family, names, add) }))
	n.Nftables = n.read("nftables", nftables)
	return n
}

// read gives the lines of one kind, the first of many.
func (n *Network) read(what string, each func(add func(line string)) error) []string {
	lines, more := []string{}, 0
	err := each(func(line string) {
		if len(lines) < most {
			lines = append(lines, line)
		} else {
			more++
		}
	})
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		n.Unread = append(n.Unread, what+": they changed while they were read: some may be missing")
	} else if err != nil {
		n.Unread = append(n.Unread, fmt.Sprintf("%s: %v", what, err))
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("... and %d more", more))
	}
	return lines
}

// ofBothFamilies reads those of IPv4 and then those of IPv6; a kernel may be
// without one.
func ofBothFamilies(read func(family int, add func(string)) error) func(add func(string)) error {
	return func(add func(string)) (err error) {
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			failed := read(family, add)
			if !errors.Is(failed, unix.EAFNOSUPPORT) && !errors.Is(failed, unix.EOPNOTSUPP) {
				err = errors.Join(err, failed)
			}
		}
		return err
	}
}

// deviceOf is a link's name, or its number if it is gone already.
func deviceOf(index int, names map[int]string) string {
	if name := names[index]; name != "" {
		return name
	}
	return fmt.Sprintf("if%d", index)
}
