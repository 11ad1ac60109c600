package daemon

import (
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
)

// When what Envoy has said is written down.
const (
	// answersEvery is how often that is at most.
	answersEvery = time.Second
	// firstAnswer is how long the first time waits for Envoy to have answered
	// everything.
	firstAnswer = 15 * time.Second
	// awayFor is how long no Envoy is connected before nothing counts as served
	// by the node any more. One that is replaced, or whose agent begins, is away
	// for less. It is also how often that is looked at.
	awayFor = 30 * time.Second
)

// answer writes down what Envoy has said, if that may be news.
func (e *envoys) answer() (again bool) {
	if e.proxy.Connected() == 0 {
		return e.away()
	}
	e.lost = time.Time{}
	if !e.unsure {
		e.answering.Reset(awayFor)
		return false
	}
	if wait := answersEvery - time.Since(e.answered); wait > 0 {
		e.answering.Reset(wait)
		return false
	}
	e.unsure, e.answered = false, time.Now()
	before, ok := e.answers.Get(e.a.options.Node)
	if !ok {
		before.Node = e.a.options.Node
	}
	now := e.configs.Answer(before, append(e.proxy.Unaccepted(), e.graph.Unnumbered()...), e.settled())
	if !ok && len(now.Configs) < e.configs.Reported() && time.Since(e.a.started) < firstAnswer {
		e.unsure = true // the node counts from when it serves what there is
		e.answering.Reset(answersEvery)
		return false
	}
	e.answering.Reset(awayFor)
	if e.configs.Behind(now) { // look again, whoever tells
		e.unsure = true
		e.answering.Reset(answersEvery)
	}
	e.answers.Set(now)
	return true
}

// settled tells of a listener whether connections are led to it where they are
// to be. Nothing leads to one that is not wanted.
func (e *envoys) settled() func(listener string) bool {
	unsettled := map[string]bool{}
	for _, f := range e.a.graph.Led.All() {
		if e.named[f.Key()] != f.Redirect {
			unsettled[f.Redirect] = true
		}
	}
	return func(listener string) bool {
		_, wanted := e.graph.Wanted.Get(listener)
		return !wanted || e.known[listener] != 0 && !unsettled[listener]
	}
}

// away says that nothing is served when no Envoy has been there for long. Of a
// node whose Envoy has never said anything, nothing is said.
func (e *envoys) away() (again bool) {
	if e.lost.IsZero() {
		e.lost = time.Now()
	}
	if wait := awayFor - time.Since(e.lost); wait > 0 {
		e.answering.Reset(wait)
		return false
	}
	_, said := e.answers.Get(e.a.options.Node)
	_, saidToEarlier := e.a.configs.Answers.Get(e.a.options.Node)
	if !said && !saidToEarlier {
		return false
	}
	e.unsure = true
	e.answering.Reset(answersEvery) // until one is back
	e.answers.Set(agent.EnvoyAnswer{Node: e.a.options.Node})
	return true
}
