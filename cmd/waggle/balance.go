package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/waggle-mesh/waggle/internal/envoyconfig"
)

// balanceFlags say which Services' requests Envoy distributes.
func balanceFlags(f *pflag.FlagSet, b *envoyconfig.Balance) {
	f.Func("loadbalancer-l7", "envoy: for Services with annotation "+envoyconfig.AnnotationBalance+"=enabled each request chooses a backend, not each connection; disabled (default)",
		func(text string) error {
			if text != "envoy" && text != "disabled" && text != "" {
				return fmt.Errorf("envoy or disabled are possible, not %q", text)
			}
			b.Enabled = text == "envoy"
			return nil
		})
	f.Func("loadbalancer-l7-algorithm", "round_robin (default), least_request or random, for Services without annotation "+envoyconfig.AnnotationAlgorithm,
		func(text string) error {
			b.Algorithm = text
			return b.Check()
		})
	f.Func("loadbalancer-l7-ports", "`ports`, with commas, whose requests are distributed without an annotation", func(text string) error {
		b.Ports = nil
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", []", r) }) {
			port, err := strconv.ParseUint(word, 10, 16)
			if err != nil {
				return err
			}
			b.Ports = append(b.Ports, uint16(port))
		}
		return nil
	})
}
