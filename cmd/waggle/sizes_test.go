package main

import (
	"reflect"
	"strconv"
	"testing"

	"github.com/spf13/pflag"

	"github.com/waggle-mesh/waggle/internal/datapath"
)

// TestSizeFlags: each map's size has a flag of its own.
func TestSizeFlags(t *testing.T) {
	var s datapath.Sizes
	flags := pflag.NewFlagSet("agent", pflag.ContinueOnError)
	sizeFlags(flags, &s)
	next := 1000
	flags.VisitAll(func(f *pflag.Flag) {
		next++
		if err := flags.Set(f.Name, strconv.Itoa(next)); err != nil {
			t.Fatal(err)
		}
	})
	seen := map[uint64]bool{}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		n := v.Field(i).Uint()
		if n <= 1000 || seen[n] {
			t.Errorf("%s is %d: no flag sets it", v.Type().Field(i).Name, n)
		}
		seen[n] = true
	}
	if len(seen) != next-1000 {
		t.Errorf("%d flags for %d sizes", next-1000, len(seen))
	}
	if agentCommand().Flags().Lookup("bpf-ct-max") == nil {
		t.Error("`waggle agent` has none of them")
	}
}
