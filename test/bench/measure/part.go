package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Parts is what the parts of a benchmark have found. In a file they can be
// measured one by one, each when the machine is idle; the newest of each counts.
type Parts struct {
	path  string // empty: they are kept in memory alone
	parts map[string]part
}

// part is what a page says of one part.
type part struct {
	Waggle  string // its version
	Began   time.Time
	Targets []Target
	Details string
}

// OpenParts reads the parts of a file, which need not be there yet.
func OpenParts(path string) (*Parts, error) {
	p := &Parts{path: path, parts: map[string]part{}}
	if path == "" {
		return p, nil
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &p.parts); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return p, nil
}

// Put takes what was written to a page as one part, in the file too.
func (p *Parts) Put(name, waggle string, page *Page) error {
	p.parts[name] = part{Waggle: waggle, Began: page.Began, Targets: page.targets, Details: page.details.String()}
	if p.path == "" {
		return nil
	}
	text, err := json.Marshal(p.parts)
	if err != nil {
		return err
	}
	return os.WriteFile(p.path, text, 0o644)
}

// Fill writes the parts that there are to a page, in the order of names, and
// says of each that was measured with another waggle than the page's.
func (p *Parts) Fill(page *Page, names []string) {
	for _, name := range names {
		one, ok := p.parts[name]
		if !ok {
			continue
		}
		page.Add(one.Targets...)
		page.details.WriteString(one.Details)
		if one.Waggle != page.Machine.Waggle {
			page.Textf("This part was measured on %s, with Waggle %s.", one.Began.UTC().Format("2006-01-02"), one.Waggle)
		}
	}
}
