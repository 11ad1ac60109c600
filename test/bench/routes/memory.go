package routes

import (
	"context"
	"fmt"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// footprint is the memory of both processes.
type footprint struct {
	waggle, envoy measure.Memory
	used          measure.Memory // Envoy's after every route has been asked once
}

// memory reports what a route costs.
func (b *bench) memory(ctx context.Context) error {
	b.page.Section("Memory")
	b.page.Textf("When Envoy has taken everything, and again when every route has answered once, which opens a connection to every backend. Per route is the growth of Envoy's own memory (anonymous pages) from 1 route to %d, divided by %d; "+
		"a route here is an HTTPRoute with its own host, Service and cluster. waggle's peak is the highest RSS since its start.", b.routes, b.routes-1)
	var rows [][]string
	for _, m := range []struct {
		mode  agent.RouteTables
		name  string
		limit float64
	}{{agent.Plain, "one table", 45}, {agent.Auto, "scoped routes", 45}} {
		base, err := b.footprint(ctx, 1, m.mode)
		if err != nil {
			return fmt.Errorf("memory, %s: %w", m.name, err)
		}
		full, err := b.footprint(ctx, b.routes, m.mode)
		if err != nil {
			return fmt.Errorf("memory, %s: %w", m.name, err)
		}
		per := func(full, base measure.Memory) float64 {
			return float64(full.Own-base.Own) / 1024 / float64(b.routes-1)
		}
		idle := per(full.envoy, base.envoy)
		b.o.Progress("memory, %s: waggle %s, Envoy %.1f KB per route", m.name, mebibytes(full.waggle.Resident), idle)
		rows = append(rows, []string{m.name, mebibytes(full.waggle.Resident), mebibytes(full.waggle.Peak), mebibytes(base.envoy.Own), mebibytes(full.envoy.Own),
			fmt.Sprintf("%.1f KB", idle), fmt.Sprintf("%.1f KB", per(full.used, base.used))})
		b.page.Add(measure.Target{
			What: fmt.Sprintf("Envoy memory per route and cluster, %d routes, %s", b.routes, m.name),
			Want: fmt.Sprintf("≤ %.0f KB", m.limit), Measured: fmt.Sprintf("%.1f KB", idle), Met: idle <= m.limit,
		}, measure.Target{
			What: fmt.Sprintf("waggle memory at %d routes and Services, %s", b.routes, m.name),
			Want: "≤ 200 MiB", Measured: mebibytes(full.waggle.Resident), Met: full.waggle.Resident <= 200<<20,
		})
	}
	b.page.Table([]string{"", "waggle RSS", "waggle peak", "Envoy, 1 route", fmt.Sprintf("Envoy, %d routes", b.routes), "per route", "per route, all asked once"}, rows)
	return nil
}

func (b *bench) footprint(ctx context.Context, routes int, mode agent.RouteTables) (f footprint, err error) {
	r, err := b.serve(ctx, routes, objectPerFile, nil, "--route-tables", string(mode))
	if err != nil {
		return f, err
	}
	defer r.stop()
	if err := r.waggle.Rest(ctx); err != nil {
		return f, err
	}
	if f.waggle, err = measure.MemoryOf(r.waggle.PID()); err != nil {
		return f, err
	}
	if f.envoy, err = measure.MemoryOf(r.waggle.EnvoyPID); err != nil {
		return f, err
	}
	if err := r.allAnswer(ctx); err != nil {
		return f, err
	}
	if f.used, err = measure.MemoryOf(r.waggle.EnvoyPID); err != nil {
		return f, err
	}
	return f, r.waggle.Settled(ctx) // or it was not the whole
}

func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }
