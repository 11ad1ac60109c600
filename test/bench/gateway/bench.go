// Package gateway measures Gateways in a cluster: how soon a new route answers,
// what operator and agent take with many routes, at rest and while they change,
// what a request costs, and whether clients notice changes.
//
// Everything is measured on real processes: etcd, the API server, `waggle
// operator`, `waggle agent` and its Envoy, see package cluster.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/cluster"
	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// Options say how much is measured.
type Options struct {
	measure.Series // of the traffic; its Append is not used
	Binaries       measure.Binaries
	Kube           string        // the sandbox's program that is etcd and the API server
	Routes         int           // the most
	Probes         int           // new routes in a series
	Churn, Idle    time.Duration // how long that is watched
	Changes        int           // under load
	Parts          []string      // of Parts; empty: all
	PartsFile      string        // parts in it are on the page too; empty: none
}

// Parts, in the order of the page.
const (
	probes  = "probe"
	steady  = "steady"
	traffic = "traffic"
	changes = "changes"
)

// Parts are all.
var Parts = []string{probes, steady, traffic, changes}

// Measure measures everything and writes it to the page.
func Measure(ctx context.Context, o Options, page *measure.Page) error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces and BPF need root")
	}
	if _, err := os.Stat(o.Kube); err != nil {
		return fmt.Errorf("find the API server: %w; `make sandbox && sandbox/bin/sandbox build` makes it", err)
	}
	if o.Routes < 100 || o.Probes < 1 || o.Changes < 1 || o.Churn < 10*time.Second || o.Idle < 10*time.Second {
		return errors.New("too little to measure: at least 100 routes, a probe, a change, and 10 s of churn and rest")
	}
	var err error
	if o.Parts, err = measure.Choose(o.Parts, Parts); err != nil {
		return err
	}
	found, err := measure.OpenParts(o.PartsFile)
	if err != nil {
		return err
	}
	put := func(name string, report func(*measure.Page)) error {
		one := &measure.Page{Began: time.Now()}
		report(one)
		return found.Put(name, page.Machine.Waggle, one)
	}
	for _, run := range []struct {
		parts   []string
		measure func(context.Context, func(string, func(*measure.Page)) error) error
	}{{[]string{probes, steady}, o.atScale}, {[]string{traffic}, o.traffic}, {[]string{changes}, o.changes}} {
		if !slices.ContainsFunc(run.parts, o.has) {
			continue
		}
		if err := run.measure(ctx, put); err != nil {
			return err
		}
	}
	found.Fill(page, Parts)
	return nil
}

func (o Options) has(part string) bool { return slices.Contains(o.Parts, part) }

// inCluster makes a cluster that lives as long as f.
func (o Options) inCluster(ctx context.Context, onLoadsCore bool, f func(*site) error) error {
	var measured error
	err := nodes.Scoped(ctx, func(t testing.TB) {
		began := time.Now()
		c := cluster.New(t, cluster.Options{Binaries: o.Binaries, Kube: o.Kube, OnLoadsCore: onLoadsCore})
		c.StartOperator()
		c.StartAgent()
		c.StartEnvoy()
		s := &site{Cluster: c, o: o, ctx: t.Context(), gateway: c.AddGateway("gw")}
		o.Progress("the cluster is up after %s", time.Since(began).Round(100*time.Millisecond))
		measured = f(s)
		if measured != nil {
			t.Error(measured) // and what the processes wrote
		}
	})
	if measured != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
