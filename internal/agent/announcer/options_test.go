package announcer

import (
	"strings"
	"testing"
	"time"
)

// TestOptions: what cannot be is told by the names of the flags.
func TestOptions(t *testing.T) {
	good := Options{Enabled: true, Duration: 3 * time.Second, Deadline: 2 * time.Second, Retry: 500 * time.Millisecond}
	for want, change := range map[string]func(*Options){
		"":               func(*Options) {},
		"lease-duration": func(o *Options) { o.Duration = 2500 * time.Millisecond },
		"renew-deadline": func(o *Options) { o.Deadline = 3 * time.Second },
		"retry-period":   func(o *Options) { o.Retry = 2 * time.Second },
	} {
		o := good
		change(&o)
		if err := o.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}
