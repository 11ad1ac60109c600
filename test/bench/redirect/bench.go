// Package redirect measures what it costs that connections are led to Envoy,
// and that Envoy speaks in the client's name: beside an Envoy at the same
// place, with the same rule, that its clients connect to by themselves.
package redirect

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
	Turns    int      // a round
	Kinds    []string // of Envoys; empty: all
	Loads    []string // empty: all
}

func (o Options) of() string {
	return fmt.Sprintf("redirect %d × %s %s %s", o.Turns, o.Slice, strings.Join(o.Kinds, ","), strings.Join(o.Loads, ","))
}

// Measure measures everything and writes it to the page.
func Measure(ctx context.Context, o Options, page *measure.Page) error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and BPF need root")
	}
	var err error
	if o.Kinds, err = measure.Choose(o.Kinds, Kinds); err != nil {
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
