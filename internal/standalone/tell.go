package standalone

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/waggle-mesh/waggle/internal/manifest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// told is what the user has been told, so that only news is.
type told struct {
	notices    []string
	problems   []string
	conditions map[model.Ref][]string
	listeners  string
}

// tell says what is new: problems of files, conditions that are not as they
// should be and that they are again, and where the Gateways answer.
func (m *mesh) tell() {
	if m.read {
		m.read = false
		m.tellProblems()
	}
	news := m.graph.takeNews()
	if len(news) == 0 {
		return
	}
	if m.told.conditions == nil {
		m.told.conditions = map[model.Ref][]string{}
	}
	gateways := false
	for _, object := range slices.SortedFunc(maps.Keys(news), model.Ref.Compare) {
		gateways = gateways || object.Kind == "Gateway"
		var bad []string
		for _, c := range news[object] {
			if !c.Good && !isWaiting(c) {
				bad = append(bad, conditionText(c))
			}
		}
		m.tellNews(slog.LevelWarn, m.told.conditions[object], bad)
		if m.told.conditions[object] = bad; len(bad) == 0 {
			delete(m.told.conditions, object)
		}
	}
	if gateways {
		m.tellListeners()
	}
}

// tellProblems says what is new about the files.
func (m *mesh) tellProblems() {
	var notices, errors []string
	for _, p := range m.graph.feed.Problems() {
		if p.Severity == manifest.Notice {
			notices = append(notices, p.String())
		} else {
			errors = append(errors, p.String())
		}
	}
	m.tellNews(slog.LevelInfo, m.told.notices, notices)
	m.tellNews(slog.LevelError, m.told.problems, errors)
	m.told.notices, m.told.problems = notices, errors
}

// tellNews says what was not so before, and what is so no more.
func (m *mesh) tellNews(level slog.Level, before, now []string) {
	for _, text := range without(now, before) {
		m.options.Log.Log(context.Background(), level, text)
	}
	if level > slog.LevelInfo {
		for _, text := range without(before, now) {
			m.options.Log.Info("no more: " + text)
		}
	}
}

// without is a without what b has.
func without(a, b []string) (out []string) {
	has := make(map[string]bool, len(b))
	for _, text := range b {
		has[text] = true
	}
	for _, text := range a {
		if !has[text] {
			out = append(out, text)
		}
	}
	return out
}

// isWaiting tells whether a condition is on its way to be good.
func isWaiting(c model.Condition) bool {
	return c.Type == "Programmed" && (c.Reason == "Pending" || c.Reason == "AddressNotAssigned")
}

func conditionText(c model.Condition) string {
	object := c.Object.String()
	if c.Section != "" {
		object += ", " + c.Section
	}
	return fmt.Sprintf("%s: %s=%s (%s): %s", object, c.Type, c.Status, c.Reason, c.Message)
}

// tellListeners prints where the Gateways answer, when Envoy has said a word
// on each and whenever that changes.
func (m *mesh) tellListeners() {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GATEWAY\tLISTENER\tHOSTNAME\tADDRESS\tSTATE")
	rows := m.listeners()
	for _, l := range rows {
		if l.State == string(model.Pending) {
			return
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Gateway, l.Name, orAny(l.Hostname), l.URL(), l.State)
	}
	w.Flush()
	if len(rows) == 0 || b.String() == m.told.listeners {
		return
	}
	m.told.listeners = b.String()
	fmt.Fprint(m.options.Out, b.String())
}

func orAny(host string) string {
	if host == "" {
		return "*"
	}
	return host
}
