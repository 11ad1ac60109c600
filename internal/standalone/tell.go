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
	listeners  map[string]string // a row of the table by Gateway and listener
	waiting    map[string]bool   // Gateways and listeners
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

// tellListeners prints what is new about where the Gateways answer: each
// listener when Envoy has said a word on it, and which ones wait for that.
func (m *mesh) tellListeners() {
	rows, waiting := map[string]string{}, map[string]bool{}
	var order, news []string
	for _, l := range m.listeners() {
		name := l.Gateway + "\t" + l.Name
		if l.State == string(model.Pending) {
			waiting[name] = true
			continue
		}
		rows[name] = fmt.Sprintf("%s\t%s\t%s\t%s\n", name, orAny(l.Hostname), l.URL(), l.State)
		order = append(order, name)
	}
	for _, name := range order {
		if rows[name] != m.told.listeners[name] {
			news = append(news, rows[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.told.listeners)) {
		if rows[name] == "" && !waiting[name] {
			news = append(news, name+"\t-\t-\tgone\n")
		}
	}
	if len(news) > 0 {
		w := tabwriter.NewWriter(m.options.Out, 0, 0, 2, ' ', 0)
		fmt.Fprint(w, "GATEWAY\tLISTENER\tHOSTNAME\tADDRESS\tSTATE\n"+strings.Join(news, ""))
		w.Flush()
	}
	names := slices.Sorted(maps.Keys(waiting))
	if len(names) > 0 && (len(news) > 0 || slices.ContainsFunc(names, func(name string) bool { return !m.told.waiting[name] })) {
		fmt.Fprintln(m.options.Out, waitingText(names))
	}
	m.told.listeners, m.told.waiting = rows, waiting
}

// waitingText names listeners that do not answer yet, the first few of many.
func waitingText(names []string) string {
	const most = 5
	text := "waiting for Envoy: " + strings.ReplaceAll(strings.Join(names[:min(most, len(names))], ", "), "\t", " ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func orAny(host string) string {
	if host == "" {
		return "*"
	}
	return host
}
