package gateway

import (
	"math/bits"
	"testing"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// record has rounds of all loads, in which the Gateway is as good as the static
// Envoy: its figures are off by a factor in one half of the rounds, and by its
// inverse in the other, and no two loads' halves have more in common than chance.
func record(factor float64) *measure.Record {
	r := &measure.Record{}
	for round := range 32 {
		figures := map[string]float64{}
		for i, l := range loads() {
			off, rate := factor, 20000.0
			if bits.OnesCount(uint(round&(i+1)))%2 == 1 {
				off = 1 / factor
			}
			if l == "1" {
				rate = 10000
			}
			figures[figureName(led, l, "cpu")] = 50 * off
			figures[figureName(static, l, "cpu")], figures[figureName(bare, l, "cpu")] = 50, 50
			figures[figureName("against", l, "cpu")] = off
			figures[figureName(led, l, "rate")] = rate / off
		}
		r.Rounds = append(r.Rounds, measure.Round{Figures: figures})
	}
	return r
}

// TestNoise: as good as the static Envoy meets all targets on a quiet machine,
// and noise meets none, but that 16 connections bring more than 1: they bring
// twice as much.
func TestNoise(t *testing.T) {
	for _, target := range trafficTargets(record(1.02)) {
		if !target.Met {
			t.Errorf("quiet, %s: want %s, measured %s: missed", target.What, target.Want, target.Measured)
		}
	}
	for _, target := range trafficTargets(record(1.5)) {
		if target.Met && target.Want != "> 1" {
			t.Errorf("noisy, %s: want %s, measured %s: met", target.What, target.Want, target.Measured)
		}
	}
}
