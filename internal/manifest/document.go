package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Bounds of what is read, in bytes. The API server takes requests of up to
// 1.5 MiB.
const (
	maxObject   = 1_500_000
	maxDocument = 4 << 20 // YAML of one object, with comments and indentation
	maxList     = 16 << 20
	maxFile     = 64 << 20
)

// chunk is the text of one document of a file.
type chunk struct {
	text []byte
	line int // of its first byte, from 1
}

// digest tells texts apart.
type digest [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func digestOf(text []byte) digest {
	return digest{maphash.Bytes(seeds[0], text), maphash.Bytes(seeds[1], text)}
}

// split cuts a file at the lines that end documents. A marker at the start of
// a line ends a document wherever it stands (YAML 1.2.2, 9.1.2), so no YAML
// has to be understood. Chunks that hold comments and directives alone are
// left out.
func split(text []byte) []chunk {
	var chunks []chunk
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	start, line := 0, 1
	cut := func(end int) {
		if !blank(text[start:end]) {
			chunks = append(chunks, chunk{text[start:end], line})
		}
		line += bytes.Count(text[start:end], []byte("\n"))
		start = end
	}
	begins, ends := finder{text: text, what: []byte("\n---")}, finder{text: text, what: []byte("\n...")}
	for at := 0; at < len(text); {
		next := min(begins.next(at), ends.next(at))
		if next == len(text) {
			break
		}
		at = next + 1
		if !marker(text[at:]) {
			continue
		}
		cut(at)
		if text[at] == '.' { // what stands behind it belongs to no document
			end := len(text)
			if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
				end = at + i // with the next document's marker, perhaps
			}
			line += bytes.Count(text[start:end], []byte("\n"))
			start = end
		}
	}
	cut(len(text))
	return chunks
}

// finder finds one thing in a text, from front to back.
type finder struct {
	text, what []byte
	found      int // the last place found
	searched   bool
}

// next gives the first place at or after from, or the end of the text.
func (f *finder) next(from int) int {
	if f.searched && f.found >= from {
		return f.found
	}
	f.searched, f.found = true, len(f.text)
	if i := bytes.Index(f.text[from:], f.what); i >= 0 {
		f.found = from + i
	}
	return f.found
}

// marker tells whether a text's first line begins or ends a document.
func marker(line []byte) bool {
	if len(line) < 3 || line[0] != '-' && line[0] != '.' || line[1] != line[0] || line[2] != line[0] {
		return false
	}
	return len(line) == 3 || strings.IndexByte(" \t\r\n", line[3]) >= 0
}

// blank tells whether a chunk holds no document.
func blank(text []byte) bool {
	first := true
	for line := range bytes.Lines(text) {
		if first && marker(line) {
			line = line[3:]
		}
		first = false
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return false
		}
	}
	return true
}

// document is what a chunk says. It does not change, and is shared by all
// versions of a file that have the chunk. Lines count from 1 at the chunk's
// first line.
type document struct {
	broken   *fieldProblem // the chunk is no YAML
	objects  []*object
	foreign  []foreign
	problems []fieldProblem // of what is no object
}

// foreign is an object of a kind that is passed over.
type foreign struct {
	apiVersion, kind string
	line             int
}

var listKind = regexp.MustCompile(`(?m)^["']?\{?\s*["']?kind["']?\s*:\s*["']?[A-Za-z]*List\b|"kind"\s*:\s*"[A-Za-z]*List"`)

// read makes a document of a chunk.
func (bs bindings) read(text []byte) *document {
	d := &document{}
	if limit := maxList; len(text) > maxDocument {
		if !listKind.Match(text[:maxDocument]) {
			limit = maxDocument
		}
		if len(text) > limit {
			d.problems = append(d.problems, fieldProblem{message: fmt.Sprintf(
				"document of %d bytes: an object may have %d", len(text), maxObject), line: 1})
			return d
		}
	}
	root, problem := parse(text)
	if problem != nil {
		d.broken = problem
		return d
	}
	if root != nil {
		(&reader{document: d, bindings: bs}).object(root, typeMeta{})
	}
	return d
}

// parse gives the node of the only document in text.
func parse(text []byte) (*yaml.Node, *fieldProblem) {
	var doc, more yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	err := decoder.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		return nil, nil
	}
	if err == nil {
		if err = decoder.Decode(&more); errors.Is(err, io.EOF) {
			return doc.Content[0], nil
		}
		if err == nil {
			return nil, &fieldProblem{message: "does not parse: a second document without --- before it", line: more.Line}
		}
	}
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if rest, ok := strings.CutPrefix(message, "line "); ok {
		if number, text, ok := strings.Cut(rest, ": "); ok {
			if n, err := strconv.Atoi(number); err == nil {
				message, line = text, n
			}
		}
	}
	return nil, &fieldProblem{message: "does not parse: " + clip(message, maxMessage), line: line}
}

// checkText says why a file's bytes cannot be manifests at all.
func checkText(text []byte) error {
	switch {
	case len(text) > maxFile:
		return fmt.Errorf("file of more than %d bytes", maxFile)
	case bytes.IndexByte(text, 0) >= 0:
		return errors.New("binary, not text: it holds a NUL byte")
	case !utf8.Valid(text):
		return errors.New("not UTF-8 text")
	}
	return nil
}
