package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Writes counts what Waggle's processes write to the API server, by what
// was written: "agent: patch pods". Renewed Leases do not count.
type Writes struct {
	log    string
	offset int64
}

// WatchWrites begins to count now.
func (c *Cluster) WatchWrites() (*Writes, error) {
	info, err := os.Stat(c.auditLog())
	if err != nil {
		return nil, err
	}
	return &Writes{log: c.auditLog(), offset: info.Size()}, nil
}

// Count gives what was written since WatchWrites.
func (w *Writes) Count() (map[string]int, error) {
	f, err := os.Open(w.log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(w.offset, io.SeekStart); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return countWrites(text)
}

// countWrites reads whole lines of the API server's log.
func countWrites(text []byte) (map[string]int, error) {
	counts := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event struct {
			Verb, UserAgent string
			ObjectRef       struct{ Resource, Subresource string }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("read the API server's log: %w", err)
		}
		who, ok := strings.CutPrefix(event.UserAgent, "cilium-")
		if !ok {
			continue
		}
		who, _, _ = strings.Cut(who, "/")
		what := event.ObjectRef.Resource
		if event.ObjectRef.Subresource != "" {
			what += "/" + event.ObjectRef.Subresource
		}
		counts[fmt.Sprintf("%s: %s %s", who, event.Verb, what)]++
	}
	return counts, lines.Err()
}

// Total is how many writes there are of all kinds.
func Total(counts map[string]int) (n int) {
	for _, k := range counts {
		n += k
	}
	return n
}

// Describe lists the writes, in order of their names.
func Describe(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[name], name))
	}
	return strings.Join(parts, ", ")
}
