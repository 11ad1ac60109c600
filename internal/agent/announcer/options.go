package announcer

import (
	"errors"
	"time"
)

// Options say how nodes decide who announces a Service's addresses.
type Options struct {
	Enabled   bool
	Namespace string        // of the Leases
	Duration  time.Duration // how long a node may be silent until another takes its place; whole seconds
	Deadline  time.Duration // how long a renewal may take
	Retry     time.Duration // after a renewal that failed
}

// Check says which of them cannot be.
func (o Options) Check() error {
	switch {
	case !o.Enabled:
		return nil
	case o.Duration < time.Second || o.Duration%time.Second != 0:
		return errors.New("--l2-announcements-lease-duration must be whole seconds, at least one")
	case o.Deadline <= 0 || o.Deadline >= o.Duration:
		return errors.New("--l2-announcements-renew-deadline must be less than --l2-announcements-lease-duration")
	case o.Retry <= 0 || o.Retry >= o.Deadline:
		return errors.New("--l2-announcements-retry-period must be less than --l2-announcements-renew-deadline")
	}
	return nil
}
