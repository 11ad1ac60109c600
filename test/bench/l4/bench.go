// Package l4 measures what the way of packets through a node costs: between
// pods and to Services, with Waggle's data path, on the same way without it,
// and with kube-proxy in nftables mode.
package l4

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Options say how much is measured.
type Options struct {
	measure.Series
	Binaries measure.Binaries
	Turns    int      // a round
	Kube     string   // the program that is kube-proxy
	Ways     []string // short names of ways; empty: all
	Kinds    []string // of worlds; empty: all
	Loads    []string // empty: all
}

// bench is a run.
type bench struct {
	Options
}

// of tells rounds that may be counted together.
func (b *bench) of() string {
	return fmt.Sprintf("l4 %d × %s %s %s %s", b.Turns, b.Slice, strings.Join(b.Ways, ","), strings.Join(b.Kinds, ","), strings.Join(b.Loads, ","))
}

// Measure measures everything and writes it to the page.
func Measure(ctx context.Context, o Options, page *measure.Page) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("network namespaces and BPF need root")
	}
	for some, all := range map[*[]string][]string{&o.Ways: Ways, &o.Kinds: Kinds, &o.Loads: Loads} {
		var err error
		if *some, err = measure.Choose(*some, all); err != nil {
			return err
		}
	}
	b := &bench{o}
	if slices.Contains(o.Kinds, kubeProxy) {
		if err := b.checkKubeProxy(); err != nil {
			return err
		}
	}
	record, err := b.Series.Measure(b.of(), func() (measure.Round, error) { return b.round(ctx) })
	if err != nil {
		return err
	}
	b.report(page, record)
	return nil
}

func (b *bench) checkKubeProxy() error {
	if err := measure.Installed(map[string]string{"nft": "nftables", "ip": "iproute2"}); err != nil {
		return err
	}
	if _, err := os.Stat(b.Kube); err != nil {
		return fmt.Errorf("find kube-proxy: %w; `make sandbox && sandbox/bin/sandbox build` makes it", err)
	}
	return nil
}

// DefaultKube is where the sandbox keeps the program that is kube-proxy.
func DefaultKube() string {
	cache := os.Getenv("SANDBOX_CACHE")
	if cache == "" {
		user, _ := os.UserCacheDir()
		cache = filepath.Join(user, "waggle-sandbox")
	}
	return filepath.Join(cache, "bin", "kube")
}
