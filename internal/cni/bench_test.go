package cni

import (
	"fmt"
	"testing"
)

// BenchmarkAdd is what a pod's start waits for: the plugin's process, the
// agent's work, devices included. Deletion, BPF and identity are not in it.
func BenchmarkAdd(b *testing.B) {
	n := newNode(b, dual)
	n.start()
	i := 0
	for b.Loop() {
		i++
		b.StopTimer()
		p := n.pod(fmt.Sprint("c", i))
		b.StartTimer()
		if err := p.add(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.del(); err != nil {
			b.Fatal(err)
		}
		p.netns.Close()
		b.StartTimer()
	}
}

// BenchmarkAddInAgent is BenchmarkAdd without the plugin's process.
func BenchmarkAddInAgent(b *testing.B) {
	n := newNode(b, dual)
	n.start()
	i := 0
	for b.Loop() {
		i++
		b.StopTimer()
		p := n.pod(fmt.Sprint("c", i))
		r := request{Command: "ADD", Container: p.container, Device: "eth0"}
		b.StartTimer()
		if _, err := ask(n.in("run/cni.sock"), r, p.netns, 0, otherPatience); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := p.del(); err != nil {
			b.Fatal(err)
		}
		p.netns.Close()
		b.StartTimer()
	}
}
