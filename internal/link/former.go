package link

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Settings of the node as they were before Prepare changed them first are
// remembered in a file, a line "path value" each, in the order in which they
// were changed. It must end with the node's settings: at a restart of the
// machine.

// rememberFormer adds to the file those of the settings that it does not have.
func rememberFormer(file string, settings []sysctl) error {
	if file == "" {
		return nil
	}
	known, err := former(file)
	if err != nil {
		return err
	}
	had := len(known)
	for _, s := range settings {
		if !slices.ContainsFunc(known, func(k sysctl) bool { return k.path == s.path }) {
			known = append(known, sysctl{s.path, s.read()})
		}
	}
	if len(known) == had {
		return nil
	}
	var text strings.Builder
	for _, s := range known {
		fmt.Fprintln(&text, s.path, s.value)
	}
	next := file + ".new"
	if err := errors.Join(os.WriteFile(next, []byte(text.String()), 0o600), os.Rename(next, file)); err != nil {
		return fmt.Errorf("remember the node's sysctls: %w", err)
	}
	return nil
}

// former reads the file; nothing where there is none.
func former(file string) (all []sysctl, err error) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the node's former sysctls: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		path, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, sysctl{path, value})
	}
	return all, nil
}

// restoreFormer gives settings their former values, last changed first. What the
// kernel has no more, as of a device that is gone, is passed over.
func restoreFormer(file string) error {
	if file == "" {
		return nil
	}
	all, err := former(file)
	if err != nil {
		return err
	}
	slices.Reverse(all)
	all = slices.DeleteFunc(all, func(s sysctl) bool { return s.value == absent || s.read() == absent })
	// Settings of all devices change those of each.
	return errors.Join(apply(all), apply(all))
}
