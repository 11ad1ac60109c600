// Package cli prints what commands have to say: as tables for people, as JSON
// or YAML for programs. It decides nothing.
package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"
)

// Format is how to print; the zero Format is a table. It is a flag's value.
type Format string

// String is what the flag's help shows.
func (f *Format) String() string {
	if *f == "" {
		return "table"
	}
	return string(*f)
}

// Type is what the flag's help calls the value.
func (f *Format) Type() string { return "format" }

// Set takes table, json or yaml.
func (f *Format) Set(text string) error {
	switch text {
	case "table", "json", "yaml":
		*f = Format(text)
		return nil
	}
	return fmt.Errorf("%q is not table, json or yaml", text)
}

// print writes v as JSON or YAML, or what table draws.
func (f *Format) print(w io.Writer, v any, table func(io.Writer)) error {
	switch *f {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	case "yaml":
		text, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	table(w)
	return nil
}

// columns draws rows under a title, if there are any.
func columns(w io.Writer, title []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{title}, rows...) {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
}

// orDash stands for what is empty.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
