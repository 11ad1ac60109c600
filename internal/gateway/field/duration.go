package field

import (
	"strings"
	"time"
)

// Duration reads a duration of the Gateway API (GEP-2257): one to four numbers
// of at most five digits with units h, m, s or ms.
func Duration(s string) (d time.Duration, ok bool) {
	if !validDuration(s) {
		return 0, false
	}
	d, err := time.ParseDuration(s)
	return d, err == nil
}

func validDuration(s string) bool {
	for parts := 0; s != ""; parts++ {
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		if parts == 4 || digits < 1 || digits > 5 {
			return false
		}
		s = s[digits:]
		unit := 1
		switch {
		case strings.HasPrefix(s, "ms"):
			unit = 2
		case s == "" || !strings.Contains("hms", s[:1]):
			return false
		}
		if s = s[unit:]; s == "" {
			return true
		}
	}
	return false
}
