package envoy

import (
	"io"
	"os"
	"strings"
)

// maxTail is how much of Envoy's log an error quotes, in bytes.
const maxTail = 2 << 10

func logSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logTail returns the last whole lines after offset from.
func logTail(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	start := max(from, logSize(path)-maxTail)
	text, err := io.ReadAll(io.NewSectionReader(f, start, maxTail))
	if err != nil {
		return ""
	}
	s := string(text)
	if start > from {
		_, s, _ = strings.Cut(s, "\n")
	}
	return strings.TrimSpace(s)
}

// trimLog empties a log that has grown too large. Envoy appends, so it goes on
// at the start.
func trimLog(path string) {
	if logSize(path) > maxLog {
		os.Truncate(path, 0)
	}
}
