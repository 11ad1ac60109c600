package measure

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Page is a page of results: what was wanted, what was measured, and the
// details.
type Page struct {
	Title   string
	Command string // what makes it
	Machine Machine
	Began   time.Time

	targets []Target
	details strings.Builder
}

// Target is one line of the page's first table.
type Target struct {
	What     string
	Want     string
	Measured string
	Met      bool
}

// Add adds lines to the first table.
func (p *Page) Add(t ...Target) { p.targets = append(p.targets, t...) }

// Missed counts the targets that were not met.
func (p *Page) Missed() (n int) {
	for _, t := range p.targets {
		if !t.Met {
			n++
		}
	}
	return n
}

// Section begins a part of the details.
func (p *Page) Section(title string) { fmt.Fprintf(&p.details, "## %s\n\n", title) }

// Textf adds a paragraph to the details.
func (p *Page) Textf(format string, args ...any) { fmt.Fprintf(&p.details, format+"\n\n", args...) }

// Table adds a table to the details.
func (p *Page) Table(head []string, rows [][]string) {
	writeTable(&p.details, head, rows)
	p.details.WriteByte('\n')
}

// WriteTo writes the page as Markdown.
func (p *Page) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nWritten by `%s` on %s, in %s; not by hand.\n\n", p.Title, p.Command,
		p.Began.UTC().Format("2006-01-02"), time.Since(p.Began).Round(time.Second))
	fmt.Fprintf(&b, "%s\n\n", p.Machine)
	rows := make([][]string, len(p.targets))
	for i, t := range p.targets {
		met := "**no**"
		if t.Met {
			met = "yes"
		}
		rows[i] = []string{t.What, t.Want, t.Measured, met}
	}
	writeTable(&b, []string{"what", "target", "measured", "met"}, rows)
	b.WriteByte('\n')
	b.WriteString(p.details.String())
	n, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
	return int64(n), err
}

func writeTable(b *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		line(r)
	}
}
