// Package eastwest measures what it costs a pod to ask a Service by way of the
// node's Envoy, as a CiliumEnvoyConfig has it: beside the same Service without
// one, and beside an Envoy with the same rules as a sidecar in the pod.
package eastwest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Options say how much is measured.
type Options struct {
	measure.Series
	Binaries measure.Binaries
	Ways     []string // empty: all
	Loads    []string // empty: all
}

func (o Options) of() string {
	return fmt.Sprintf("l7-east-west %s %s %s", o.Slice, strings.Join(o.Ways, ","), strings.Join(o.Loads, ","))
}

// Measure measures everything and writes it to the page.
func Measure(ctx context.Context, o Options, page *measure.Page) error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and BPF need root")
	}
	var err error
	if o.Ways, err = measure.Choose(o.Ways, Ways); err != nil {
		return err
	}
	if o.Loads, err = measure.Choose(o.Loads, Loads); err != nil {
		return err
	}
	record, err := o.Series.Measure(o.of(), func() (measure.Round, error) { return o.round(ctx) })
	if err != nil {
		return err
	}
	o.report(page, record)
	return nil
}
